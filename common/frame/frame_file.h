/*
 * A file of frames that appears whole or not at all. It is written under a temporary name in its
 * folder, and renamed when it is complete. Readers check that it is a regular file, its CRCs, and
 * that an `end` frame is there.
 */
#ifndef DS_FRAME_FILE_H
#define DS_FRAME_FILE_H

#include <limits.h>

#include "frame/frame.h"

struct frame_file {
	int fd;
	uint64_t left;                  /* bytes that are not read yet */
	char path[PATH_MAX];
	char part[PATH_MAX];            /* its name until it is complete */
};

/* Functions return 0, or -1 and a message with the path. */

int frame_file_create(struct frame_file *f, const char *path);
int frame_file_write(struct frame_file *f, struct frame *frame);

/* Append `end` and rename, if r is 0. If r is -1, and if that fails, nothing is left of the file;
 * the message of the first failure is kept. */
int frame_file_finish(struct frame_file *f, int r);

int frame_file_open(struct frame_file *f, const char *path);

/* The next frame, into one that was initialised: 1, or 0 after `end`. */
int frame_file_read(struct frame_file *f, struct frame *frame);
void frame_file_close(struct frame_file *f);

#endif
