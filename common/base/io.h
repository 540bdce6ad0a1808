/*
 * Complete reads and writes on descriptors and files.
 */
#ifndef DS_IO_H
#define DS_IO_H

#include <stddef.h>
#include <sys/uio.h>

#include "base/mem.h"

/* Read n bytes, or fewer at end of file. Returns the number read, or -1 and a message. Handles
 * short reads and EINTR. */
ptrdiff_t io_read(int fd, void *p, size_t n);

/* Write all n bytes, or all n entries of iov. Returns 0, or -1 and a message. iov is modified. */
int io_write(int fd, const void *p, size_t n);
int io_writev(int fd, struct iovec *iov, int n);

/* Append everything up to end of file to b, at most max bytes, and a NUL that b->n does not
 * count. Returns 0, or -1 and a message. */
int io_slurp(int fd, struct buf *b, size_t max);

/* Read a file that a user names, which may be a FIFO, and append a NUL that b->n does not count.
 * Returns 0, or -1 and a message; a missing file is FAIL_DATA. For files of a model folder use
 * file_read(). */
int io_file(const char *path, struct buf *b, size_t max);

/* Write "dir/name" to to[size]. Returns 0, or -1 and a message if it is too long. */
int io_path(char *to, size_t size, const char *dir, const char *name);

/* The folder of the running program, which is searched first for its companions, in static
 * memory; NULL: unknown. */
const char *program_folder(void);

#endif
