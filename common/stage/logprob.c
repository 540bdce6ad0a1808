#include "stage/logprob.h"

#include <math.h>

#include "base/fail.h"
#include "kernels.h"

int
logprob_norm(const float *x, uint64_t n, uint32_t pos, double *norm)
{
	double max = -INFINITY, sum = 0;

	for (uint64_t i = 0; i < n; i++) {
		if (isnan(x[i]) || (double)x[i] == INFINITY)
			return fail(FAIL_DATA, "position %u: the logit of token %llu is %s", pos,
			    (unsigned long long)i, isnan(x[i]) ? "not a number" : "infinite");
		max = (double)x[i] > max ? (double)x[i] : max;
	}
	if (max == -INFINITY)
		return fail(FAIL_DATA, "position %u: no logit is finite", pos);
	for (uint64_t i = 0; i < n; i++)
		sum += fixed_exp((double)x[i] - max);
	*norm = max + fixed_log(sum);
	return 0;
}

double
logprob_of(const float *x, uint64_t id, double norm)
{
	return (double)x[id] - norm;
}
