#include "quant/convert.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "weights/round.h"

#define AT_ONCE ((size_t)4 << 20)       /* bytes of codes at a time, at least FP8_BLOCK rows */

/* What is known of a row. */
struct row_sum {
	float most;             /* of |w| */
	double square, error, difference;
};

struct conversion {
	const struct mat *w;
	enum dtype to;
	const struct kernels *k;
	size_t pitch;           /* floats from one of them to the next */
	float *rows;            /* two a thread: a row before, and after */
	float *blocks;          /* F8_E4M3: the largest |w| of each block of the rows, then its scale */
	unsigned char *codes, *groups;
	struct row_sum *sum;    /* [rows] */
	float factor;
	int from;               /* the first row of those at hand */
};

static size_t
blocks(const struct mat *w)
{
	return fp8_blocks((size_t)w->cols);
}

static size_t
groups(const struct mat *w)
{
	return ((size_t)w->cols + QUANT_GROUP - 1) / QUANT_GROUP;
}

/* The largest magnitude; not a number where one is. */
static float
largest(const float *x, int n)
{
	float most = 0;
	int nan = 0;

	for (int i = 0; i < n; i++) {
		most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
		nan |= x[i] != x[i];
	}
	return nan ? NAN : most;
}

static void
row_most(void *arg, size_t from, size_t to, int thread)
{
	const struct conversion *d = arg;
	float *x = d->rows + 2 * d->pitch * (size_t)thread;

	for (size_t r = from; r < to; r++) {
		d->k->row(x, d->w, (int)r);
		d->sum[r].most = largest(x, d->w->cols);
	}
}

/* The scales of the blocks of up to FP8_BLOCK rows. */
static void
block_most(void *arg, size_t from, size_t to, int thread)
{
	const struct conversion *d = arg;
	float *x = d->rows + 2 * d->pitch * (size_t)thread;

	for (size_t b = from; b < to; b++) {
		float *most = d->blocks + b * blocks(d->w);
		int first = d->from + (int)b * FP8_BLOCK, end = d->w->rows - first < FP8_BLOCK ? d->w->rows : first + FP8_BLOCK;

		memset(most, 0, blocks(d->w) * sizeof(*most));
		for (int r = first; r < end; r++) {
			d->k->row(x, d->w, r);
			for (int c = 0; c < d->w->cols; c += FP8_BLOCK)
				most[c / FP8_BLOCK] = fmaxf(most[c / FP8_BLOCK],
				    largest(x + c, d->w->cols - c < FP8_BLOCK ? d->w->cols - c : FP8_BLOCK));
		}
		for (size_t c = 0; c < blocks(d->w); c++)
			most[c] = most[c] > 0 ? most[c] / ROUND_F8_MAX : 1;
	}
}

/* The converted rows as a matrix: its row 0 is row `from`. */
static struct mat
converted(const struct conversion *d, int rows)
{
	return (struct mat){.data = d->codes, .groups = d->groups, .factor = d->factor, .rows = rows, .cols = d->w->cols,
	    .dtype = d->to, .scale = d->to == F8_E4M3 ? d->blocks : NULL, .scale_cols = (int)blocks(d->w)};
}

static void
row_code(void *arg, size_t from, size_t to, int thread)
{
	struct conversion *d = arg;
	float *x = d->rows + 2 * d->pitch * (size_t)thread, *y = x + d->pitch;
	int n = d->w->cols;
	struct mat made = converted(d, (int)to);

	for (size_t i = from; i < to; i++) {
		unsigned char *codes = d->codes + i * dtype_row(d->to, n);
		struct row_sum *s = &d->sum[(size_t)d->from + i];

		d->k->row(x, d->w, d->from + (int)i);
		if (d->to == Q8 || d->to == Q4)
			d->k->quantize(codes, d->groups + i * groups(d->w), x, n, d->factor, d->to);
		else if (d->to == Q8_0)
			round_q8_0(codes, x, n);
		else
			round_row(codes, x, n, d->to, d->to == F8_E4M3 ? d->blocks + i / FP8_BLOCK * blocks(d->w) : NULL);
		d->k->row(y, &made, (int)i);
		*s = (struct row_sum){.most = s->most};
		for (int c = 0; c < n; c++) {
			double e = fabs((double)x[c] - y[c]);

			s->square += (double)x[c] * x[c];
			s->error += e * e;
			s->difference = e > s->difference ? e : s->difference;
		}
	}
}

