/*
 * What a checkpoint is: its shapes, its parameters, how they are stored, what is missing.
 */
#ifndef DS_INFO_H
#define DS_INFO_H

#include <stdio.h>

#include "plan/sizes.h"
#include "stage/stage.h"

struct info {
	const char *dir;
	char type[32];                  /* model_type */
	char id[17];
	struct sizes sizes;
	struct layers layers;           /* those that are shown */
	int exact;                      /* 1: bytes are those of the files; 0: as config.json would have them */
	char **missing;                 /* files that the index names and the shown layers need, but that are not there */
	size_t nmissing, nfiles;
};

/* Look at dir; layers as in -l, NULL: all.  0, or -1 and a message; info_close in any case. */
int info_open(struct info *i, const char *dir, const char *layers);
void info_close(struct info *i);

/* Print it: 0, or -1 and a message. */
int info_text(FILE *to, const struct info *i);
int info_json(FILE *to, const struct info *i);

#endif
