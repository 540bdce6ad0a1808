/*
 * Frames as text and in other tools' formats: what ds-dump prints.  ds-dump(1) describes the formats.
 */
#ifndef DS_DUMP_H
#define DS_DUMP_H

#include <stdio.h>

#include "base/table.h"
#include "inspect/select.h"

enum dump_format { DUMP_TEXT, DUMP_JSON, DUMP_IDS, DUMP_CSV, DUMP_NPY, DUMP_SAFETENSORS, DUMP_TRACE };

struct dump {
	enum dump_format format;
	struct select select;           /* which tensors */
	const char *dir;                /* a file for each frame goes there, or NULL */
	FILE *to;                       /* without dir: where all goes */

	unsigned long long printed;     /* frames, or events of a trace */
	unsigned long long tensors;     /* printed, where the format is one of tensors */
	struct table lanes;             /* of a trace: hosts, and the stages on them -> struct lane */
	int nhosts, nstages;
	int64_t began;                  /* the first start, 0: none yet */
};

/* An enum dump_format; -1 and a message (FAIL_USAGE). */
int dump_format_parse(const char *name);

/* Before the first frame: make the folder, print what stands at the top.  0, or -1 and a message. */
int dump_begin(struct dump *d);

/*
 * Print f, which came from frame_parse and was not changed; it may lose tensors.  number counts
 * frames from 1.  What d->to could not take is for the caller to notice (ferror).
 * 0, or -1 and a message.
 */
int dump_frame(struct dump *d, struct frame *f, unsigned long long number);

/* After the last frame: 0; -1 and a message (FAIL_DATA) if nothing was printed of what was
 * asked for. */
int dump_check(const struct dump *d);

/* Behind the last frame, also after a failure: what is printed is whole. */
void dump_end(struct dump *d);
void dump_free(struct dump *d);

#endif
