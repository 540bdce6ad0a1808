/*
 * The backward pass of attention: the gradients of a layer's weights and of its input, from the
 * input that the forward pass had and the gradient of its output. On the CPU, in float32. Queries,
 * keys and values are computed again, by the operations of the forward pass.
 *
 * Shapes: T rows, D hidden size.
 */
#ifndef DS_BACKWARD_H
#define DS_BACKWARD_H

#include "attention/attention.h"
#include "learn/back.h"

/* What the backward pass of a kind reads, and dh, which it changes. */
struct backward {
	struct attention_layers *a;
	struct learn *l;
	const struct learn_pages *pages;
	struct kv_rows rows;            /* of all T rows, with pages of their own */
	const float *cosine, *sine;     /* [T][pairs] of their positions */
	const float *minus;             /* [T][pairs] -sine */
	const float *h;                 /* [T][D] the layer's input */
	float *dh;                      /* [T][D] the gradient of its output becomes that of h */
};

/* The layers of a, all open, learn: their weights are parameters of l, which outlives a. 0, or -1
 * and a message, also where the model's kind of attention has no backward pass (FAIL_USAGE). */
int attention_learn(struct attention_layers *a, struct learn *l);

/*
 * The backward pass of a layer over whole sequences: row t of pages is position pos[t]. h [T][D] is
 * the layer's input; dh [T][D], the gradient of its output, becomes that of its input. Adds to the
 * gradients of the layer's parameters. 0, or -1 and a message.
 */
int attention_back(struct attention_layers *a, int layer, const struct learn_pages *pages,
    const uint32_t *pos, const float *h, float *dh);

/* --- for kinds --- */

/* Rotate heads back: the last numbers of `heads` heads of `width` in each row of x, of stride
 * ldx. */
void backward_turn(const struct backward *b, float *x, ptrdiff_t ldx, int heads, int width);

#endif
