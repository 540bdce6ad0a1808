/*
 * Rotary position embedding (Su et al. 2021) and how it is scaled for longer contexts: positions
 * divided by a factor (Chen et al. 2023), YaRN (Peng et al. 2023), or as Llama 3.1 does.  In
 * double, with the project's own log, exp, sin and cos.
 */
#ifndef DS_ROPE_H
#define DS_ROPE_H

#include <stdint.h>

#include "arch/config.h"

struct rope {
	int half;               /* pairs */
	double *freq;           /* [half] radians per position */
	double factor;          /* on cosine and sine */
};

/* half: pairs of numbers that are rotated.  0, or -1 and a message. */
int rope_open(struct rope *r, const struct rope_config *c, int half);
void rope_close(struct rope *r);

/* What the softmax's scale is multiplied with: mscale(factor, mscale_all_dim)^2 under
 * YaRN, else 1. */
double rope_softmax_factor(const struct rope_config *c);

#endif
