/*
 * The temporary folder {run} of one start: sockets of ipc:// links, and files that the supervisor
 * sends. Functions return 0, or -1 and a message.
 */
#ifndef DS_RUN_FOLDER_H
#define DS_RUN_FOLDER_H

#include <stdio.h>

struct run_folder {
	char path[4096];        /* "": not created yet */
	FILE *file;             /* the file being written; NULL: none */
};

int run_folder_make(struct run_folder *f);      /* create it, unless it exists */
void run_folder_remove(struct run_folder *f);   /* with all files in it */

/* Start a new file, append n lines to it, and finish it, so that processes can read it. */
int run_folder_file(struct run_folder *f, const char *name);
int run_folder_lines(struct run_folder *f, char **lines, int n);
int run_folder_end_file(struct run_folder *f);

#endif
