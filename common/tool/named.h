/*
 * A file of named tensors that another implementation wrote, in the place of a stream: safetensors, or
 * one array as npy, whose name is the file's.  Row i of a tensor is position i of one sequence.
 *
 * A name map says which tensor is which.  A line of it: THEIR_NAME STAGE LAYER TENSOR, fields
 * divided by blanks; {l} in the first stands for a layer and may be used in the others; LAYER is - where the
 * stage has none; # begins a comment.  The first line that fits a name counts, and those built in come last.
 */
#ifndef DS_NAMED_H
#define DS_NAMED_H

#include "model/safetensors.h"
#include "tool/rows.h"

struct named_tensor {
	const char *name;       /* theirs */
	struct group *group;
	enum dtype dtype;
	uint64_t rows, count;   /* elements of a row */
	const unsigned char *data;
	struct named_tensor *by;        /* of a router's: the experts to sort by, or NULL */
	uint64_t *seen;         /* [rows] digest of our row that was laid against it last, 0: none was */
};

struct named {
	const char *path;
	struct safetensors st;
	struct file_map map;    /* of an npy file */
	void *npy;              /* its elements */
	char *own_name;         /* of its tensor */
	struct named_tensor *tensors;   /* [n] */
	size_t n;
	const char **unknown;   /* [nunknown] names that the map does not have */
	size_t nunknown;
	struct table groups;    /* struct group * -> struct named_tensor */
	struct buf sorted;      /* a router's row in order */
};

/* Does the name end as such a file's? */
int named_is(const char *path);

/* Read the file; map_path: the name map's file, or NULL.  0, or -1 and a message. */
int named_open(struct named *n, struct groups *g, const char *path, const char *map_path);

/* The row of that group and position: 1, valid until the next call; 2 our row had these bits the last time, too;
 * 0 there is none; -1 and a message.
 * A router's experts come in ascending order, as in our frames, and their weights with them. */
int named_row(struct named *n, const struct row *ours, struct row *theirs);

/* Has it a tensor of the group? */
int named_has(const struct named *n, const struct group *g);

void named_close(struct named *n);      /* a zeroed *n is fine */

#endif
