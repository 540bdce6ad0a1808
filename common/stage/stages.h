/*
 * The table of stages: the program that each runs in, its frames, taps, inputs, device and
 * functions.
 *
 * To add a stage: its row in frame/at.h if rows wait for it, its functions in a file here, its row
 * in stages.c, and a program in cmd/ that is the text of -h and a call of stage_main.
 */
#ifndef DS_STAGES_H
#define DS_STAGES_H

#include "stage/draft.h"
#include "stage/sample.h"
#include "stage/stage.h"

/* In pipeline order; then the programs that join and carry streams.  */
enum { STAGE_EMBED, STAGE_ATTN, STAGE_ROUTE, STAGE_EXPERT, STAGE_BLOCK, STAGE_HEAD, STAGE_LOSS,
	STAGE_SAMPLE, STAGE_DRAFT, STAGE_JOIN, STAGE_RELAY, STAGE_PROGRAMS };

/* Options of some stages.  */
struct stage_options {
	int verbose;                    /* -v: count what report prints */
	int ring;                       /* --ring: frames come round for each layer */
	const char *experts;            /* ds-expert -e; NULL: all that are not yet done */
	long rows, batches;             /* ds-embed -B: most rows of a batch; --batches, 0: auto */
	int trace;                      /* ds-embed --trace */
	const char *cache_dir;          /* --cache-dir, or NULL */
	int draft;                      /* ds-sample --draft */
	uint64_t cache;                 /* --cache-size: bytes; 0: not given */
	int learn;                      /* --learn */
	const char *state;              /* --state: masters and moments to start from, or NULL */
	int quiet;                      /* ds-loss -q */
	struct sampling_options sampling;
	struct draft_options drafts;    /* of ds-draft */
};

/* GPU_COMPUTES: -d or DS_DEVICE.  GPU_OPTION: -d only; the program itself computes nothing there.  */
enum { GPU_NONE, GPU_COMPUTES, GPU_OPTION };

struct stage_program {
	const char *name;               /* "ds-attn" */
	enum at at;                     /* of the frames that it acts on; AT_NONE: none of its own */
	uint64_t taps;                  /* TAP_BIT of what its --tap offers */
	int model;                      /* 1: it opens a model */
	int weights;                    /* 1: it maps weights and multiplies with them: --manifest,
					 * --precision */
	int caches;                     /* 1: it has KV caches, or counts their bytes:
					 * --cache-type */
	int gpu;                        /* GPU_NONE, GPU_COMPUTES, GPU_OPTION */
	int min_in, max_in, ring_in;    /* inputs: the least, the most, and the least with --ring */
	size_t size;                    /* of its state, which begins as zeros */
	/* NULL: nothing to open */
	int (*open)(void *state, const struct stage *s, const struct stage_options *o);
	stage_fn *frame;                /* for stage_run; or NULL, and it reads its inputs itself: */
	/* 0, or -1 and a message, after an error frame was sent */
	int (*run)(void *state, const struct stage *s);
	void (*report)(const void *state);      /* -v: print what it did; NULL: nothing */
	void (*close)(void *state);             /* NULL: nothing to close */
};

extern const struct stage_program stage_programs[STAGE_PROGRAMS];

/* The row of that name, or NULL. */
const struct stage_program *stage_find(const char *name);

/* The row of the program that acts on frames at that stage; NULL: there is none.  Not ds-block.  */
const struct stage_program *stage_at(enum at at);

#endif
