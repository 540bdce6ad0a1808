/*
 * Input of tools that read whole runs: streams (endpoints of link.h), or folders of *.dsf streams
 * as `ds-run --keep` writes them, read in order of their names. A file may hold several streams.
 */
#ifndef DS_SOURCE_H
#define DS_SOURCE_H

#include "link/link.h"

struct source {
	const char *name;       /* the first argument, borrowed */
	char **files;           /* [n] */
	size_t n, cap, next;    /* next: index of the next file */
	struct link in;
	int open;               /* 1: `in` is open */
	uint64_t stream;        /* number of the current stream, from 0 */
	int ended;              /* 1: at the end */
	char *cut;              /* why the first truncated stream ended early, or NULL */
	uint64_t frames, bytes;
};

/* Open `name`, which is - or a path. Returns 0, or -1 and a message. */
int source_open(struct source *s, const char *name);

/* Open n >= 1 names, read in turn. */
int source_open_all(struct source *s, const char *const *names, size_t n);

/* The descriptor to poll for reading; -1 at the end. */
int source_fd(struct source *s);

/*
 * Read the next frame. Returns 1; 0 for not yet (only without wait, which tries one read after
 * poll()); -2 at the end; or -1 and a message for invalid data. `end` frames are skipped. A
 * truncated stream (no end frame, or an error frame) counts as ended and sets s->cut.
 */
int source_next(struct source *s, struct frame *f, int wait);

void source_close(struct source *s);    /* accepts a zeroed *s */

#endif
