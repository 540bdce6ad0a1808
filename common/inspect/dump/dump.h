/*
 * Frames as text and in other tools' formats, for ds-dump(1), which describes them.
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
	const char *dir;                /* folder for one file per frame, or NULL */
	FILE *to;                       /* the output without dir */

	unsigned long long printed;     /* frames, or events of a trace */
	unsigned long long tensors;     /* printed, if the format prints tensors */
	struct table lanes;             /* for a trace: hosts, and stages on them -> struct lane */
	int nhosts, nstages;
	int64_t began;                  /* the earliest start, 0: none yet */
};

/* Parse an enum dump_format. Returns it, or -1 and a message (FAIL_USAGE). */
int dump_format_parse(const char *name);

/* Call before the first frame: create the folder, print the file header. Returns 0, or -1 and a
 * message. */
int dump_begin(struct dump *d);

/*
 * Print frame number `number`, counted from 1. f must come unchanged from frame_parse and may lose
 * tensors. Check d->to for write errors with ferror(). Returns 0, or -1 and a message.
 */
int dump_frame(struct dump *d, struct frame *f, unsigned long long number);

/* Print the selected tensors of a safetensors file as text or npy. Returns 0, or -1 and a
 * message. */
int dump_file(struct dump *d, const char *path);

/* Call after the last frame. Returns 0, or -1 and a message (FAIL_DATA) if nothing that was
 * requested has been printed. */
int dump_check(const struct dump *d);

/* Call after the last frame, also after a failure, to complete the output. */
void dump_end(struct dump *d);
void dump_free(struct dump *d);

#endif
