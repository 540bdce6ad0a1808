#include "inspect/diff/measure.h"

#include <math.h>
#include <string.h>

#include "inspect/frame_json.h"

#define CHUNK 1024

void
measure_init(struct measure *m)
{
	memset(m, 0, sizeof(*m));
	m->cosine = 1;
}

static struct tensor
row_tensor(const struct row *r)
{
	return (struct tensor){.dtype = r->dtype, .data = (void *)(uintptr_t)r->data, .bytes = r->bytes};
}

static int
is_float(const struct row *r)
{
	struct tensor t = row_tensor(r);

	return r->dtype == ROW_F64 || tensor_is_float(&t);
}

/* 1 for integers that represent fractions: sums of experts. */
static int
is_fixed(const struct row *r)
{
	return r->dtype == I64 && r->group->done;
}

/* Elements from .. from + n - 1 as doubles. */
static void
row_values(const struct row *r, uint64_t from, int n, double *out)
{
	struct tensor t = row_tensor(r);
	float v[CHUNK];

	if (r->dtype == ROW_F64) {
		memcpy(out, (const char *)r->data + from * sizeof(*out), (size_t)n * sizeof(*out));
		return;
	}
	if (is_float(r)) {
		tensor_floats(&t, from, n, v);
		for (int i = 0; i < n; i++)
			out[i] = (double)v[i];
		return;
	}
	for (int i = 0; i < n; i++)
		out[i] = (double)tensor_int(&t, from + (uint64_t)i) * (is_fixed(r) ? 0x1p-40 : 1);
}

/* The rank of a float among the values of its type, in order. */
static int64_t
ordinal(const struct row *r, uint64_t i)
{
	size_t size = row_size(r->dtype);
	uint32_t bits = 0, sign = 1u << (8 * size - 1);

	memcpy(&bits, (const char *)r->data + i * size, size);
	return bits & sign ? -(int64_t)(bits & ~sign) : (int64_t)bits;
}

/* The same for a value as F32. */
static int64_t
ordinal_wide(double v)
{
	float f = (float)v;
	struct row r = {.dtype = F32, .data = &f};

	return ordinal(&r, 0);
}

struct sums {
	double aa, bb, ab, largest;
	int apart;              /* an element is infinite or NaN on one side only */
};

/* Measure a pair of elements with different bits. */
static void
measure_pair(struct measure *m, const struct row *a, const struct row *b, uint64_t i, double x, double y)
{
	double error = fabs(x - y), most = fmax(fabs(x), fabs(y));
	int64_t ulps;

	if ((isnan(x) && isnan(y)) || x == y)
		return;
	if (!isfinite(x) || !isfinite(y)) {
		m->max_abs = m->max_rel = INFINITY;
	} else {
		m->max_abs = fmax(m->max_abs, error);
		m->max_rel = fmax(m->max_rel, most > 0 ? error / most : 0);
	}
	if (!is_float(a) || !is_float(b))
		return;
	ulps = a->dtype == b->dtype ? ordinal(a, i) - ordinal(b, i) : ordinal_wide(x) - ordinal_wide(y);
	if ((uint64_t)(ulps < 0 ? -ulps : ulps) > m->max_ulps)
		m->max_ulps = (uint64_t)(ulps < 0 ? -ulps : ulps);
}

static int
same_bits(const struct row *a, const struct row *b, uint64_t i)
{
	size_t n = row_size(a->dtype);

	return a->dtype == b->dtype && memcmp((const char *)a->data + i * n, (const char *)b->data + i * n, n) == 0;
}

/* 1 if elements x and y, whose bits differ, count as equal. */
static int
same_value(const struct row *a, const struct row *b, uint64_t i, double x, double y, double tol, double largest)
{
	struct tensor s = row_tensor(a), t = row_tensor(b);

	if (!is_float(a) && !is_float(b) && !is_fixed(a))
		return tensor_int(&s, i) == tensor_int(&t, i);
	if (isnan(x) && isnan(y))
		return tol >= 0 || a->dtype != b->dtype;
	if (tol < 0)
		return a->dtype != b->dtype && x == y;
	return x == y || fabs(x - y) <= tol * largest;
}

/* Accumulate sums over two rows and measure the elements that differ. */
static void
sum_rows(struct measure *m, const struct row *a, const struct row *b, struct sums *s)
{
	double x[CHUNK], y[CHUNK];

	for (uint64_t i = 0; i < a->count; i += CHUNK) {
		int n = (int)(a->count - i < CHUNK ? a->count - i : CHUNK);

		row_values(a, i, n, x);
		row_values(b, i, n, y);
		for (int j = 0; j < n; j++) {
			if (isfinite(x[j]) && isfinite(y[j])) {
				s->aa += x[j] * x[j];
				s->bb += y[j] * y[j];
				s->ab += x[j] * y[j];
			} else {
				s->apart |= !(isnan(x[j]) && isnan(y[j])) && x[j] != y[j];
			}
			if (isfinite(x[j]))
				s->largest = fmax(s->largest, fabs(x[j]));
			if (isfinite(y[j]))
				s->largest = fmax(s->largest, fabs(y[j]));
			if (!same_bits(a, b, i + (uint64_t)j))
				measure_pair(m, a, b, i + (uint64_t)j, x[j], y[j]);
		}
	}
}

