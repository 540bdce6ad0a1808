/*
 * One file of the new checkpoint: its tensors and their offsets.
 */
#ifndef DS_SHARD_H
#define DS_SHARD_H

#include "quant/quant.h"
#include "weights/layout.h"

struct entry {
	char *name;
	const char *dtype;                      /* as in safetensors */
	int rank;
	uint64_t shape[TENSOR_RANK_MAX];
	uint64_t bytes, at;                     /* at: from the beginning of the file */
	const struct tensor_entry *from;          /* copied; NULL: made */
};

struct quant_shard {
	struct entry *list;
	size_t n, cap;
	int fd;                                 /* -1: not open */
	char path[4096];
};

/* Another entry: t as it is, or a part of a matrix that is made.  0, or -1 and a message. */
int shard_add_copy(struct quant_shard *s, const struct tensor_entry *t);
int shard_add_part(struct quant_shard *s, const char *name, const struct layout_part *part);

/* Lay out the entries, create the file dir/name and write its header.  0, or -1 and a message. */
int shard_create(struct quant_shard *s, const char *dir, const char *name);

/* Write n bytes at byte `at` of the file.  0, or -1 and a message. */
int shard_write(struct quant_shard *s, uint64_t at, const void *p, size_t n);

int shard_close(struct quant_shard *s);         /* 0, or -1 and a message; frees the list in any case */

#endif
