/* What becomes of a head of keys or queries that is appended, by ds-arithmetic(7): for the checks
 * of the CPU's and the GPU's operation. */
#ifndef DS_TEST_APPEND_H
#define DS_TEST_APPEND_H

#include <stdlib.h>
#include <string.h>

#include "kernels.h"

/* x [n] of row t; ref: the plain kernels. */
static inline void
append_head(const struct kernels *ref, const struct kv_append *a, int t, float *x, int n,
    const float *bias, const float *norm, int normed)
{
	const float *cosine = a->cosine + t * a->half, *sine = a->sine + t * a->half;
	float *was = malloc((size_t)n * sizeof(*x) + 1);

	memcpy(was, x, (size_t)n * sizeof(*x));
	for (int pair = 0; a->zipped && pair < n / 2; pair++) {
		x[pair] = was[2 * pair];
		x[n / 2 + pair] = was[2 * pair + 1];
	}
	free(was);
	if (bias)
		ref->add(x, bias, n);
	if (norm)
		ref->rmsnorm(x, x, norm, normed, a->eps);
	(a->halves ? ref->rope_half : ref->rope)(x + n - 2 * a->half, cosine, sine, a->half);
}

#endif