static int
find_difference(const struct row *a, const struct row *b, double tol, double largest, struct difference *d)
{
	double x[CHUNK], y[CHUNK];

	for (uint64_t i = 0; i < a->count; i += CHUNK) {
		int n = (int)(a->count - i < CHUNK ? a->count - i : CHUNK);

		row_values(a, i, n, x);
		row_values(b, i, n, y);
		for (int j = 0; j < n; j++) {
			uint64_t at = i + (uint64_t)j;

			if (!same_bits(a, b, at) && !same_value(a, b, at, x[j], y[j], tol, largest)) {
				*d = (struct difference){.index = at, .a = x[j], .b = y[j]};
				return 1;
			}
		}
	}
	return 0;
}

static void
count_choices(struct measure *m, const struct row *a, const struct row *b)
{
	struct tensor s = row_tensor(a), t = row_tensor(b);

	for (uint64_t i = 0; i < a->count; i++) {
		uint64_t j = 0;

		while (j < b->count && tensor_int(&s, i) != tensor_int(&t, j))
			j++;
		m->choices += j == b->count;
	}
}

/* 1 if an element is NaN. */
static int
has_nan(const struct row *r)
{
	double x[CHUNK];
	int found = 0;

	if (!is_float(r))
		return 0;
	if (r->dtype == F32) {
		const uint32_t *v = r->data;

		for (uint64_t i = 0; i < r->count; i++)
			found |= (v[i] & 0x7fffffffu) > 0x7f800000u;
		return found;
	}
	for (uint64_t i = 0; i < r->count; i += CHUNK) {
		int n = (int)(r->count - i < CHUNK ? r->count - i : CHUNK);

		row_values(r, i, n, x);
		for (int j = 0; j < n; j++)
			found |= isnan(x[j]);
	}
	return found;
}

/* Note rows of equal length but different shape. Shapes of padded tensors depend on their batch. */
static void
compare_extents(struct measure *m, const struct row *a, const struct row *b)
{
	const struct extent *x = &a->extent, *y = &b->extent;
	int n = x->rank - x->lead;

	if (m->reshaped || a->ragged || b->ragged)
		return;
	m->reshaped = n != y->rank - y->lead;
	for (int i = 1; i < n && !m->reshaped; i++)
		m->reshaped = x->shape[x->lead + i] != y->shape[y->lead + i];
	m->types[0] = a->dtype;
	m->types[1] = b->dtype;
	m->extents[0] = *x;
	m->extents[1] = *y;
}

/* Elements that are infinite or NaN on both sides are ignored; on one side they give 0. */
static double
cosine(const struct sums *s)
{
	double c = s->apart ? 0 : s->aa > 0 && s->bb > 0 ? s->ab / (sqrt(s->aa) * sqrt(s->bb)) : s->aa == s->bb;

	return c > 1 ? 1 : c < -1 ? -1 : c;
}

int
measure_rows(struct measure *m, const struct row *a, const struct row *b, double tol, struct difference *d)
{
	struct sums s = {0};
	int differs, floats = (is_float(a) || is_fixed(a)) && (is_float(b) || is_fixed(b));
	double c;

	m->rows++;
	if (a->dtype == b->dtype && a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0) {
		m->floats |= floats;
		m->equal++;
		m->nan += (uint64_t)has_nan(a);
		compare_extents(m, a, b);
		return 0;
	}
	if (a->count != b->count || is_float(a) != is_float(b)) {
		*d = (struct difference){.index = a->count < b->count ? a->count : b->count,
		    .shape = 1,
		    .types = {a->dtype, b->dtype},
		    .extents = {a->extent, b->extent},
		    .a = NAN,
		    .b = NAN};
		d->index = is_float(a) == is_float(b) ? d->index : 0;
		m->differ++;
		return 1;
	}
	compare_extents(m, a, b);
	sum_rows(m, a, b, &s);
	if (floats) {
		m->floats = 1;
		c = cosine(&s);
		m->cosine = isnan(m->cosine) || c >= m->cosine ? m->cosine : c;
	}
	if (strcmp(a->group->tensor, "expert.idx") == 0 && !is_float(a))
		count_choices(m, a, b);
	if (a->dtype != b->dtype)
		m->equal += !find_difference(a, b, -1, 0, d);
	differs = find_difference(a, b, tol, s.largest, d);
	m->differ += (uint64_t)differs;
	m->nan += (uint64_t)(!differs && has_nan(a));
	return differs;
}

void
measure_digest_only(struct measure *m)
{
	m->rows++;
	m->differ++;
	m->unlocated++;
}
