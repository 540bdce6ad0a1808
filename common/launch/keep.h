/*
 * Keeping a run: what goes from program to program goes to a folder as well, a file for each program that
 * writes frames, numbered in the order of the pipeline: 000-tokenize.dsf, 001-embed.dsf, 002-attn-l0.dsf, ...
 */
#ifndef DS_KEEP_H
#define DS_KEEP_H

#include "launch/plan.h"

/* Make the folder if there is none; one that has streams (*.dsf) is refused: 0, or -1 and a message. */
int keep_open(const char *dir);

/* Give each program of a plan but the last, which prints text, an -o of its own in that folder: 0, or -1 and a message. */
int keep_plan(struct plan *p, const char *dir);

/* Make the files that a plan keeps, empty: each must be new, so that of two runs at the same time one is refused.  0, or
 * -1 and a message. */
int keep_create(const struct plan *p, const char *dir);

#endif
