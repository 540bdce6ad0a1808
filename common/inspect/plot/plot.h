/*
 * Plots of runs: add frames one by one, then draw.
 */
#ifndef DS_PLOT_H
#define DS_PLOT_H

#include <stdio.h>

#include "frame/frame.h"
#include "arch/config.h"
#include "token/token.h"
#include "inspect/select.h"

struct plot {
	/* set by the caller after plot_open */
	struct select select;       /* layers (where a tensor was produced), sequences, positions */
	struct ranges heads;
	const struct tokenizer *tokens; /* NULL: positions label tokens */
	int experts;                    /* experts of a layer; 0: unknown */

	const struct plot_kind *kind;
	void *state;                    /* private to the kind */
	uint64_t missing;               /* values that are not finite, and not drawn */
};

/*
 * A kind of plot, each in its own file. frame adds a batch: 0, or -1 and a message. draw writes the
 * plot: 1, 0 if there is nothing to draw, or -1 and a message.
 */
struct plot_kind {
	const char *name;
	size_t size;                    /* of its state, which is zeroed at first */
	int (*frame)(struct plot *p, struct frame *f);
	int (*draw)(struct plot *p, FILE *to);
	void (*free)(void *state);
	const char *input;              /* the input it needs, for messages */
};

extern const struct plot_kind plot_norm, plot_load, plot_probs, plot_surprise, plot_trace;

/* Begin a plot of the kind `name`. Returns 0, or -1 and a message (FAIL_USAGE). */
int plot_open(struct plot *p, const char *name);

/* Add a frame; control frames are ignored. Returns 0, or -1 and a message. */
int plot_frame(struct plot *p, struct frame *f);

/* Write the plot. Returns 0, or -1 and a message (FAIL_DATA if there is nothing to draw). Check
 * `to` for write errors with ferror(). */
int plot_draw(struct plot *p, FILE *to);

void plot_close(struct plot *p);        /* frees the selections, not the tokenizer */

/* --- for the kinds of plot --- */

/* Iterator over the rows of a frame: struct plot_row r = {0}; while (plot_next(f, &r)) ... */
struct plot_row {
	uint64_t seq;
	uint32_t pos, row;              /* row is the index in the frame */
	uint32_t span, in, started;     /* private to plot_next */
};
int plot_next(const struct frame *f, struct plot_row *r);

/* Write ", 3 not finite and left out", or "" if all are finite. Returns buf. */
const char *plot_missing(const struct plot *p, char *buf, size_t size);

/* Write a token's text to b, at most max characters and a NUL; empty without a tokenizer or for
 * an unknown id. Returns 0, or -1 and a message. */
int plot_token(const struct plot *p, int64_t id, int max, struct buf *b);

#endif
