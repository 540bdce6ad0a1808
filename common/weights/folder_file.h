/*
 * Files of a model's folder beside its weights.
 */
#ifndef DS_FOLDER_FILE_H
#define DS_FOLDER_FILE_H

#include <stddef.h>

/* By its name: weights in any format; a list of the files that have them. */
int folder_file_is_weights(const char *name);
int folder_file_is_index(const char *name);

/* Write a file that does not exist.  0, or -1 and a message. */
int folder_file_write(const char *dir, const char *name, const void *p, size_t n);

/* Copy a regular file, or what a link stands for, to another folder, where it does not exist.  What
 * is no such file is left out, with a warning unless it is a folder.  0, or -1 and a message. */
int folder_file_copy(const char *from, const char *to, const char *name);

/* Remove a folder and its files, without a message.  If it has a folder, both stay. */
void folder_remove(const char *dir);

#endif
