/*
 * The programs of a split, each with its command line and the links between them.
 */
#ifndef DS_LINES_H
#define DS_LINES_H

#include "base/mem.h"
#include "plan/split.h"

#define DRIVER (-1)                     /* in the place of a line: who feeds prompts and takes tokens */

enum load { LOAD_PROMPT, LOAD_FRAME, LOAD_CHOSEN, LOAD_PARTIAL, LOAD_LOGITS, LOAD_TOKENS };

struct wire {
	int from, to;                   /* lines, or DRIVER */
	enum load load;
	int port;                       /* 0: both ends are on one host */
};

struct line {
	int host;
	char label[64];                 /* how messages call it: "ds-expert -l 2 -e 0-7,s" */
	struct buf text;                /* the command up to its endpoints, quoted for sh, a NUL behind it (not counted) */
	int in[GROUP_MAX + 1], nin;     /* wires */
	int out[GROUP_MAX + 1], nout;
};

struct lines {
	struct line *line;              /* [n], in the order in which a frame meets them */
	int n;
	struct wire *wire;              /* [nwires] */
	int nwires;
	size_t cap, wire_cap;
};

struct line_options {
	const char *model;              /* the folder, on every host */
	const char *sample;             /* words for ds-sample with blanks between them, or "" */
	int port;                       /* the first */
	int threads;                    /* 1: as many as the hosts file gives them cores; 0: as many as they find */
	int together;                   /* 1: all hosts, and the driver, are one machine */
};

/* 0, or -1 and a message.  lines_free frees. */
int lines_make(struct lines *o, const struct split *s, const struct cost *many, const struct line_options *opt);
void lines_free(struct lines *o);

/* Bytes of a batch on a wire. */
double wire_bytes(const struct wire *w, const struct cost *c);

#endif
