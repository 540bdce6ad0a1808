/*
 * Pictures of runs: frames are taken in one by one, then the picture is drawn.
 */
#ifndef DS_PLOT_H
#define DS_PLOT_H

#include <stdio.h>

#include "frame/frame.h"
#include "arch/config.h"
#include "token/token.h"
#include "inspect/select.h"

struct plot {
	/* set by the caller, behind plot_open */
	struct select select;           /* layers (of the program that made the tensor), sequences, positions */
	struct ranges heads;
	const struct tokenizer *tokens; /* or NULL: tokens are told by their position */
	int experts;                    /* that a layer has; 0: not known */

	const struct plot_kind *kind;
	void *state;                    /* of the kind */
	uint64_t missing;               /* values that are not finite and so not drawn */
};

/*
 * A kind of picture, in a file of its own.  frame takes in a batch: 0, or -1 and a message.  draw
 * writes the picture: 1, 0 where no frame had what it shows, -1 and a message.
 */
struct plot_kind {
	const char *name;
	size_t size;                    /* of its state, which begins as zeros */
	int (*frame)(struct plot *p, struct frame *f);
	int (*draw)(struct plot *p, FILE *to);
	void (*free)(void *state);
	const char *input;              /* what to feed it */
};

extern const struct plot_kind plot_norm, plot_load, plot_probs, plot_surprise, plot_trace;

/* Begin the picture of that name.  0, or -1 and a message (FAIL_USAGE). */
int plot_open(struct plot *p, const char *name);

/* Take in a frame; control frames too.  0, or -1 and a message. */
int plot_frame(struct plot *p, struct frame *f);

/* Write the picture.  0, or -1 and a message: FAIL_DATA where there is nothing to draw.  What the stream could
 * not take is for the caller to notice. */
int plot_draw(struct plot *p, FILE *to);

void plot_close(struct plot *p);        /* frees the selections, not tokens */

/* --- for the kinds --- */

/* Where a row of a frame is: struct plot_row r = {0}; while (plot_next(f, &r)) ... r.row r.seq r.pos */
struct plot_row {
	uint64_t seq;
	uint32_t pos, row;              /* row counts from 0 */
	uint32_t span, in, started;     /* plot_next's own */
};
int plot_next(const struct frame *f, struct plot_row *r);

/* ", 3 values missing" where some are, else "". buf is returned. */
const char *plot_missing(const struct plot *p, char *buf, size_t size);

/* The text of a token, at most max characters, with a NUL; the empty text without a tokenizer or for an id that it
 * does not have.  b is emptied first.  0, or -1 and a message. */
int plot_token(const struct plot *p, int64_t id, int max, struct buf *b);

#endif
