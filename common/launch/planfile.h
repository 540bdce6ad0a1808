/*
 * Plan files: processes, their hosts, and the endpoints of the driver. Written by ds-plan, run by
 * ds-run --plan.
 */
#ifndef DS_PLANFILE_H
#define DS_PLANFILE_H

#include "launch/words.h"

struct plan_host {
	const char *name, *address;
	int spare;                      /* 1: nothing runs there at first */
};

struct plan_line {
	int host;                       /* index of a host */
	char **words;                   /* [nwords], {NAME} not replaced */
	int nwords;
	char label[64];                 /* name in messages: "ds-block -l 2-3" */
};

struct planfile {
	struct plan_host *hosts;        /* [nhosts] */
	struct plan_line *lines;        /* [nlines] processes, at least one */
	int nhosts, nlines;
	const char *feed, *take;        /* endpoints, {NAME} not replaced */
	size_t hosts_cap, lines_cap;
	struct buf text;                /* memory of all words */
};

/* Read and check a plan. Returns 0, or -1 and a message with the file and line; call
 * planfile_free in either case. */
int planfile_read(struct planfile *p, const char *path);
void planfile_free(struct planfile *p);

/* The same for a plan in p->text; messages name it `path`. */
int planfile_parse(struct planfile *p, const char *path);

/* 1 if a process that the driver connects to has a key, so that the driver needs one, too. */
int planfile_keyed(const struct planfile *p);

/* The value of that option ("--precision") of the first process that has it, or NULL. */
const char *planfile_option(const struct planfile *p, const char *option);

/* The first character of a word that a plan cannot hold, 0: none. */
int planfile_misfit(const char *word);

/* Append a word with {NAME} replaced by address[index of host NAME]; {run} remains. Returns 0,
 * or -1 and a message. */
int planfile_fill(struct buf *to, const struct planfile *p, const char *word, const char *const *address);

#endif
