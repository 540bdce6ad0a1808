/*
 * Reading and writing descriptors and files whole.
 */
#ifndef DS_IO_H
#define DS_IO_H

#include <stddef.h>
#include <sys/uio.h>

#include "base/mem.h"

/* Read until n bytes are there or the file ends: the number read, or -1 and a
 * message.  Short reads and EINTR are taken care of. */
ptrdiff_t io_read(int fd, void *p, size_t n);

/* Write all of it: 0, or -1 and a message.  iov is used up. */
int io_write(int fd, const void *p, size_t n);
int io_writev(int fd, struct iovec *iov, int n);

/* Read a descriptor to its end, at most max bytes. */
int io_slurp(int fd, struct buf *b, size_t max);

/* Read a whole file that a user names, a NUL after it (not counted in b->n); it may be a FIFO.  A missing one
 * gives FAIL_DATA.  file_read() is for the files of a model folder. */
int io_file(const char *path, struct buf *b, size_t max);

/* "dir/name" in one buffer; -1 where it is too long. */
int io_path(char *to, size_t size, const char *dir, const char *name);

/* The folder that the running program is in, where what belongs to it is looked for first; NULL: unknown. */
const char *program_folder(void);

#endif
