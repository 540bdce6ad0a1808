#include "stage/logprob.h"

#include <limits.h>
#include <math.h>

#include "base/fail.h"

int
logprob_norm(const struct kernels *k, const float *x, uint64_t n, uint32_t pos, double *norm)
{
	double max = -INFINITY;

	for (uint64_t i = 0; i < n; i++) {
		if (isnan(x[i]) || (double)x[i] == INFINITY)
			return fail(FAIL_DATA, "position %u: the logit of token %llu is %s", pos,
			    (unsigned long long)i, isnan(x[i]) ? "not a number" : "infinite");
		max = (double)x[i] > max ? (double)x[i] : max;
	}
	if (max == -INFINITY)
		return fail(FAIL_DATA, "position %u: no logit is finite", pos);
	if (n > INT_MAX)
		return fail(FAIL_DATA, "position %u: more than %d logits", pos, INT_MAX);
	*norm = max + fixed_log(k->fixed_exp_sum(x, (int)n, max));
	return 0;
}

double
logprob_of(const float *x, uint64_t id, double norm)
{
	return (double)x[id] - norm;
}
