/*
 * The attention stage: frames at `attn` of its layers get their attention added to h and
 * wait for `route`; the caches of its layers are here.
 */
#ifndef DS_ATTN_H
#define DS_ATTN_H

#include "attention/attention.h"
#include "learn/pages.h"
#include "stage/stage.h"

struct attn {
	const struct stage *s;
	struct attention_layers attention;
	const char *dir;                /* --cache-dir, or NULL; set after attn_open */
	int full;                       /* saving has failed: no more is saved */
	uint64_t saved, loaded;         /* sequences */
	struct scratch rows;            /* host: the rows that attn_reserve collects */
	uint64_t block;                 /* counts its calls */
	uint64_t size;                  /* --cache-size: bytes of the caches of its layers; 0: that
					 * of ds-embed, if it has one */
	int limited;                    /* ds-embed has asked for the limit, and obeys it */
	struct learn_pages pages;       /* of the backward pass */
};

/* s, its model and pool outlive it.  0, or -1 and a message. */
int attn_open(struct attn *a, const struct stage *s);
void attn_close(struct attn *a);

/* A stage_fn, arg the struct attn; control frames free, fork, save and load. */
int attn_frame(void *arg, struct frame *f, struct link *out, int nout);

/* --- attn_files.c --- */

/* A `save` or `load`: in all layers, or n becomes 0. Files that cannot be written or used are a
 * warning. 0, or -1 and a message. */
int attn_files(struct attn *a, struct frame *f);

/* -v: what was saved and loaded. */
void attn_report(const struct attn *a);

/* --- attn_back.c --- */

/* Before attention of f: keep its rows if they come back. 0, or -1 and a message. */
int attn_keep(const struct attn *a, struct frame *f);

/* After it: a frame that teaches has whole sequences, whose cache nothing reads again. 0, or -1 and
 * a message. */
int attn_release(const struct attn *a, const struct frame *f);

/* f waits for `attn.back`: h.grad [T][D], the gradient of h after attention, becomes that of h
 * before it. 0, or -1 and a message. */
int attn_back(struct attn *a, struct frame *f);

/* --- for ds-block, which reserves the slots of several layers first --- */

/* Where in a frame's spans the next rows begin. */
struct attn_cursor {
	int span;
	uint32_t row;                   /* of that span */
};

/* Reserve slots in a layer's cache for all rows left of the frame. Stops early at a span that
 * would truncate rows reserved by this call: they must be computed before they are forgotten.
 * rows is for attention_add, if it has any. 0, or -1 and a message. */
int attn_reserve(struct attn *a, int layer, const struct frame *f, struct attn_cursor *at,
    struct kv_rows *rows);

#endif
