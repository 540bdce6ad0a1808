/*
 * The processes of a split: their command lines and the links between them.
 */
#ifndef DS_LINES_H
#define DS_LINES_H

#include "base/mem.h"
#include "plan/split.h"

#define DRIVER (-1)     /* in place of a line: the program that sends prompts and receives tokens */

enum load { LOAD_PROMPT, LOAD_FRAME, LOAD_CHOSEN, LOAD_PARTIAL, LOAD_LOGITS, LOAD_TOKENS };

struct wire {
	int from, to;                   /* lines, or DRIVER */
	enum load load;
	int port;                       /* 0: both ends are on the same host */
};

struct line {
	int host;
	char label[64];                 /* name in messages: "ds-expert -l 2 -e 0-7,s" */
	/* the command without endpoints, quoted for sh, and a NUL that is not counted */
	struct buf text;
	int in[GROUP_MAX + 1], nin;     /* indexes of wires */
	int out[GROUP_MAX + 1], nout;
};

struct lines {
	struct line *line;              /* [n] in pipeline order */
	int n;
	struct wire *wire;              /* [nwires] */
	int nwires;
	size_t cap, wire_cap;
};

struct line_options {
	const char *model;              /* the model folder, on every host */
	const char *sample;             /* options of ds-sample, separated by blanks, or "" */
	int port;                       /* the first port */
	int threads;                    /* 1: threads as in the hosts file; 0: all cores */
	int together;                   /* 1: all hosts, and the driver, are one machine */
};

/* Make the processes of a split. Returns 0, or -1 and a message; call lines_free in either case. */
int lines_make(struct lines *o, const struct split *s, const struct cost *batched, const struct line_options *opt);
void lines_free(struct lines *o);

/* Bytes of a batch on a link. */
double wire_bytes(const struct wire *w, const struct cost *c);

#endif
