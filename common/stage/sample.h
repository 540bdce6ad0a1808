/*
 * Sampling: from the logits of a row to the next token of its sequence.
 */
#ifndef DS_SAMPLE_H
#define DS_SAMPLE_H

#include "stage/sampling.h"
#include "stage/stage.h"

struct sample {
	const struct stage *stage;
	struct sampling base;           /* for sequences that say nothing */
	struct table seqs;              /* sequence id -> struct sample_seq */
	struct choice *choices;         /* [V] scratch */
	float *weights;                 /* [V] scratch */
	int ring;                       /* frames for other stages go on; spans that ask for no token are answered by
	                                   one without rows and flags behind them */
	uint64_t tokens;                /* sampled so far */
};

/* 0, or -1 and a message. */
int sample_open(struct sample *s, const struct stage *stage, const struct sampling *base);
void sample_close(struct sample *s);

/*
 * A stage_fn: sends the new tokens, `free` for the sequences that ended, and an `error` for each that failed alone: its
 * parameters are wrong, a logit is not a number, or the stream ends although its only token was not the last, since
 * nothing brought that back to ds-embed.
 */
int sample_frame(void *sample, struct frame *f, struct link *out, int nout);

/*
 * Choose from logits [V], of which none is NaN: the largest (the first of several) if greedy, otherwise by
 * temperature, then the top_k largest, then the fewest that together reach
 * top_p (Holtzman et al. 2020), at the point u of [0, 1).  choices [V] and weights [V] are scratch.
 */
struct choice {
	double p;
	int32_t id;
};
int32_t sample_choose(const struct kernels *k, const struct sampling *p, const float *logits, int V,
    double u, struct choice *choices, float *weights);

/* A number in [0, 1) that depends on nothing but its arguments: Philox 4x32-10 (Salmon et al. 2011). */
double sample_random(uint64_t seed, uint64_t seq, uint64_t pos);

#endif
