/*
 * A file of named tensors that another implementation wrote, in the place of a stream: safetensors,
 * or one array as npy, whose name is the file's.
 *
 * A name map says which tensor is which.  A line of it: THEIR_NAME STAGE LAYER TENSOR, fields
 * divided by blanks; {l} in the first stands for a layer and may be used in the others; LAYER is -
 * where the stage has none; # begins a comment.  The first line that fits a name counts, and those
 * built in come last.
 *
 * A file that ds-dump wrote says where its frame waited, so that its names are known; as
 * safetensors also whose rows they are.  In other files row i is position i of one sequence.  A
 * name that nothing knows stands for the run's only tensor of that name.
 */
#ifndef DS_NAMED_H
#define DS_NAMED_H

#include "weights/safetensors.h"
#include "inspect/diff/named_frame.h"
#include "inspect/diff/names.h"
#include "inspect/rows.h"

struct named_tensor {
	const char *name;       /* theirs */
	struct group *group;    /* NULL: not (yet) known */
	int late;               /* the group is that of the run's first tensor of this name */
	int line;               /* of the user's map that named it, from 1; 0: none did */
	const char *why;        /* why no row is compared; NULL: those that the run has are */
	enum dtype dtype;       /* or ROW_F64 */
	struct extent extent;   /* lead is set once a row of ours has been seen: fitted */
	int fitted;
	uint64_t rows, count;   /* elements of a row; once fitted */
	const unsigned char *data;
	struct named_tensor *by;        /* of a router's: the experts to sort by, or NULL */
	uint64_t *seen;         /* [rows] digest of our row that was laid against it last, 0: none was */
	uint64_t compared;      /* rows that were */
};

struct named {
	const char *path;
	struct safetensors st;
	struct file_map map;    /* of an npy file */
	void *npy;              /* its elements */
	char *own_name;         /* of its tensor */
	struct names names;
	struct named_frame frame;
	const int32_t *which;   /* [nwhich] its tensor `row`: which rows of the frame have logits */
	uint64_t nwhich;
	struct named_tensor *tensors;   /* [n]; `row` is none of them */
	size_t n;
	struct table groups;    /* struct group * -> struct named_tensor */
	struct table late;      /* names without a group -> struct named_tensor */
	struct buf sorted;      /* a row in order, or without its padding */
};

/* Does the name end as such a file's? */
int named_is(const char *path);

/* Read the file; map_path: the name map's file, or NULL.  0, or -1 and a message. */
int named_open(struct named *n, struct groups *g, const char *path, const char *map_path);

/* The file is about that sequence, whatever it says itself.  0, or -1 and a message. */
int named_set_seq(struct named *n, uint64_t seq);

/* Its tensor of the group: 1, 0 it has none, -1 and a message.  Each group that the run has is
 * asked for once or more. */
int named_has(struct named *n, struct group *g);

/* The row that ours, of a group that named_has, is laid against: 1, valid until the next call; 2
 * our row had these bits the last time, too; 0 there is none; -1 and a message. A router's experts
 * come in ascending order, as in our frames, and their weights with them. */
int named_row(struct named *n, const struct row *ours, struct row *theirs);

/* All rows of the run `name` have come: 0, or -1 and a message that names a line of the map of
 * which it has nothing. */
int named_check(const struct named *n, const char *name);

/* Has each row of the tensor been compared? */
int named_is_whole(const struct named_tensor *t);

void named_close(struct named *n);      /* a zeroed *n is fine */

#endif
