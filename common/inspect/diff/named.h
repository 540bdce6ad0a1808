/*
 * A file of named tensors from another implementation, compared with a stream: safetensors, or one
 * array as npy, whose name is the file's.
 *
 * A name map translates names. Its lines are THEIR_NAME STAGE LAYER TENSOR, separated by blanks.
 * {l} in the first field matches a layer and may be used in the others; LAYER is - for a stage
 * without layers; # starts a comment. The first line that matches counts; built-in lines come last.
 *
 * Files written by ds-dump record where their frame waited, which defines their names; safetensors
 * also record sequences and positions. In other files row i is position i of one sequence. An
 * unknown name stands for the run's only tensor of that name.
 */
#ifndef DS_NAMED_H
#define DS_NAMED_H

#include "weights/safetensors.h"
#include "inspect/diff/named_frame.h"
#include "inspect/diff/names.h"
#include "inspect/rows.h"

struct named_tensor {
	const char *name;       /* in the file */
	struct group *group;    /* NULL: not known, or not yet */
	int late;               /* 1: the group is that of the run's first tensor of this name */
	int line;               /* line of the user's map that names it, from 1; 0: none */
	const char *why;        /* why no row is compared, or NULL */
	enum dtype dtype;       /* or ROW_F64 */
	struct extent extent;   /* lead is valid once fitted */
	int fitted;
	uint64_t rows, count;   /* count: elements of a row; valid once fitted */
	const unsigned char *data;
	struct named_tensor *by;        /* a router's experts to sort by, or NULL */
	uint64_t *seen;         /* [rows] digest of our row compared last, 0: none */
	uint64_t compared;      /* rows compared */
};

struct named {
	const char *path;
	struct tensor_file st;
	struct file_map map;    /* of an npy file */
	void *npy;              /* elements of an npy file */
	char *own_name;         /* name of its tensor */
	struct names names;
	struct named_frame frame;
	const int32_t *which;   /* [nwhich] the tensor `row`: rows of the frame with logits */
	uint64_t nwhich;
	struct named_tensor *tensors;   /* [n] without `row` */
	size_t n;
	struct table groups;    /* struct group * -> struct named_tensor */
	struct table late;      /* name -> struct named_tensor without a group */
	struct buf sorted;      /* scratch: a sorted or trimmed row */
};

/* Read the file. map_path is the name map, or NULL. Returns 0, or -1 and a message; call
 * named_close in either case. Paths are borrowed. */
int named_open(struct named *n, struct groups *g, const char *path, const char *map_path);

/* Make the file's rows belong to sequence seq, whatever it records. Returns 0, or -1 and a
 * message. */
int named_set_seq(struct named *n, uint64_t seq);

/* Find the tensor of a group: 1, 0 if there is none, or -1 and a message. Call it for each group
 * of the run. */
int named_has(struct named *n, struct group *g);

/* Find the file's row for our row, whose group passed named_has. Returns 1 with *theirs, valid
 * until the next call; 2 if our row had the same bits last time; 0 if there is none; or -1 and a
 * message. Experts of routers are sorted in ascending order with their weights, as in frames. */
int named_row(struct named *n, const struct row *ours, struct row *theirs);

/* Call after all rows of the run `name`. Returns 0, or -1 and a message with a line of the map
 * whose tensor the run lacks. */
int named_check(const struct named *n, const char *name);

/* 1 if each row of the tensor was compared. */
int named_is_whole(const struct named_tensor *t);

void named_close(struct named *n);      /* accepts a zeroed *n */

#endif
