/*
 * Sums over the rows of a page for gradients of weights; included after lanes_avx2.h or
 * lanes_avx512.h.  Lanes are columns of x, each a chain over the rows as in grad_ref.c.
 *
 * GROUP rows of the gradient by PANEL columns stay in registers.  Columns of x are copied to a
 * panel in L1, and dy to groups, since rows of either may be a power of two apart.
 */
#include "cpu/products.h"

enum {
	GROUP = 6,                      /* rows of the gradient in registers, by */
	GC = W == 8 ? 2 : 4,           /* registers side by side, */
	PANEL = GC * W,                 /* and the columns in them */
	GROUPS = 16                     /* for which a panel of x is made */
};

/* acc[0..n-1] += sum */
static void
sums_add(int64_t *acc, const float *sum, int n, bytes bad[2])
{
	int i;

	for (i = 0; i + W <= n; i += W)
		r_grad_add(acc + i, r_load(sum + i), bad);
	if (i < n) {
		int64_t some[W] = {0};

		memcpy(some, acc + i, (size_t)(n - i) * sizeof(*acc));
		r_grad_add(some, r_load_n(sum + i, n - i), bad);
		memcpy(acc + i, some, (size_t)(n - i) * sizeof(*acc));
	}
}

/* Groups of columns of dy, with zeros where N ends. */
static void
groups_of(float to[][GRAD_ROWS * GROUP], const float *dy, ptrdiff_t ldy, int N, int T)
{
	for (int n = 0; n < N; n += GROUP)
		for (int t = 0; t < T; t++) {
			float *group = to[n / GROUP] + t * GROUP;

			for (int i = 0; N - n < GROUP && i < GROUP; i++)
				group[i] = n + i < N ? dy[t * ldy + n + i] : 0;
			if (N - n >= GROUP)
				memcpy(group, dy + t * ldy + n, GROUP * sizeof(*dy));
		}
}

/* PANEL columns of x, with zeros where K ends. */
static void
panel_of(float *to, const float *x, ptrdiff_t ldx, int K, int T)
{
	for (int t = 0; t < T; t++)
		for (int j = 0; j < PANEL; j += W)
			r_store(to + t * PANEL + j, r_load_n(x + t * ldx + j, K - j));
}

/* s = a group of dy by a panel of x. */
ALWAYS void
group_panel(reg s[GROUP][GC], const float *dy, const float *x, int T)
{
	reg b[GC], a;

	UNROLL
	for (int n = 0; n < GROUP; n++)
		UNROLL
		for (int j = 0; j < GC; j++)
			s[n][j] = r_zero();
	for (int t = 0; t < T; t++, dy += GROUP, x += PANEL) {
		UNROLL
		for (int j = 0; j < GC; j++)
			b[j] = r_load(x + j * W);
		UNROLL
		for (int n = 0; n < GROUP; n++) {
			a = r_set(dy[n]);
			KEEP(a);
			UNROLL
			for (int j = 0; j < GC; j++)
				s[n][j] = r_fma(a, b[j], s[n][j]);
		}
	}
}

/* acc [GROUP][PANEL] += the product */
static void
group_add(int64_t *acc, ptrdiff_t lda, const float *dy, const float *x, int T, bytes bad[2])
{
	bytes own[2] = { bad[0], bad[1] };
	reg s[GROUP][GC];

	group_panel(s, dy, x, T);
	UNROLL
	for (int n = 0; n < GROUP; n++)
		UNROLL
		for (int j = 0; j < GC; j++)
			r_grad_add(acc + n * lda + j * W, s[n][j], own);
	bad[0] = own[0];
	bad[1] = own[1];
}

/* The same for the first N rows and K columns. */
static void
group_add_some(int64_t *acc, ptrdiff_t lda, int N, int K, const float *dy, const float *x, int T,
    bytes bad[2])
{
	float sum[GROUP * PANEL] __attribute__((aligned(64)));
	reg s[GROUP][GC];

	group_panel(s, dy, x, T);
	UNROLL
	for (int n = 0; n < GROUP; n++)
		UNROLL
		for (int j = 0; j < GC; j++)
			r_store(sum + n * PANEL + j * W, s[n][j]);
	for (int n = 0; n < N; n++)
		sums_add(acc + n * lda, sum + n * PANEL, K, bad);
}

static int
grad_outer(int64_t *acc, ptrdiff_t lda, const float *dy, ptrdiff_t ldy, int N, const float *x,
    ptrdiff_t ldx, int K, int T)
{
	float groups[GROUPS][GRAD_ROWS * GROUP] __attribute__((aligned(64)));
	float panel[GRAD_ROWS * PANEL] __attribute__((aligned(64)));
	bytes bad[2] = { b_zero(), b_zero() };

	for (int n = 0, some; n < N; n += some) {
		some = N - n < GROUPS * GROUP ? N - n : GROUPS * GROUP;
		groups_of(groups, dy + n, ldy, some, T);
		for (int k = 0; k < K; k += PANEL) {
			int cols = K - k < PANEL ? K - k : PANEL;

			panel_of(panel, x + k, ldx, cols, T);
			for (int i = 0; i < some; i += GROUP) {
				int rows = some - i < GROUP ? some - i : GROUP;
				int64_t *to = acc + (n + i) * lda + k;

				if (rows == GROUP && cols == PANEL)
					group_add(to, lda, groups[i / GROUP], panel, T, bad);
				else
					group_add_some(to, lda, rows, cols, groups[i / GROUP],
					    panel, T, bad);
			}
		}
	}
	return r_grad_bad(bad) ? -1 : 0;
}

static int
grad_columns(int64_t *acc, const float *dy, ptrdiff_t ldy, const float *z, ptrdiff_t ldz, int T,
    int n)
{
	float sum[PANEL] __attribute__((aligned(64)));
	bytes bad[2] = { b_zero(), b_zero() };

	for (int i = 0; i < n; i += PANEL) {
		reg s[GC], v;

		for (int j = 0; j < GC; j++)
			s[j] = r_zero();
		for (int t = 0; t < T; t++)
			for (int j = 0; j < GC; j++) {
				int at = i + j * W;

				v = r_load_n(dy + t * ldy + at, n - at);
				s[j] = z ? r_fma(v, r_load_n(z + t * ldz + at, n - at), s[j]) :
				    r_add(s[j], v);
			}
		for (int j = 0; j < GC; j++)
			r_store(sum + j * W, s[j]);
		sums_add(acc + i, sum, n - i < PANEL ? n - i : PANEL, bad);
	}
	return r_grad_bad(bad) ? -1 : 0;
}

void
KERNELS_ISA(grad)(struct kernels *k)
{
	k->grad_outer = grad_outer;
	k->grad_columns = grad_columns;
}
