/*
 * The rows of a stream. A frame is split into one row of each tensor for each position, labelled
 * with the stage and layer that produced it, not the one where the frame waits.
 */
#ifndef DS_ROWS_H
#define DS_ROWS_H

#include <stdio.h>

#include "base/table.h"
#include "frame/frame.h"

/* All rows of one tensor of one stage and layer. Owned by struct groups. */
struct group {
	uint32_t id;            /* index, from 0 */
	const char *stage;      /* "tokenize", "embed", "attn", ... */
	int layer;              /* -1: none */
	const char *tensor;     /* its name in the frame */
	const char *done;       /* sums over experts: which ones; NULL for other tensors */
	int64_t order;          /* sort key of stage and layer */
	int inner;              /* sort key of the tensor within them */
	uint64_t odd;           /* tensors of this group without one row per position */
	char *key;              /* memory of the names */
};

struct groups {
	struct table names;
	struct group **all;     /* [n], by id */
	size_t n, cap;
	struct buf trimmed;     /* scratch: a row of attn.probs */
};

#define ROW_RANK_MAX 8
#define ROW_F64 DTYPES_ALL      /* dtype of rows from files of named tensors; frames have no F64 */

struct extent {                 /* shape of a row's tensor; of a ragged row its own */
	int rank, lead;         /* lead: number of leading axes of size 1 before the axis of rows */
	uint64_t shape[ROW_RANK_MAX];
};

struct row {
	struct group *group;
	uint64_t seq;
	uint32_t pos;
	enum dtype dtype;
	uint64_t count;         /* elements, at least 1 */
	int ragged;     /* 1: rows of the tensor have different counts (attn.probs, [H][pos + 1]) */
	const void *data;
	size_t bytes;
	struct extent extent;
};

/*
 * Find or add the group of tensor t of frame f. NULL and a message on failure.
 *
 * `ids` belong to tokenize; a tap NAME@L to the stage before its dot and layer L; the residual
 * stream `h` to the last stage that adds to it (at `expert` that is attn); other tensors to the
 * last stage that the frame has passed.  In a backward pass they belong to the step that they wait
 * for, such as expert.back.
 */
struct group *group_of(struct groups *g, const struct frame *f, const struct tensor *t);

/* 1 if the tensor has a row for each entry of `row`, if its frame has that. */
int rows_are_listed(const char *tensor);

/* 1 if the frame lists its rows with logits in `row`. */
int rows_have_list(const struct frame *f);

/* Find or add the group of a stage (a name as in struct group), layer (-1: none), tensor, and
 * experts in the sum (NULL: none). NULL and a message on failure. */
struct group *group_named(struct groups *g, const char *stage, int layer, const char *tensor, const char *done);

void groups_free(struct groups *g);

/* Compare in pipeline order, as for qsort(). */
int group_cmp(const struct group *a, const struct group *b);

/* Print the fields "STAGE LAYER" ("-" for none), or the tensor's name. White space from frames
 * is escaped. */
void group_print_stage(FILE *to, const struct group *g);
void group_print_tensor(FILE *to, const struct group *g);

/* Write "attn layer 3" or "embed" to to[size]. Returns to. */
const char *group_where(const struct group *g, char *to, size_t size);

size_t row_size(enum dtype t);          /* bytes per element */

/* Print "F32 [7, 256]". */
void row_print_type(FILE *to, enum dtype t, const struct extent *e);

/*
 * Trim a row [H][P] of attn.probs, padded to the longest context of its batch: drop the zeros after
 * the row's own position. The data move to `to`. Returns 0, or -1 and a message.
 */
int row_trim(struct buf *to, uint64_t H, uint64_t P, struct row *r);

/* A 64-bit digest of the row, never 0. */
uint64_t row_digest(const struct row *r);

/* Check a tensor `row` of a frame with that many rows: I32, one-dimensional, ascending. Returns 0,
 * or -1 and a message. */
int rows_check_list(const struct tensor *t, uint32_t rows);

/*
 * Call fn for each row of a batch, tensor by tensor. Padding of attn.probs@L is trimmed. `row` is
 * skipped: it selects the rows of head tensors. Tensors without one row per position are skipped
 * and counted in *odd and in their group. r->data is valid during the call. Returns 0, or -1 and a
 * message: from fn, or if `row` is invalid.
 */
int rows_walk(struct groups *g, struct frame *f, int (*fn)(void *arg, const struct row *r), void *arg,
    uint64_t *odd);

#endif
