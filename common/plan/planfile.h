/*
 * A plan file: which programs run on which hosts, and where the driver meets them.  ds-plan writes
 * it, ds-run --plan runs it.
 */
#ifndef DS_PLANFILE_H
#define DS_PLANFILE_H

#include "plan/words.h"

struct plan_host {
	const char *name, *address;
	int spare;                      /* nothing runs there at first */
};

struct plan_line {
	int host;                       /* index */
	char **words;                   /* [nwords], {NAME} not replaced yet */
	int nwords;
	char label[64];                 /* how messages call it: "ds-block -l 2-3" */
};

struct planfile {
	struct plan_host *hosts;        /* [nhosts] */
	struct plan_line *lines;        /* [nlines], at least one */
	int nhosts, nlines;
	const char *feed, *take;        /* endpoints, {NAME} not replaced yet */
	size_t hosts_cap, lines_cap;
	struct buf text;                /* memory of all words */
};

/* Read and check it: 0, or -1 and a message that names the file and the line.  planfile_free in either case. */
int planfile_read(struct planfile *p, const char *path);
void planfile_free(struct planfile *p);

/* The same of a plan that is in memory already, in p->text, called path in messages. */
int planfile_parse(struct planfile *p, const char *path);

/* 1 if a program that the driver meets at feed or take is given a key: the driver needs one as well. */
int planfile_keyed(const struct planfile *p);

/* The first character of a word that no plan can have in it, where braces mean something; 0: none. */
int planfile_misfit(const char *word);

/* Append a word with every {NAME} replaced by address[index of host NAME]; {run} stays.  0, or -1 and a message. */
int planfile_fill(struct buf *to, const struct planfile *p, const char *word, const char *const *address);

#endif
