/*
 * What a checkpoint is: its shapes, its parameters, how they are stored, what is missing.
 */
#ifndef DS_INFO_H
#define DS_INFO_H

#include <stdio.h>

#include "weights/manifest.h"
#include "arch/sizes.h"
#include "stage/stage.h"

struct info {
	const char *dir;
	char id[17];
	struct sizes sizes;
	struct layers layers;           /* to be shown */
	int each;                       /* 1: a line for each layer, also of like ones */
	int exact;                      /* 1: bytes are from the files; 0: from config.json */
	char **missing;                 /* files of the shown layers that do not exist */
	size_t nmissing, nfiles;
	struct cJSON *gguf;             /* of a GGUF file: info_gguf.h; else NULL */
	int stale;                      /* 1: model.safetensors is whole, the index is not read */
};

/* Look at dir; layers as in -l, NULL: all.  0, or -1 and a message; info_close in any case. */
int info_open(struct info *i, const char *dir, const char *layers);
void info_close(struct info *i);

/* Print it: 0, or -1 and a message. */
int info_text(FILE *to, const struct info *i);
int info_json(FILE *to, const struct info *i);

/* Append the manifest of a checkpoint: of the layers, and of what belongs to none.  full:
 * fingerprints of all bytes.  0, or -1 and a message. */
int info_manifest(struct buf *to, const char *dir, const char *layers, int full,
    struct pool *pool);

/* Print the names of the tensors that differ from a manifest.  Returns their number, with that of
 * all in *n, or -1 and a message. */
long info_check(FILE *to, const char *dir, const char *layers, const char *manifest,
    struct pool *pool, long *n);

#endif
