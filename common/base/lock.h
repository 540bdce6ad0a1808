/*
 * Locks of files and folders that one process at a time may write to.
 */
#ifndef DS_LOCK_H
#define DS_LOCK_H

/* Lock the open file or folder fd until it is closed, and wait some seconds for the processes of a
 * killed run to end.  A file system without locks grants every lock.  0, or -1 and a message that
 * names path. */
int lock_file(int fd, const char *path);

/* Create and lock the file path.lock, for a path that may not exist yet.  *fd is -1 or a lock that
 * lock_release ends; it also removes the file.  0, or -1 and a message that names path. */
int lock_path(int *fd, const char *path);
void lock_release(int *fd, const char *path);   /* fine with *fd -1 */

#endif
