/*
 * Selection of frames, rows, tensors and columns.
 */
#ifndef DS_SELECT_H
#define DS_SELECT_H

#include <stddef.h>
#include <stdint.h>

#include "base/ranges.h"
#include "frame/frame.h"

/* In the order in which tools apply them: each selects from what the previous one passes. */
enum select_by {
	SELECT_AT, SELECT_LAYER, SELECT_TENSOR, SELECT_SEQ, SELECT_POS, SELECT_COL, SELECT_EXPERT, SELECTORS
};

struct select {
	struct ranges layers, seqs, positions;
	struct ranges columns;          /* of a tensor's rows */
	struct ranges experts;          /* entries of expert.w, by their expert.idx */
	unsigned at;                    /* bits 1 << AT_...; 0: all */
	char *names;                    /* NUL-terminated names, then an empty one; NULL: all */
	char *named;                    /* 1 at the offset of each name that matched a tensor */
	const char *text[SELECTORS];    /* the option's argument, borrowed; NULL: not given */
	uint64_t met[SELECTORS];        /* how often it passed something */
	uint64_t frames;                /* frames with rows that were tested */
};

/* Parse -l, --at, --seq, --pos, --tensor, --col or --expert; `option` is its name. text is
 * borrowed. Returns 0, or -1 and a message (FAIL_USAGE). */
int select_option(struct select *s, const char *option, const char *text);
void select_free(struct select *s);
int select_is_set(const struct select *s);      /* 1 if an option was given */

/* Report that nothing was DONE ("edited"), and which option selected nothing. Always returns -1
 * (FAIL_DATA). */
int select_fail_empty(const struct select *s, const char *done);

/* Check that each name of --tensor matched. Returns 0, or -1 and a message (FAIL_DATA) with the
 * first that did not. */
int select_check_names(const struct select *s);

/* 1 if the batch waits at a selected stage and layer; 1 if the row is selected. */
int select_frame(struct select *s, const struct frame *f);
int select_row(struct select *s, uint64_t seq, uint64_t pos);

/* 1 if an element of a row is selected; expert -1: the row has no experts. */
int select_element(struct select *s, uint64_t column, int64_t expert);

/* 1 if the name is listed, with or without its "@layer"; "expert.*" matches a prefix. */
int select_tensor(struct select *s, const char *name);

/*
 * Map the rows of a tensor to rows of the frame, in *rows [shape[0]], to be freed. Tensors have one
 * row for each of the frame's rows or, after ds-head, for those listed in `row`. Returns 1, 0 if
 * the tensor has no such rows (*rows NULL), or -1 and a message.
 */
int select_rows_of(struct frame *f, const struct tensor *t, uint32_t **rows);

/*
 * Drop all rows and tensors of a batch that are not selected: split spans (flags as for split
 * prompts), cut tensors, renumber `row`. Returns 1, 0 if no row is left (f is then unusable), or -1
 * and a message.
 */
int select_cut(struct select *s, struct frame *f);

#endif
