/*
 * gemm on cache-resident data, such as pages of the KV cache: float32 or BF16, of at most KC
 * columns.  Included after matmul_gemm.h.  Nothing is copied.  CN rows of w stay in L1, past which
 * MR, 2 or 1 rows of x at a time go.  Where registers have room for the sums of a tree, they go
 * through it from there.
 */
#include "cpu/prefetch.h"

enum { CN = SUMS, ROOM = MR * NR >= SUMS };
_Static_assert(!ROOM || SUMS % MR == 0, "the sums of a tile are those of a tree");

/* How many rows of w make whole trees with mr rows of x, */
INLINE int
cached_deep(int mr)
{
	return ROOM ? SUMS / mr : CN;
}

/* how many of them go side by side, */
INLINE int
cached_wide(int mr)
{
	return ROOM ? SUMS / mr : NR;
}

/* and how many of T rows of x are next. */
static int
cached_group(int T)
{
	return !ROOM ? group_of(T, MR) : T < MR ? T - T / 3 : MR;
}

struct cached_rows {
	const unsigned char *p;
	size_t pitch;           /* bytes */
	int cols;
};

/* sum[m * deep + n] = register j of the lanes of mr rows of x with nr rows of w. */
ALWAYS void
cached_lanes(reg sum[][REGS], int deep, const float *x, ptrdiff_t ldx, const unsigned char *w,
    size_t pitch, int cols, int mr, int nr, int j, enum dtype t, struct prefetch *prefetch)
{
	struct prefetch c = *prefetch;
	reg s[MR * SUMS];
	int k;

	UNROLL16
	for (int i = 0; i < mr * nr; i++)
		s[i] = r_zero();
	for (k = j * W; k <= cols - W; k += LANES) {
		reg a[MR], b;

		prefetch_step(&c);
		UNROLL
		for (int m = 0; m < mr; m++) {
			a[m] = r_load(x + m * ldx + k);
			KEEP(a[m]);
		}
		UNROLL16
		for (int n = 0; n < nr; n++) {
			b = weights(w + (size_t)n * pitch, k, t);
			KEEP(b);
			UNROLL
			for (int m = 0; m < mr; m++)
				s[m * nr + n] = r_fma(b, a[m], s[m * nr + n]);
		}
	}
	if (k - j * W < cols)         /* terms of zero fill the lanes up */
		UNROLL16
		for (int n = 0; n < nr; n++) {
			reg b = weights_n(w + (size_t)n * pitch, k, cols - k, t);

			UNROLL
			for (int m = 0; m < mr; m++)
				s[m * nr + n] = r_fma(b, r_load_n(x + m * ldx + k, cols - k),
				    s[m * nr + n]);
		}
	UNROLL
	for (int m = 0; m < mr; m++)
		UNROLL16
		for (int n = 0; n < nr; n++)
			sum[m * deep + n][j] = s[m * nr + n];
	*prefetch = c;
}

/* mr rows of x with CN rows of w, as many at a time as make whole trees. */
ALWAYS void
cached_strip(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, const struct cached_rows *w,
    int mr, enum dtype t, struct prefetch *prefetch)
{
	const int deep = cached_deep(mr), wide = cached_wide(mr);

	for (int n = 0; n < CN; n += deep) {
		reg sum[MR * SUMS][REGS], to[REGS];
		float done[MR * SUMS];

		for (int i = 0; i < deep; i += wide)
			UNROLL
			for (int j = 0; j < REGS; j++)
				cached_lanes(sum + i, deep, x, ldx,
				    w->p + (size_t)(n + i) * w->pitch, w->pitch, w->cols, mr, wide,
				    j, t, prefetch);
		for (int i = 0; i < mr * deep; i += SUMS) {
			r_tree16(to, sum + i);
			UNROLL
			for (int j = 0; j < REGS; j++)
				r_store(done + i + j * W, r_canon(to[j]));
		}
		UNROLL
		for (int m = 0; m < mr; m++)
			memcpy(out + m * ldo + n, done + m * deep, (size_t)deep * sizeof(*out));
	}
}

/* The same for each mr. */
#define CACHED_OF(mr, t) case (mr): cached_strip(out, ldo, x, ldx, w, (mr), t, prefetch); break
#define CACHED(NAME, t)                                                                          \
static void                                                                                      \
NAME(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int mr,                           \
    const struct cached_rows *w, struct prefetch *prefetch)                                      \
{                                                                                                \
	switch (mr) {                                                                            \
	CACHED_OF(1, t); CACHED_OF(2, t); CACHED_OF(MR, t);                                      \
	}                                                                                        \
}
CACHED(cached_f32, F32)
CACHED(cached_bf16, BF16)

/* At least CN outputs; the last strip begins within the one before it if that is needed. */
static void
gemm_cached(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w,
    int n0, int n1)
{
	struct cached_rows rows = {NULL, dtype_row(w->dtype, w->cols), w->cols};
	struct prefetch prefetch;
	ptrdiff_t steps = 0;

	for (int t = 0, mr; t < T; t += mr) {
		mr = cached_group(T - t);
		steps += CN / cached_wide(mr);
	}
	prefetch = prefetch_of(w, (n1 - n0 + CN - 1) / CN * steps * REGS * (w->cols / LANES));
	for (int at = n0; at < n1; at += CN) {
		int n = at < n1 - CN ? at : n1 - CN;

		rows.p = (const unsigned char *)w->data + (size_t)n * rows.pitch;
		for (int t = 0, mr; t < T; t += mr) {
			mr = cached_group(T - t);
			(w->dtype == F32 ? cached_f32 : cached_bf16)(out + t * ldo + n, ldo,
			    x + t * ldx, ldx, mr, &rows, &prefetch);
		}
	}
}
