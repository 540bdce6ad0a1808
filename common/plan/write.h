/*
 * A plan as text: a plan file (ds-plan(5)), or a script that runs it.
 */
#ifndef DS_WRITE_H
#define DS_WRITE_H

#include "plan/lines.h"

enum format { FORMAT_PLAN, FORMAT_REPORT, FORMAT_SH, FORMAT_SSH, FORMAT_SLURM };

struct writing {
	const struct lines *lines;
	const struct hosts *hosts;
	const char *model;
	const char *programs;           /* folder searched first for programs; NULL: PATH only */
	const char *key, *peers;        /* files, or NULL */
	const char *sample;             /* options for ds-sample, or "" */
	int unsafe;
};

/* Append a process's words, from its name to its endpoints. Returns 0, or -1 and a message. */
int write_line(struct buf *to, const struct writing *w, enum format format, int line);

/* Append one end of a link: the binding or the connecting one. Returns 0, or -1 and a message. */
int write_end(struct buf *to, const struct writing *w, enum format format, int wire, int binds);

/* Append the options for keys. Returns 0, or -1 and a message. */
int write_keys(struct buf *to, const struct writing *w);

/* Append the whole text; `report` is a block of comment lines. Returns 0, or -1 and a message:
 * plans cannot hold some words (FAIL_USAGE), scripts can hold all. */
int write_plan(struct buf *to, const struct writing *w, const char *report);
int write_script(struct buf *to, const struct writing *w, enum format format, const char *report);

#endif
