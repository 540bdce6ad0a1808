/*
 * The rows of a stream: a frame taken apart into one row of each tensor for each position, told
 * with the stage and layer whose program made it, which is not where the frame waits.
 */
#ifndef DS_ROWS_H
#define DS_ROWS_H

#include <stdio.h>

#include "base/table.h"
#include "frame/frame.h"

/* All rows of one tensor of one stage and layer.  Lives as long as its struct groups. */
struct group {
	uint32_t id;            /* counts from 0 */
	const char *stage;      /* "tokenize", "embed", "attn", ... */
	int layer;              /* -1: the stage has none */
	const char *tensor;     /* its name in the frame */
	const char *done;       /* of expert.acc: the experts it holds; NULL for other tensors */
	int order;              /* of stage and layer in the pipeline */
	int inner;              /* of the tensor within them */
	uint64_t odd;           /* tensors of it that have no row for each position */
	char *key;              /* owns the text */
};

struct groups {
	struct table names;
	struct group **all;     /* [n], by id */
	size_t n, cap;
	struct buf trimmed;     /* a row of attn.probs */
};

#define ROW_RANK_MAX 8
#define ROW_F64 DTYPES_ALL      /* as a row's dtype, of files of named tensors: no frame has it */

struct extent {                 /* of a row's tensor, as it came; of a ragged row its own */
	int rank, lead;         /* lead: axes of 1 in front of the one that counts rows */
	uint64_t shape[ROW_RANK_MAX];
};

struct row {
	struct group *group;
	uint64_t seq;
	uint32_t pos;
	enum dtype dtype;
	uint64_t count;         /* elements, at least 1 */
	int ragged;             /* rows of the tensor have different counts: attn.probs, [H][pos + 1] */
	const void *data;
	size_t bytes;
	struct extent extent;
};

/*
 * Who made tensor t of frame f: the group is found or made anew.  NULL and a message without memory.
 *
 * `ids` come from tokenize, wherever the frame is; a tap NAME@L from the stage in front of its dot and
 * from layer L; the residual stream `h` from the last stage that adds to it (so at `expert` it is that
 * of attn); others from the stage that the frame has passed last.
 */
struct group *group_of(struct groups *g, const struct frame *f, const struct tensor *t);

/* The group of that stage (a name as in struct group), layer (-1: none) and tensor. */
struct group *group_named(struct groups *g, const char *stage, int layer, const char *tensor, const char *done);

void groups_free(struct groups *g);

/* Pipeline order: below, equal to or above 0. */
int group_cmp(const struct group *a, const struct group *b);

/* Print "STAGE LAYER" ("-" for none), and the tensor's name: fields of a line, so that whatever came
 * from a frame has no white space in it. */
void group_print_stage(FILE *to, const struct group *g);
void group_print_tensor(FILE *to, const struct group *g);

/* "attn layer 3", or "embed", for messages; to is returned. */
const char *group_where(const struct group *g, char *to, size_t size);

size_t row_size(enum dtype t);          /* bytes of an element; ROW_F64 included */
const char *row_type(enum dtype t);     /* "F32" */

/* Print "F32 [7, 256]". */
void row_print_type(FILE *to, enum dtype t, const struct extent *e);

/*
 * A row [H][P] of attn.probs, P being the longest context of its batch: drop the zeros after the
 * row's own position.  Its data are then in `to`, and its extent is its own.  0, or -1 and a
 * message.
 */
int row_trim(struct buf *to, uint64_t H, uint64_t P, struct row *r);

/* 64 bits that stand for a row's; never 0. */
uint64_t row_digest(const struct row *r);

/*
 * Hand each row of a batch to fn, tensor by tensor.  Rows of attn.probs@L lose the zeros that pad them to the
 * longest context of their batch.  `row` is not among them: it says which rows
 * the tensors of the head have.  Tensors that have no row for each position are left out, each
 * counted in *odd and in its group.  0, or -1 and a message: fn's own -1, or `row` is wrong.
 */
int rows_walk(struct groups *g, struct frame *f, int (*fn)(void *arg, const struct row *r), void *arg,
    uint64_t *odd);

#endif
