/*
 * Where a tool that looks at whole runs reads frames: streams (endpoints of link.h), or a folder of
 * streams, read one behind the other in the order of their names: *.dsf, as `ds-run --keep` leaves them.
 * A file may hold several streams, one after another.
 */
#ifndef DS_SOURCE_H
#define DS_SOURCE_H

#include "link/link.h"

struct source {
	const char *name;       /* as given, borrowed */
	char **files;           /* [n] */
	size_t n, cap, next;    /* next: the one to open */
	struct link in;
	int open;               /* in is */
	uint64_t stream;        /* of which the frame is: counts from 0 */
	int ended;              /* nothing more will come */
	char *cut;              /* why the first stream that was cut short was, or NULL */
	uint64_t frames, bytes;
};

/* name is - or a path; a stream is opened at once.  0, or -1 and a message. */
int source_open(struct source *s, const char *name);

/* The same of several names [n], read one after another; s->name is the first. */
int source_open_all(struct source *s, const char *const *names, size_t n);

/* What to poll for reading; -1 at the end. */
int source_fd(struct source *s);

/*
 * The next frame: 1; 0 not yet (with wait 0: one read was tried, after poll said that it would not wait);
 * -2 at the end of all; -1 and a message for bad data.  `end` frames are swallowed.  A
 * stream that is cut short (no end frame, an error frame) counts as ended, and s->cut says so.
 */
int source_next(struct source *s, struct frame *f, int wait);

void source_close(struct source *s);    /* a zeroed *s is fine */

#endif
