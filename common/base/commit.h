/*
 * Files that survive a crash: written under another name, synchronised with the disk, renamed.
 */
#ifndef DS_COMMIT_H
#define DS_COMMIT_H

/* Synchronise a file or a folder. Returns 0, or -1 and a message with the path. */
int commit_sync(const char *path);

/* Synchronise all files of a folder and the folder itself. Returns 0, or -1 and a message. */
int commit_folder(const char *path);

/* Give a file that is complete its name, which replaces a file of that name, and synchronise both
 * with the disk. Returns 0, or -1 and a message. */
int commit_file(const char *part, const char *path);

/* The folder of a path: "." if it has none. to has room for the path. Returns to. */
char *commit_parent(char *to, const char *path);

#endif
