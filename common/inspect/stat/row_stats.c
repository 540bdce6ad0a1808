#include "inspect/stat/row_stats.h"

#include <math.h>
#include <string.h>

#include "inspect/frame_json.h"

#define BLOCK 256
#define LANES 16

void
row_stats_init(struct row_stats *s)
{
	*s = (struct row_stats){.min = INFINITY, .max = -INFINITY};
}

static int
count_not_finite(const float *x)
{
	int32_t bits;
	int n = 0;

	for (int i = 0; i < BLOCK; i++) {
		memcpy(&bits, x + i, sizeof(bits));
		n += (bits & 0x7fffffff) >= 0x7f800000;
	}
	return n;
}

/* Accumulators of a row. The loops over j are vectorised. */
struct lanes {
	float min[LANES], max[LANES];
	double squares[LANES / 2];
};

/* A block of finite elements. */
static void
add_block(struct lanes *restrict l, uint64_t *restrict zeros, const float *restrict x, float *restrict channel)
{
	int n = 0;

	for (int i = 0; i < BLOCK; i++)
		n += x[i] == 0;
	*zeros += (uint64_t)n;
	for (int i = 0; i < BLOCK; i++) {
		float a = fabsf(x[i]);

		channel[i] = a > channel[i] ? a : channel[i];
	}
	for (int i = 0; i < BLOCK; i += LANES)
		for (int j = 0; j < LANES; j++) {
			l->min[j] = x[i + j] < l->min[j] ? x[i + j] : l->min[j];
			l->max[j] = x[i + j] > l->max[j] ? x[i + j] : l->max[j];
		}
	for (int i = 0; i < BLOCK; i += LANES / 2)
		for (int j = 0; j < LANES / 2; j++)
			l->squares[j] += (double)x[i + j] * (double)x[i + j];
}

/* n arbitrary elements. */
static void
add_some(struct lanes *l, struct row_stats *s, const float *x, float *channel, int n)
{
	for (int i = 0; i < n; i++) {
		s->nans += isnan(x[i]) != 0;
		s->infs += isinf(x[i]) != 0;
		if (!isfinite(x[i]))
			continue;
		s->zeros += x[i] == 0;
		l->min[0] = fminf(l->min[0], x[i]);
		l->max[0] = fmaxf(l->max[0], x[i]);
		channel[i] = fmaxf(channel[i], fabsf(x[i]));
		l->squares[i % (LANES / 2)] += (double)x[i] * (double)x[i];
	}
}

/* n elements of the row from `from` on as floats, converted in buf [BLOCK] if necessary. */
static const float *
floats_of(const struct row *r, uint64_t from, int n, float *buf)
{
	struct mat m = {.data = (const char *)r->data + from * dtype_size(r->dtype), .rows = 1, .cols = n, .dtype = r->dtype};

	if (r->dtype == F32 && (uintptr_t)m.data % sizeof(float) == 0)
		return m.data;
	if (r->dtype != I64) {
		kernels_named("ref")->row(buf, &m, 0);
		return buf;
	}
	for (int i = 0; i < n; i++) {
		int64_t v;

		memcpy(&v, (const char *)m.data + (size_t)i * sizeof(v), sizeof(v));
		buf[i] = (float)((double)v * 0x1p-40);
	}
	return buf;
}

double
row_stats_floats(struct row_stats *s, const struct row *r, float *channel)
{
	float buf[BLOCK], unused[BLOCK] = {0};
	struct lanes l;
	double squares = 0;

	for (int j = 0; j < LANES; j++) {
		l.min[j] = INFINITY;
		l.max[j] = -INFINITY;
		l.squares[j / 2] = 0;
	}
	for (uint64_t i = 0; i < r->count; i += BLOCK) {
		int n = r->count - i < BLOCK ? (int)(r->count - i) : BLOCK;
		const float *x = floats_of(r, i, n, buf);
		float *c = channel ? channel + i : unused;

		if (n == BLOCK && count_not_finite(x) == 0)
			add_block(&l, &s->zeros, x, c);
		else
			add_some(&l, s, x, c, n);
	}
	s->n += r->count;
	for (int j = 0; j < LANES; j++) {
		/* (fmin and fmax here make GCC 12 fail for aarch64) */
		s->min = (double)l.min[j] < s->min ? (double)l.min[j] : s->min;
		s->max = (double)l.max[j] > s->max ? (double)l.max[j] : s->max;
	}
	for (int j = 0; j < LANES / 2; j++)
		squares += l.squares[j];
	return squares;
}

void
row_stats_ints(struct row_stats *s, const struct row *r)
{
	struct tensor t = {.dtype = r->dtype, .data = (void *)(uintptr_t)r->data, .bytes = r->bytes};

	for (uint64_t i = 0; i < r->count; i++) {
		double v = (double)tensor_int(&t, i);

		s->zeros += v == 0;
		s->min = fmin(s->min, v);
		s->max = fmax(s->max, v);
	}
	s->n += r->count;
}
