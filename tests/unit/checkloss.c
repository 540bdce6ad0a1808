/*
 * checkloss: the loss of a row, against central differences of the same in float64 by libm; its
 * sums; the bits of all kernels.
 */
/* check: yes */
#include <math.h>
#include <string.h>

#include "numbers.h"

#include "base/fail.h"
#include "stage/loss.h"

#define V 301
#define STEP 1e-4

static float logits[V];
static double direction[V];

static void
draw(void)
{
	for (int i = 0; i < V; i++) {
		logits[i] = (float)below(1000) * 0.012f - 6;
		direction[i] = (double)below(2001) / 1000 - 1;
	}
}

/* The weighted loss of the logits plus step times the direction; reference, old: as rows have
 * them. */
static double
loss_at(const struct loss_rule *r, const struct loss_row *row, double step)
{
	double x[V], max = -INFINITY, sum = 0, new, loss;

	for (int i = 0; i < V; i++) {
		x[i] = (double)logits[i] + step * direction[i];
		max = fmax(max, x[i]);
	}
	for (int i = 0; i < V; i++)
		sum += exp(x[i] - max);
	new = x[row->target] - max - log(sum);
	loss = -new;
	if (r->policy) {
		double ratio = exp(new - (double)row->old), A = (double)row->advantage;

		loss = -fmin(ratio * A, fmin(fmax(ratio, 1 - r->low), 1 + r->high) * A);
	}
	if (r->reference) {
		double d = (double)row->reference - new;

		loss += r->beta * (exp(d) - d - 1);
	}
	return loss * (double)row->weight;
}

/* The term and gradient of a row are those of loss_at, with every kind of kernels the same. */
static void
compare(const char *what, const struct loss_rule *rule, const struct loss_row *row, int clipped)
{
	float x[V], first[V], scratch[V];
	struct loss_term t;
	double slope = 0, want, scale = 0;
	int same = 1;

	for (int k = 0; kernels_set(k); k++) {
		const struct kernels *kernels = kernels_named(kernels_set(k));

		if (!kernels)
			continue;
		memcpy(x, logits, sizeof(x));
		if (loss_row(kernels, rule, row, x, V, scratch, 3, &t) < 0) {
			ok(0, "%s: %s", what, fail_text());
			return;
		}
		if (k == 0)
			memcpy(first, x, sizeof(x));
		same &= memcmp(first, x, sizeof(x)) == 0;
	}
	ok(same, "%s: all kernels give the same bits", what);
	for (int i = 0; i < V; i++) {
		slope += (double)first[i] * direction[i];
		scale += fabs((double)first[i] * direction[i]);
	}
	want = (loss_at(rule, row, STEP) - loss_at(rule, row, -STEP)) / (2 * STEP);
	ok(fabs(slope - want) <= 1e-6 + 1e-5 * scale, "%s: the gradient is that of differences",
	    what);
	want = loss_at(rule, row, 0);
	ok(fabs((double)row->weight * t.loss - want) <= 1e-5 * (1 + fabs(want)), "%s: the loss",
	    what);
	ok(t.clipped == clipped, "%s: the ratio is %sclipped", what, clipped ? "" : "not ");
}

static float
logprob(int target)
{
	struct loss_rule plain = {0};
	struct loss_row row = {.target = target, .weight = 1};
	float x[V], scratch[V];
	struct loss_term t;

	memcpy(x, logits, sizeof(x));
	return loss_row(kernels_choose(), &plain, &row, x, V, scratch, 0, &t) < 0 ? NAN : t.logprob;
}

