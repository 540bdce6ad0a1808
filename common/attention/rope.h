/*
 * Rotary position embedding (Su et al. 2021), plain or stretched by YaRN (Peng et al.
 * 2023), in double with the project's own log, exp, sin and cos.
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

/* 0, or -1 and a message. */
int rope_open(struct rope *r, const struct config *c);
void rope_close(struct rope *r);

/* Cosines and sines [half] of the angles at a position, with the factor. */
void rope_angles(const struct rope *r, uint32_t pos, float *cosine, float *sine);

/* What the softmax's scale is multiplied with: mscale(factor, mscale_all_dim)^2 under
 * YaRN, else 1. */
double rope_softmax_factor(const struct config *c);

#endif
