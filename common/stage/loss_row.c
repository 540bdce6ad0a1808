/*
 * The loss of a row and its gradient.  Probabilities are float32 by the kernels' softmax; the rest
 * is float64 by the project's own exp, so the bits are the same with all kernels.
 */
#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "stage/logprob.h"
#include "stage/loss.h"

#define LANES 8
#define TERM_MAX 0x1p18
#define SUM_MAX 0x1p40             /* what is only reported is less, so that it fits fixed point */

/* -sum p log p: p [n] is the softmax of x, whose normaliser is norm. */
static double
entropy_of(const float *p, const float *x, int n, double norm)
{
	double lane[LANES] = {0}, sum = 0;

	for (int i = 0; i < n; i++)
		if (p[i] > 0)
			lane[i % LANES] += (double)p[i] * (norm - (double)x[i]);
	for (int i = 0; i < LANES; i++)
		sum += lane[i];
	return sum;
}

/* The derivative of the policy's part by new. */
static double
policy_add(const struct loss_rule *rule, const struct loss_row *row, struct loss_term *t)
{
	double A = (double)row->advantage, clipped = t->ratio;

	if (clipped < 1 - rule->low)
		clipped = 1 - rule->low;
	if (clipped > 1 + rule->high)
		clipped = 1 + rule->high;
	t->clipped = clipped * A < t->ratio * A;
	t->loss += -(t->clipped ? clipped : t->ratio) * A;
	return t->clipped ? 0 : -t->ratio * A;
}

/* loss, ratio, kl of a row with that log-probability: the derivative of the loss by it. */
static double
term_set(const struct loss_rule *rule, const struct loss_row *row, struct loss_term *t)
{
	double lead = rule->reference ? (double)row->reference - (double)t->logprob : 0, slope = -1;
	double e = fixed_exp(fmin(fmax(lead, -700), 700));

	t->ratio = 1;
	t->loss = rule->policy ? 0 : -(double)t->logprob;
	if (rule->policy) {
		double d = (double)t->logprob - (double)row->old;

		t->ratio = fixed_exp(fmin(fmax(d, -700), 700));
		slope = policy_add(rule, row, t);
	}
	t->kl = e - lead - 1;
	t->loss += rule->beta * t->kl;
	return slope + rule->beta * (1 - e);
}

int
loss_row(const struct kernels *k, const struct loss_rule *rule, const struct loss_row *row,
    float *x, int V, float *scratch, uint32_t pos, struct loss_term *term)
{
	struct loss_term t = {0};
	double norm, slope;

	if (logprob_norm(k, x, (uint64_t)V, pos, &norm) < 0)
		return -1;
	t.logprob = (float)logprob_of(x, (uint64_t)row->target, norm);
	slope = (double)row->weight * -term_set(rule, row, &t);
	if (!(fabs((double)row->weight * t.loss) < TERM_MAX && fabs(slope) < TERM_MAX))
		return fail(FAIL_DATA, "position %u: the loss is %g%s", pos, t.loss,
		    isfinite(t.loss) ? ", with its weight 2^18 or more" : "");
	if (fabs((double)row->weight) >= SUM_MAX || fabs((double)row->weight) * t.kl >= SUM_MAX)
		return fail(FAIL_DATA, "position %u: the weight is %g and the KL divergence %g: "
		    "their product or the weight is 2^40 or more", pos, (double)row->weight, t.kl);
	t.slope = (float)slope;
	memcpy(scratch, x, (size_t)V * sizeof(*x));
	k->softmax(x, V);
	t.entropy = entropy_of(x, scratch, V, norm);
	x[row->target] -= 1;
	k->scale(x, t.slope, V);
	*term = t;
	return 0;
}