static void
gradients(void)
{
	struct loss_rule entropy = {.low = INFINITY, .high = INFINITY};
	struct loss_rule policy = {.policy = 1, .low = 0.2, .high = 0.3};
	struct loss_rule free = {.policy = 1, .low = INFINITY, .high = INFINITY};
	struct loss_rule kl = {.policy = 1, .reference = 1, .low = 0.2, .high = 0.3, .beta = 0.4};
	struct loss_row row = {.target = 17, .weight = 0.75f, .advantage = 1.5f};
	float now;

	draw();
	now = logprob(row.target);
	compare("cross-entropy", &entropy, &row, 0);
	row.old = now - 0.1f;
	compare("ratio in range", &policy, &row, 0);
	row.old = now - 0.5f;
	compare("ratio above, A > 0", &policy, &row, 1);
	compare("ratio above, not to be clipped", &free, &row, 0);
	row.old = now + 0.5f;
	compare("ratio below, A > 0", &policy, &row, 0);
	row.advantage = -1.5f;
	compare("ratio below, A < 0", &policy, &row, 1);
	row.old = now - 0.5f;
	compare("ratio above, A < 0", &policy, &row, 0);
	row.reference = now + 0.7f;
	compare("with KL", &kl, &row, 0);
	row.old = now + 0.5f;
	compare("clipped, with KL", &kl, &row, 1);
}

/* The sums of these rows in either order; a ratio of the very bits of `old` is 1. */
static void
sums(void)
{
	struct loss_rule policy = {.policy = 1, .low = 0.2, .high = 0.2};
	struct loss_sums up = {0}, down = {0};
	struct loss_term t[9];
	float x[V], scratch[V], weight[9];

	for (int i = 0; i < 9; i++) {
		struct loss_row row = {.target = i, .advantage = (float)(i - 4)};

		draw();
		row.old = logprob(i) - (i % 3 == 0 ? 0.0f : 0.3f);
		row.weight = weight[i] = 0.1f * (float)(i + 1);
		memcpy(x, logits, sizeof(x));
		if (loss_row(kernels_choose(), &policy, &row, x, V, scratch, 0, &t[i]) < 0)
			ok(0, "%s", fail_text());
	}
	for (int i = 0; i < 9; i++) {
		loss_sums_add(&up, weight[i], &t[i]);
		loss_sums_add(&down, weight[8 - i], &t[8 - i]);
	}
	ok(up.loss == down.loss && up.weight == down.weight && up.entropy == down.entropy,
	    "sums do not depend on the order");
	ok(up.tokens == 9 && up.exact == 3, "a ratio of the bits of the old one is exactly 1");
	ok(up.clipped == 3, "ratios above count as clipped where A > 0");
	ok(fabs(up.ratio - expm1(0.3)) < 1e-6, "the largest |ratio - 1|");
}

static void
refuses(const char *what, const struct loss_rule *rule, const struct loss_row *row, float logit)
{
	float x[V], before[V], scratch[V];
	struct loss_term t;

	draw();
	memcpy(x, logits, sizeof(x));
	x[5] = logit;
	memcpy(before, x, sizeof(x));
	fail(FAIL_SYSTEM, "no message");
	ok(loss_row(kernels_choose(), rule, row, x, V, scratch, 41, &t) < 0 &&
	    fail_status() == FAIL_DATA && strstr(fail_text(), "position 41: ") == fail_text(),
	    "%s is refused, with its position", what);
	ok(memcmp(x, before, sizeof(x)) == 0, "... and its logits stay");
}

static void
refusals(void)
{
	struct loss_rule plain = {0}, policy = {.policy = 1, .low = INFINITY, .high = INFINITY};
	struct loss_row row = {.target = 5, .weight = 1, .advantage = -1, .old = -40};

	refuses("a logit that is not a number", &plain, &row, NAN);
	refuses("an infinite logit", &plain, &row, INFINITY);
	refuses("a target of probability 0", &plain, &row, -INFINITY);
	refuses("a ratio that is too large", &policy, &row, 0);
	row.advantage = NAN;
	row.old = -1;
	refuses("an advantage that is not a number", &policy, &row, 0);
	row.weight = INFINITY;
	refuses("an infinite weight", &plain, &row, 0);
	row = (struct loss_row){.target = 5, .weight = 1e20f, .advantage = 0, .old = -1};
	refuses("a weight that no sum can have, of a row without a slope", &policy, &row, 0);
	row.weight = 1;
	row.reference = 600;
	policy.reference = 1;
	refuses("a KL divergence that no sum can have, with beta 0", &policy, &row, 0);
}

int
main(void)
{
	program = "checkloss";
	gradients();
	sums();
	refusals();
	printf("1..%d\n", points);
	return failures > 0;
}
