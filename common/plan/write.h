/*
 * A plan as text: the file of ds-plan(5), or a script that runs it.
 */
#ifndef DS_WRITE_H
#define DS_WRITE_H

#include "plan/lines.h"

enum format { FORMAT_PLAN, FORMAT_REPORT, FORMAT_SH, FORMAT_SSH, FORMAT_SLURM };

struct writing {
	const struct lines *lines;
	const struct hosts *hosts;
	const char *model;
	const char *programs;           /* folder where programs are looked for first; NULL: in PATH alone */
	const char *key, *peers;        /* files, or NULL */
	const char *sample;             /* options for ds-sample, or "" */
	int unsafe;
};

/* Append a program's words from its name to its endpoints, as the format has them.  0, or -1 and a message. */
int write_line(struct buf *to, const struct writing *w, enum format format, int line);

/* Append an end of a wire: for who binds it, or who connects. */
int write_end(struct buf *to, const struct writing *w, enum format format, int wire, int binds);

/* Append the options for a link's keys. */
int write_keys(struct buf *to, const struct writing *w);

/* Append the whole; `report` are comments, each line begun by # .  0, or -1 and a message: a plan
 * cannot hold some words (FAIL_USAGE), scripts can hold all. */
int write_plan(struct buf *to, const struct writing *w, const char *report);
int write_script(struct buf *to, const struct writing *w, enum format format, const char *report);

#endif
