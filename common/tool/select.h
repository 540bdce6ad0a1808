/*
 * Selection: which frames, rows, tensors and columns a tool looks at.
 */
#ifndef DS_SELECT_H
#define DS_SELECT_H

#include <stddef.h>
#include <stdint.h>

#include "base/ranges.h"
#include "frame/frame.h"

struct select {
	struct ranges layers, seqs, positions;
	unsigned at;                    /* bits 1 << AT_...; 0: all */
	char *names;                    /* NUL after each, an empty one last; NULL: all */
};

/* Take one of -l, --at, --seq, --pos, --tensor (`option` says which, as the user
 * wrote it).  0, or -1 and a message (FAIL_USAGE). */
int select_take(struct select *s, const char *option, const char *text);
void select_free(struct select *s);

/* Whether a batch waits at a selected stage and layer. */
int select_frame(const struct select *s, const struct frame *f);
int select_row(const struct select *s, uint64_t seq, uint64_t pos);

/* A name matches if it is listed, or listed without its "@layer"; "expert.*" matches what begins so. */
int select_tensor(const struct select *s, const char *name);

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
int select_cut(const struct select *s, struct frame *f);

#endif
