/*
 * Files of a model folder: regular files, read whole or mapped, and opened without blocking.
 *
 * Anything else (a FIFO, a folder, a device) is "not a regular file", and a Git LFS pointer is
 * reported as one. Files that a user names on a command line may be FIFOs: use io_file().
 */
#ifndef DS_FILE_H
#define DS_FILE_H

#include <stddef.h>

#include "base/mem.h"

/* 1 if the path exists. A dangling symbolic link counts, so that opening it reports an error. */
int file_exists(const char *path);

/* Read a file of at most max bytes and append a NUL, not counted in b->n. Returns 0, or -1 and a
 * message with the path. A missing file is FAIL_DATA: the model is broken. */
int file_read(const char *path, struct buf *b, size_t max);

struct mapped;

/* A read-only mapping of n bytes at p; p is NULL if nothing is mapped. */
struct file_map {
	const unsigned char *p;
	size_t n;
	struct mapped *known;           /* used by file_guard() */
};

/* Map a file of at least one byte. Returns 0, or -1 and a message with the path. */
int file_map(struct file_map *m, const char *path);
void file_unmap(struct file_map *m);    /* sets *m to zero; accepts a zeroed *m */

/* Give back the memory of the pages that were read: they are read again when they are needed. Not
 * for a mapping that was made writable. */
void file_map_drop(const struct file_map *m);

/* Make the pages of a mapping writable, at the same address: what is written stays in this process
 * and never reaches the file. Returns 0, or -1 and a message with the path. */
int file_map_private(struct file_map *m);

/*
 * For cmd/ only. After this call, reading a mapped page that is no longer in its file prints one
 * line and ends the process with FAIL_SYSTEM. The kernel reports the loss by SIGBUS in the thread
 * that reads, so there is no caller to return to.
 */
void file_guard(void);

#endif
