/*
 * The backward pass of attention over pages, on the CPU: from the gradient of what attention puts
 * out to those of queries, keys and values.
 *
 * The queries of a page meet the pages up to their own, whose scores are computed again. Keys and
 * values get their gradients in fixed point, so the order of queries and heads has no effect: bits
 * depend neither on threads nor on what else a frame holds.
 *
 * Shapes: T rows, H query heads; of keys and values struct kv_shape.
 */
#ifndef DS_ATTEND_BACK_H
#define DS_ATTEND_BACK_H

#include "base/scratch.h"
#include "device/ops.h"
#include "learn/pages.h"

struct attend_back {
	const struct kv_rows *rows;     /* whole sequences; their keys and values are in pages */
	const struct learn_pages *pages;        /* of the same rows */
	struct kv_shape kv;
	int H;
	float scale;
	const float *query;             /* [T][H][key] */
	const float *dout;              /* [T][H][value] */
	float *out;                     /* [T][H][value] becomes attention, computed again */
	float *dquery;                  /* [T][H][key] */
	float *dk, *dv;                 /* [T][heads][key], [T][heads][value]; NULL: dk has both */
};

/* The gradients of query, keys and values. work: memory of any size. 0, or -1 and a message, also
 * where a gradient is not finite or too large. */
int attend_back(struct device *d, struct scratch *work, const struct attend_back *b);

#endif
