/*
 * The door of the pipeline: prompts and looped-back tokens become batches.
 *
 * With several inputs the last is the loop.  Its rows go first; prompts are claimed in while there is
 * room for them.  As many batches whose rows are sampled as the caller wants are under way at once, one by default;
 * meanwhile what arrives is collected.  The living sequences are spread over them evenly: with one batch
 * all step together.
 *
 * What concerns one sequence alone (a prompt that is too long, an id that the vocabulary does not have) ends that sequence: an
 * `error` frame with its number goes down the line in slot of its `free`.  What its input still brings of it is dropped.
 *
 * Prompts are bounded, whatever frames they come in; the loop is always read.
 *
 * A frame that the loop brings and that is not for us goes on before anything else.  In a ring, where frames come
 * round for each layer, every span is answered (see sample.h), and only then is it known that its rows have been through all
 * layers: until then the sequence is neither freed nor forked, and there is no `end`.
 *
 * A batch gets a `trace` if e->trace is set or a frame that brought some of its rows had one.
 * That of the loop ends there; a prompt's goes on, like all keys that belong to its frame alone.
 */
#ifndef DS_EMBED_H
#define DS_EMBED_H

#include "stage/stage.h"

struct embed_seq;
struct embed_source;

enum embed_kind { ITEM_ROWS, ITEM_FRAME, ITEM_FREE, ITEM_FAILED };

/* What waits to be sent: rows to be embedded, a stretch of one source frame's span; a frame that is passed on in its
 * turn; or the end of a sequence, whose frame is made when it goes. */
struct embed_item {
	struct embed_source *source;    /* of ITEM_ROWS and ITEM_FRAME */
	struct span span;               /* of ITEM_ROWS; otherwise all but seq is 0 */
	uint32_t row;                   /* in the source frame */
	int params;                     /* entry of the source's `seqs` that goes with it, or -1 */
	enum embed_kind kind;
	char *text;                     /* of ITEM_FAILED, which owns it */
};

struct embed_queue {
	struct embed_item *p;          /* [cap]; first .. n-1 wait */
	size_t first, n, cap;
	uint64_t rows;
};

#define EMBED_BATCHES_MAX 64
#define RETIRED_MAX 128          /* sequences that failed, whose names are remembered */

struct embed {
	const struct stage *stage;
	struct mat table;               /* [V][D] */
	struct link *in, *out;
	int nin, nout;
	int loop;                       /* index of the loop, or -1 */
	uint32_t batch;                 /* most rows of a batch */
	struct table seqs;              /* sequence id -> struct embed_seq: those alive */
	struct embed_seq *first, *last; /* of these, in the order in which they began */
	struct table names;             /* (input, its id) -> struct embed_seq: the same, and those that have failed */
	size_t sampling;                /* alive sequences that have asked for a sampled row */
	int batches;                    /* most that are under way at once (1) */
	size_t away[EMBED_BATCHES_MAX]; /* of each, sequences whose token has not come back; 0: there is none */
	struct embed_queue passing, loops, prompts;     /* the first: frames on their way round */
	uint64_t held;                  /* bytes of the frames that prompts wait in */
	uint64_t serial;                /* of the batch that is being made */
	uint64_t fresh;                 /* where to look for an unused id */
	struct embed_seq *retired[RETIRED_MAX];   /* in the order in which they died, from nretired % RETIRED_MAX on */
	size_t nretired;
	struct table echoes;            /* sequence id -> struct embed_echo: errors of ours that the loop will bring */
	unsigned char ended[LINKS_MAX];        /* inputs that have ended */
	int ring;                       /* frames come round for each layer */
	int trace;                      /* every batch gets a `trace` */
	int finished;                   /* our own end frame has been queued */
};

/* 0, or -1 and a message.  in, out: opened; they stay the caller's. */
int embed_open(struct embed *e, const struct stage *s, struct link *in, int nin,
    struct link *out, int nout, uint32_t batch);

/* Until all is done and `end` has been written.  0, or -1 and a message, an error frame sent. */
int embed_run(struct embed *e);

void embed_close(struct embed *e);

#endif
