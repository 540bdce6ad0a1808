/*
 * One file of the new checkpoint: what is in it, and where.
 */
#ifndef DS_SHARD_H
#define DS_SHARD_H

#include "weights/safetensors.h"
#include "quant/quant.h"

struct entry {
	char *name;
	const char *dtype;                      /* as in safetensors */
	int rank;
	uint64_t shape[TENSOR_RANK_MAX];
	uint64_t bytes, at;                     /* at: from the beginning of the file */
	const struct safetensor *from;          /* copied; NULL: made */
};

struct quant_shard {
	struct entry *list;
	size_t n, cap;
	int fd;                                 /* -1: not open */
	char path[4096];
};

/* Another entry, its name being t's and the suffix.  NULL and a message where there is no memory. */
struct entry *shard_add(struct quant_shard *s, const struct safetensor *t, const char *suffix);

/* Give every entry its place, create the file dir/name, and write its header.  0, or -1 and a message. */
int shard_create(struct quant_shard *s, const char *dir, const char *name);

/* n bytes at a place of the file.  0, or -1 and a message. */
int shard_write(struct quant_shard *s, uint64_t at, const void *p, size_t n);

int shard_close(struct quant_shard *s);         /* 0, or -1 and a message; frees the list in any case */

#endif
