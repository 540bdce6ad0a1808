/*
 * Sampling: from the logits of a row to the next token of its sequence.
 */
#ifndef DS_SAMPLE_H
#define DS_SAMPLE_H

#include "stage/think.h"
#include "stage/sampling.h"
#include "stage/stage.h"

struct sample {
	const struct stage *stage;
	struct sampling base;           /* for sequences without parameters of their own */
	struct think_vocab vocab;
	struct table seqs;              /* sequence id -> struct sample_seq */
	struct choice *choices;         /* [V] scratch */
	float *weights;                 /* [V] scratch */
	int ring;                       /* forward frames for other stages; answer each span that asks for no token with
	                                   a span without rows and flags at the position after it */
	int draft;                      /* its frames, of all rows, are for ds-draft */
	uint64_t tokens;                /* sampled so far */
};

/* Owns the stop strings of base from then on.  0, or -1 and a message.  */
int sample_open(struct sample *s, const struct stage *stage, const struct sampling *base);
void sample_close(struct sample *s);

/*
 * A stage_fn: sends the new tokens, `free` for sequences that ended, and an `error` for each that
 * failed alone.  A sequence fails if its parameters are wrong, if a logit is not a number or
 * +infinity, or if the stream ends before its second token, since there is no loop then.
 */
int sample_frame(void *sample, struct frame *f, struct link *out, int nout);

/*
 * Choose a token from logits [V], none of them NaN or
 * +infinity.  Greedy: the largest, the first of several.
 * Otherwise by temperature, among the top_k largest, then among the fewest with a total probability
 * of top_p (Holtzman et al. 2020), at the point u of [0, 1).  choices [V] and weights [V] are
 * scratch.
 */
struct choice {
	float p;
	int32_t id;
};
int32_t sample_choose(const struct kernels *k, const struct sampling *p, const float *logits, int V,
    double u, struct choice *choices, float *weights);

/* A number in [0, 1), a function of its arguments alone: Philox 4x32-10 (Salmon et al. 2011).  */
double sample_random(uint64_t seed, uint64_t seq, uint64_t pos);

#endif
