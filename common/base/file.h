/*
 * The files of a model folder: regular files, opened without ever waiting, read whole or mapped.
 *
 * Anything else in their place (a FIFO, a folder, a device) is "not a regular file", and a Git LFS pointer is named
 * as one.  Files that a user names on a command line may be FIFOs: io_file() reads those.
 */
#ifndef DS_FILE_H
#define DS_FILE_H

#include <stddef.h>

#include "base/mem.h"

/* Whether there is an entry of that name; a symbolic link to nothing is one, so that opening it is an error. */
int file_exists(const char *path);

/* Read the file, a NUL after it (not counted in b->n), at most max bytes: 0, or -1 and a message that names it.
 * A missing file is FAIL_DATA: a model that lacks a file is a broken model. */
int file_read(const char *path, struct buf *b, size_t max);

struct mapped;

/* A file mapped read-only: p[n], NULL if it is not mapped. */
struct file_map {
	const unsigned char *p;
	size_t n;
	struct mapped *known;           /* for the message of file_guard() */
};

/* Map a file that has at least one byte: 0, or -1 and a message that names it. */
int file_map(struct file_map *m, const char *path);
void file_unmap(struct file_map *m);    /* zeroes *m; a zeroed one is fine */

/*
 * For cmd/ only: from here on a mapped file that loses bytes while it is in use ends the process with one line and
 * FAIL_SYSTEM.  The kernel reports such a loss by SIGBUS in whichever thread reads the bytes, so there is no
 * caller to return to.
 */
void file_guard(void);

#endif
