/*
 * Selection: which frames, rows, tensors and columns a tool looks at.
 */
#ifndef DS_SELECT_H
#define DS_SELECT_H

#include <stddef.h>
#include <stdint.h>

#include "base/ranges.h"
#include "frame/frame.h"

/* In the order in which a tool asks: what the one leaves goes to the next. */
enum select_by {
	SELECT_AT, SELECT_LAYER, SELECT_TENSOR, SELECT_SEQ, SELECT_POS, SELECT_COL, SELECT_EXPERT, SELECTORS
};

struct select {
	struct ranges layers, seqs, positions;
	struct ranges columns;          /* of a tensor's rows */
	struct ranges experts;          /* of expert.w: entries whose expert.idx is here */
	unsigned at;                    /* bits 1 << AT_...; 0: all */
	char *names;                    /* NUL after each, an empty one last; NULL: all */
	char *named;                    /* 1 where a name begins in `names` that a tensor had */
	const char *text[SELECTORS];    /* as the user wrote it, borrowed; NULL: not given */
	uint64_t met[SELECTORS];        /* what it let through so far */
	uint64_t frames;                /* with rows, that were asked about */
};

/* Take one of -l, --at, --seq, --pos, --tensor, --col, --expert (`option` says which, as
 * the user wrote it).  0, or -1 and a message (FAIL_USAGE). */
int select_option(struct select *s, const char *option, const char *text);
void select_free(struct select *s);
int select_is_set(const struct select *s);      /* 1 if any of them was taken */

/* Nothing was DONE ("edited"): always -1 and a message (FAIL_DATA) with the option that selected
 * nothing. */
int select_fail_empty(const struct select *s, const char *done);

/* Every name of --tensor was that of a tensor: 0, or -1 and a message (FAIL_DATA) with the first that was not. */
int select_check_names(const struct select *s);

/* Whether a batch waits at a selected stage and layer. */
int select_frame(struct select *s, const struct frame *f);
int select_row(struct select *s, uint64_t seq, uint64_t pos);

/* Whether an element of a row is selected: expert is -1 where the row has none. */
int select_element(struct select *s, uint64_t column, int64_t expert);

/* A name matches if it is listed, or listed without its "@layer"; "expert.*" matches what begins so. */
int select_tensor(struct select *s, const char *name);

/*
 * Which row of the frame each row of a tensor belongs to: *rows is allocated [shape[0]] (free() it).  Tensors have
 * a row for each of the frame's, or, behind ds-head, for those that `row` lists.
 * Returns 1, or 0 where the tensor is not by rows (*rows NULL), or -1 and a message.
 */
int select_rows_of(struct frame *f, const struct tensor *t, uint32_t **rows);

/*
 * Keep of a batch only the selected rows and tensors: spans are cut (their flags as when a prompt is
 * cut), tensors by rows too, `row` renumbered.  1, or 0 if no row is left (the frame is then
 * unusable), or -1 and a message.
 */
int select_cut(struct select *s, struct frame *f);

#endif