/* Rows at a time: whole blocks. */
static int
rows_at_once(const struct mat *w, enum dtype to)
{
	size_t n = AT_ONCE / dtype_row(to, w->cols) / FP8_BLOCK * FP8_BLOCK;

	return n < FP8_BLOCK ? FP8_BLOCK : n > (size_t)w->rows ? w->rows : (int)n;
}

static int
conversion_new(struct conversion *d, int threads)
{
	size_t n = (size_t)rows_at_once(d->w, d->to);

	d->pitch = ((size_t)d->w->cols + 15) / 16 * 16;
	d->rows = mem_raw(2 * d->pitch * (size_t)threads, sizeof(*d->rows));
	d->blocks = mem_new(fp8_blocks(n) * blocks(d->w), sizeof(*d->blocks));
	d->codes = mem_new(n, dtype_row(d->to, d->w->cols));
	d->groups = mem_new(n, groups(d->w));
	d->sum = mem_new((size_t)d->w->rows, sizeof(*d->sum));
	return d->rows && d->blocks && d->codes && d->groups && d->sum ? 0 : -1;
}

static void
conversion_free(struct conversion *d)
{
	free(d->rows);
	free(d->blocks);
	free(d->codes);
	free(d->groups);
	free(d->sum);
}

/* The largest weight of each row; all must be finite and in range. */
static int
measure(struct conversion *d, struct pool *pool)
{
	float most = 0;

	pool_run(pool, (size_t)d->w->rows, 1, d->w->cols, row_most, d);
	for (int r = 0; r < d->w->rows; r++) {
		float m = d->sum[r].most;

		if (!(m <= (float)CONVERT_MAX))
			return fail(FAIL_DATA, "row %d has a weight that is %s", r, m != m ? "not a number" : "too large");
		if (d->to == F16 && m >= ROUND_F16_END)
			return fail(FAIL_DATA, "row %d has a weight of %g, too large for F16", r,
			    (double)m);
		if (d->to == Q8_0 && m / 127 >= ROUND_F16_END)
			return fail(FAIL_DATA, "row %d has a weight of %g, too large for Q8_0", r,
			    (double)m);
		most = m > most ? m : most;
	}
	d->factor = quant_factor(most);
	return 0;
}

static int
store_rows(const struct conversion *d, int n, convert_fn *store, void *arg)
{
	size_t row = dtype_row(d->to, d->w->cols), scales = 0;
	const void *scale = d->groups;

	if (d->to == Q8 || d->to == Q4) {
		scales = groups(d->w);
	} else if (d->to == F8_E4M3) {
		scale = d->blocks;
		scales = blocks(d->w) * sizeof(float);
	}
	if (store(arg, 0, (uint64_t)d->from * row, d->codes, (size_t)n * row) < 0)
		return -1;
	if (d->to == F8_E4M3)
		return store(arg, 1, (uint64_t)d->from / FP8_BLOCK * scales, scale, fp8_blocks((size_t)n) * scales);
	return scales == 0 ? 0 : store(arg, 1, (uint64_t)d->from * scales, scale, (size_t)n * scales);
}

static int
convert_rows(struct conversion *d, struct pool *pool, convert_fn *store, void *arg)
{
	int step = rows_at_once(d->w, d->to), n;

	if (measure(d, pool) < 0)
		return -1;
	for (d->from = 0; d->from < d->w->rows; d->from += n) {
		n = d->w->rows - d->from < step ? d->w->rows - d->from : step;
		if (d->to == F8_E4M3)
			pool_run(pool, fp8_blocks((size_t)n), 1, (double)FP8_BLOCK * d->w->cols, block_most, d);
		pool_run(pool, (size_t)n, 1, 20.0 * d->w->cols, row_code, d);
		if (store_rows(d, n, store, arg) < 0)
			return -1;
	}
	return d->to == Q8 || d->to == Q4 ? store(arg, 2, 0, &d->factor, sizeof(d->factor)) : 0;
}

int
convert(struct loss *loss, const struct mat *w, enum dtype to, const struct kernels *k,
    struct pool *pool, convert_fn *store, void *arg)
{
	struct conversion d = {.w = w, .to = to, .k = k};
	int r = conversion_new(&d, pool_threads(pool)) < 0 ? -1 : convert_rows(&d, pool, store, arg);

	*loss = (struct loss){0};
	for (int i = 0; r == 0 && i < w->rows; i++) {
		loss->square += d.sum[i].square;
		loss->error += d.sum[i].error;
		loss->most = d.sum[i].difference > loss->most ? d.sum[i].difference : loss->most;
	}
	conversion_free(&d);
	return r;
}
