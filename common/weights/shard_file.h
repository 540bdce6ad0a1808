/*
 * A safetensors file that is written: its tensors, laid out without gaps, then their bytes in any
 * order.
 *
 *	struct shard_file s = {.fd = -1};
 *	shard_file_add_copy(&s, t);
 *	if (shard_file_create(&s, dir, name) < 0 ||
 *	    shard_file_write(&s, s.list[0].at, p, n) < 0)
 *		...
 *	shard_file_close(&s);
 */
#ifndef DS_SHARD_FILE_H
#define DS_SHARD_FILE_H

#include "weights/layout.h"

struct shard_entry {
	char *name;
	const char *dtype;                      /* as in safetensors */
	int rank;
	uint64_t shape[TENSOR_RANK_MAX];
	uint64_t bytes, at;                     /* at: from the beginning of the file */
	const struct tensor_entry *from;        /* copied; NULL: made */
};

struct shard_file {
	struct shard_entry *list;
	size_t n, cap;
	const char *const *metadata;            /* keys and values, the last is NULL; or NULL */
	int fd;                                 /* -1: not open */
	char path[4096];
};

/* Another entry: t as it is, or a part of a matrix that is made.  0, or -1 and a message. */
int shard_file_add_copy(struct shard_file *s, const struct tensor_entry *t);
int shard_file_add_part(struct shard_file *s, const char *name, const struct layout_part *part);

/* Lay out the entries, create the file dir/name and write its header.  0, or -1 and a message. */
int shard_file_create(struct shard_file *s, const char *dir, const char *name);

/* Write n bytes at byte `at` of the file.  0, or -1 and a message. */
int shard_file_write(struct shard_file *s, uint64_t at, const void *p, size_t n);

/* 0, or -1 and a message; frees the list in any case. */
int shard_file_close(struct shard_file *s);

#endif
