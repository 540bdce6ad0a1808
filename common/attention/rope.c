#include "attention/rope.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "kernels.h"

static const double pi = 3.14159265358979323846;

static double
mscale(double factor, double m)
{
	return factor > 1 ? 0.1 * m * fixed_log(factor) + 1 : 1;
}

/* The pair whose wave turns rot times within the original context. */
static double
pair_of(const struct rope_config *c, int dim, double rot)
{
	return dim * fixed_log(c->original_max_position / (rot * 2 * pi)) / (2 *
	    fixed_log(c->theta));
}

static double
clip(double x, double low, double high)
{
	return x < low ? low : x > high ? high : x;
}

/* Slow waves are interpolated, fast ones stay, those between are mixed. */
static void
scale_yarn(struct rope *r, const struct rope_config *c)
{
	int dim = 2 * r->half;
	double low = fmax(floor(pair_of(c, dim, c->beta_fast)), 0);
	double high = fmin(ceil(pair_of(c, dim, c->beta_slow)), dim - 1);
	double width = high != low ? high - low : 0.001;

	for (int i = 0; i < r->half; i++) {
		double ramp = clip((i - low) / width, 0, 1);

		r->freq[i] = r->freq[i] / c->factor * ramp + r->freq[i] * (1 - ramp);
	}
	r->factor = c->attention_factor != 0 ? c->attention_factor :
	    c->mscale != 0 && c->mscale_all_dim != 0 ?
	    mscale(c->factor, c->mscale) / mscale(c->factor, c->mscale_all_dim) : mscale(c->factor,
	    1);
}

static void
scale_linear(struct rope *r, const struct rope_config *c)
{
	for (int i = 0; i < r->half; i++)
		r->freq[i] /= c->factor;
}

/* The same by the turns of a wave within the original context: few are divided by the factor, many
 * are kept. */
static void
scale_llama3(struct rope *r, const struct rope_config *c)
{
	for (int i = 0; i < r->half; i++) {
		double turns = c->original_max_position * r->freq[i] / (2 * pi);
		double keep = clip((turns - c->low_freq_factor) /
		    (c->high_freq_factor - c->low_freq_factor), 0, 1);

		r->freq[i] = r->freq[i] / c->factor * (1 - keep) + r->freq[i] * keep;
	}
}

static void (*const scale[])(struct rope *r, const struct rope_config *c) = {
	[ROPE_LINEAR] = scale_linear, [ROPE_YARN] = scale_yarn, [ROPE_LLAMA3] = scale_llama3,
};

int
rope_open(struct rope *r, const struct rope_config *c, int half)
{
	int dim = 2 * half;
	double log_theta = fixed_log(c->theta);

	r->half = half;
	r->factor = 1;
	r->freq = mem_raw((size_t)r->half, sizeof(*r->freq));
	if (!r->freq)
		return -1;
	for (int i = 0; i < r->half; i++)
		r->freq[i] = 1 / fixed_exp(2.0 * i / dim * log_theta);
	if (c->type != ROPE_DEFAULT)
		scale[c->type](r, c);
	return 0;
}

void
rope_close(struct rope *r)
{
	free(r->freq);
	*r = (struct rope){0};
}

double
rope_softmax_factor(const struct rope_config *c)
{
	double m = c->type == ROPE_YARN ? mscale(c->factor, c->mscale_all_dim) : 1;

	return m * m;
}
