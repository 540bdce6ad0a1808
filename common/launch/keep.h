/*
 * Keeping a run: each stream between programs is also written to a folder, one file for each
 * program that writes frames, numbered in pipeline order: 000-tokenize.dsf, 001-embed.dsf,
 * 002-attn-l0.dsf, ...
 */
#ifndef DS_KEEP_H
#define DS_KEEP_H

#include "launch/plan.h"

/* Create the folder if necessary. Returns 0, or -1 and a message; a folder with streams (*.dsf)
 * is an error. */
int keep_open(const char *dir);

/* Add an -o in that folder to each program of a plan but the last, which prints text. Returns 0,
 * or -1 and a message. */
int keep_plan(struct plan *p, const char *dir);

/* Create the plan's files, empty. Each must be new, so that one of two simultaneous runs fails.
 * Returns 0, or -1 and a message. */
int keep_create(const struct plan *p, const char *dir);

#endif
