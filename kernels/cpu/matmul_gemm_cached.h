/*
 * gemm on cache-resident data, such as pages of the KV cache: many rows of x, and float32 weights.
 * Included after matmul_gemm.h.  Nothing is copied.  SN rows of w stay in L1, past which MR rows of
 * x at a time go; their MR * SN sums go through the tree together.
 */
enum { SN = NR == 6 ? 12 : 16 };
_Static_assert(SN % NR == 0 && MR * SN % SUMS == 0, "blocks fill a strip, its sums whole trees");

/* What is read next is prefetched, some lines in each step of the loops. */
struct prefetch {
	const char *at, *end;
	ptrdiff_t step;         /* in this block */
	int lines;              /* in each step */
};

ALWAYS struct prefetch
prefetch_begin(const struct prefetch *c)
{
	const int more = c->at < c->end;

	return (struct prefetch){c->at, c->end, more ? 64 : 0, more ? c->lines : 0};
}

ALWAYS void
prefetch_line(struct prefetch *c)
{
	for (int i = 0; i < c->lines; i++) {
		__builtin_prefetch(c->at, 0, 2);
		c->at += c->step;
	}
}

/* steps: that there will be, about. */
static struct prefetch
prefetch_of(const struct mat *w, ptrdiff_t steps)
{
	/* not NULL, whose page table walk takes long */
	const char *at = w->prefetch ? w->prefetch : w->data;
	ptrdiff_t lines = (ptrdiff_t)(w->prefetch_bytes / 64);

	return (struct prefetch){at, at + w->prefetch_bytes, 0,
	    steps > 0 ? (int)(lines / steps) + 1 : 1};
}

/* sum[m * SN + n] = register j of the lanes of mr rows of x with NR rows of w. */
ALWAYS void
cached_block(reg sum[][REGS], const float *x, ptrdiff_t ldx, const float *const row[NR], int cols, int mr, int j, struct prefetch *prefetch)
{
	struct prefetch c = prefetch_begin(prefetch);
	reg s[MR][NR], a[MR], b;
	int k;

	sums_load(s, NULL, mr, NR, j, 1);
	for (k = j * W; k <= cols - W; k += LANES) {
		prefetch_line(&c);
		UNROLL
		for (int m = 0; m < mr; m++) {
			a[m] = r_load(x + m * ldx + k);
			KEEP(a[m]);
		}
		UNROLL
		for (int n = 0; n < NR; n++) {
			b = r_load(row[n] + k);
			KEEP(b);
			UNROLL
			for (int m = 0; m < mr; m++)
				s[m][n] = r_fma(b, a[m], s[m][n]);
		}
	}
	if (k - j * W < cols)           /* terms of zero fill the lanes up */
		for (int n = 0; n < NR; n++)
			for (int m = 0; m < mr; m++)
				s[m][n] = r_fma(r_load_n(row[n] + k, cols - k), r_load_n(x + m * ldx + k, cols - k), s[m][n]);
	UNROLL
	for (int m = 0; m < mr; m++)
		UNROLL
		for (int n = 0; n < NR; n++)
			sum[m * SN + n][j] = s[m][n];
	*prefetch = c;
}

/* mr rows of x, the outputs n .. n+SN-1 below n1. */
static void
cached_strip(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int mr, const struct mat *w, int n, int n1, struct prefetch *prefetch)
{
	reg sum[MR * SN][REGS], to[REGS];
	float done[MR * SN + LANES];

	for (int i = 0; i < SN && n + i < n1; i += NR) {
		const float *row[NR];

		for (int r = 0; r < NR; r++)
			row[r] = (const float *)w->data + (size_t)(n + i + r < n1 ? n + i + r : n1 - 1) * (size_t)w->cols;
		for (int j = 0; j < REGS; j++)
			switch (mr) {
#define CACHED_OF(mr) case (mr): \
				cached_block(sum + i, x, ldx, row, w->cols, (mr), j, prefetch); \
				break
			EACH_MR(CACHED_OF);
			}
	}
	for (int i = 0; i < mr * SN; i += SUMS) {
		r_tree16(to, sum + i);
		for (int j = 0; j < REGS; j++)
			r_store(done + i + j * W, r_canon(to[j]));
	}
	for (int m = 0; m < mr; m++)
		for (int j = 0; j < SN; j += W)
			r_store_n(out + m * ldo + n + j, r_load(done + m * SN + j), (n1 - n < SN ? n1 - n : SN) - j);
}

static void
gemm_cached(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0, int n1)
{
	struct prefetch prefetch = prefetch_of(w, (ptrdiff_t)(n1 - n0 + NR - 1) / NR *
	    ((T + MR - 1) / MR) * (w->cols / LANES) * REGS);

	for (int n = n0; n < n1; n += SN)
		for (int t = 0, mr; t < T; t += mr) {
			mr = group_of(T - t, MR);
			cached_strip(out + t * ldo, ldo, x + t * ldx, ldx, mr, w, n, n1, &prefetch);
		}
}
