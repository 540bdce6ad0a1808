/*
 * The weights of the forward pass from their masters: rounded to the dtype of the checkpoint.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "learn/param.h"
#include "weights/round.h"

#define LARGEST 0x1p126f        /* weights are smaller */
#define SCALE_MIN 0x1p-126f     /* the least scale of a block: a normal number */

struct rounding {
	const struct kernels *k;
	const struct param *p;
	size_t width;           /* floats of a thread: a row, then two for each block of it */
	float *rows;            /* [threads][width] */
	atomic_int large;       /* 1: a weight is too large */
};

static int
fits(const float *x, size_t n, enum dtype to)
{
	float end = to == F16 ? ROUND_F16_END : LARGEST;
	int bad = 0;

	for (size_t i = 0; i < n; i++)
		bad |= !(fabsf(x[i]) < end);
	return !bad;
}

/* The bytes of row r, which learn_open has made writable. */
static unsigned char *
row_bytes_of(const struct mat *w, int r)
{
	return (unsigned char *)(uintptr_t)w->data +
	    (size_t)r * dtype_row(w->dtype, w->cols);
}

static void
round_rows(void *arg, size_t from, size_t to, int thread)
{
	struct rounding *d = arg;
	const struct mat *w = &d->p->mat;
	size_t n = (size_t)w->cols;

	(void)thread;
	for (size_t r = from; r < to; r++) {
		const float *x = d->p->master + r * n;

		if (!fits(x, n, w->dtype))
			atomic_store(&d->large, 1);
		round_row(row_bytes_of(w, (int)r), x, w->cols, w->dtype, NULL);
	}
}

/* --- F8_E4M3: bands of FP8_BLOCK rows --- */

/* Of each block of a band, rows r0 .. r1-1: the largest |master|, and whether a master differs from
 * the weight that the checkpoint has. */
static void
band_measure(const struct rounding *d, int r0, int r1, float *row, float *most, float *differs)
{
	const struct mat *w = &d->p->origin;

	for (size_t b = 0; b < fp8_blocks((size_t)w->cols); b++)
		most[b] = differs[b] = 0;
	for (int r = r0; r < r1; r++) {
		const float *x = d->p->master + (size_t)r * (size_t)w->cols;

		d->k->row(row, w, r);
		for (int c = 0; c < w->cols; c++) {
			float a = fabsf(x[c]);

			most[c / FP8_BLOCK] = a > most[c / FP8_BLOCK] ? a : most[c / FP8_BLOCK];
			if (x[c] != row[c])
				differs[c / FP8_BLOCK] = 1;
		}
	}
}

/* The scale of a block whose largest |master| is `most`, as the checkpoint can store it. */
static float
scale_of(const struct param *p, float most)
{
	float scale = most > 0 ? most / ROUND_F8_MAX : 1;
	uint16_t h;

	if (scale < SCALE_MIN)
		scale = SCALE_MIN;
	if (p->scale_dtype == F32)
		return scale;
	round_row((unsigned char *)&h, &scale, 1, BF16, NULL);
	kernels_named("ref")->row(&scale, &(struct mat){.data = &h, .rows = 1, .cols = 1,
	    .dtype = BF16}, 0);
	return scale;
}

static void
block_code(const struct rounding *d, int r0, int r1, int c0, int differs, float scale)
{
	const struct mat *w = &d->p->mat, *origin = &d->p->origin;
	int n = w->cols - c0 < FP8_BLOCK ? w->cols - c0 : FP8_BLOCK;
	size_t at = (size_t)r0 / FP8_BLOCK * (size_t)w->scale_cols + (size_t)c0 / FP8_BLOCK;

	*((float *)(uintptr_t)w->scale + at) = differs ? scale : origin->scale[at];
	for (int r = r0; r < r1; r++)
		if (differs)
			round_row(row_bytes_of(w, r) + c0,
			    d->p->master + (size_t)r * (size_t)w->cols + c0, n, F8_E4M3, &scale);
		else
			memcpy(row_bytes_of(w, r) + c0, row_bytes_of(origin, r) + c0, (size_t)n);
}

static void
round_bands(void *arg, size_t from, size_t to, int thread)
{
	struct rounding *d = arg;
	const struct mat *w = &d->p->mat;
	size_t blocks = fp8_blocks((size_t)w->cols);
	float *row = d->rows + d->width * (size_t)thread, *most = row + w->cols;
	float *differs = most + blocks;

	for (size_t band = from; band < to; band++) {
		int r0 = (int)band * FP8_BLOCK;
		int r1 = w->rows - r0 < FP8_BLOCK ? w->rows : r0 + FP8_BLOCK;

		band_measure(d, r0, r1, row, most, differs);
		if (!fits(most, blocks, F8_E4M3))
			atomic_store(&d->large, 1);
		for (size_t b = 0; b < blocks; b++)
			block_code(d, r0, r1, (int)b * FP8_BLOCK, differs[b] != 0,
			    scale_of(d->p, most[b]));
	}
}

/* --- */

/* The stages' copies of a vector. */
static void
copy_vector(const struct rounding *d)
{
	const struct param *p = d->p;

	for (size_t i = 0; i < p->ncopies; i++)
		d->k->row(p->copies[i], &p->mat, 0);
}

int
learn_round(struct learn *l, struct param *p)
{
	struct rounding d = {.k = l->k, .p = p};
	size_t cols = (size_t)p->mat.cols, rows = (size_t)p->mat.rows;

	if (p->dtype != F8_E4M3) {
		pool_run(l->pool, rows, 1, 4 * (double)cols, round_rows, &d);
	} else {
		d.width = cols + 2 * fp8_blocks(cols);
		if (!(d.rows = mem_raw(d.width * (size_t)pool_threads(l->pool), sizeof(float))))
			return -1;
		pool_run(l->pool, fp8_blocks(rows), 1, 20.0 * FP8_BLOCK * (double)cols, round_bands,
		    &d);
		free(d.rows);
	}
	if (atomic_load(&d.large))
		return fail(FAIL_DATA, "tensor '%s': a weight is too large for %s", p->name,
		    dtype_name(p->dtype));
	copy_vector(&d);
	return 0;
}
