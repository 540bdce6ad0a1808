/*
 * Transposed gemm; included after matmul_gemm.h.  Lanes are columns, each a chain over the rows.
 */
enum {
	TC_T = 24,              /* rows of x that share a tile of w, */
	RC = 64,                /* of that many rows, a part of BLOCK, */
	TW = 64,                /* columns, */
	TR = TW / W             /* and registers */
};
_Static_assert(BLOCK % RC == 0 && TR % CB == 0 && TC_T % TB == 0, "tiles fit into blocks");

/* s += CB registers of a row of w from column c on, by the element of tb rows of x that x points
 * at. */
ALWAYS void
row_t(reg s[TB][CB], const float *x, ptrdiff_t ldx, const unsigned char *w, int c, int tb,
    enum dtype t)
{
	reg b[CB], a;

	UNROLL
	for (int j = 0; j < CB; j++) {
		b[j] = weights(w, c + j * W, t);
		KEEP(b[j]);
	}
	UNROLL
	for (int i = 0; i < tb; i++) {
		a = r_set(x[i * ldx]);
		KEEP(a);
		UNROLL
		for (int j = 0; j < CB; j++)
			s[i][j] = r_fma(b[j], a, s[i][j]);
	}
}

/* chain[t][at ..] of tb rows of x, the tile's rows further. */
ALWAYS void
block_t(reg chain[][TR], int at, const float *x, ptrdiff_t ldx, const float *tile, ptrdiff_t ldt, int rows, int tb)
{
	reg s[TB][CB];

	UNROLL
	for (int t = 0; t < tb; t++)
		UNROLL
		for (int j = 0; j < CB; j++)
			s[t][j] = chain[t][at + j];
	for (int r = 0; r < rows; r++)
		row_t(s, x + r, ldx, (const unsigned char *)(tile + r * ldt), at * W, tb, F32);
	UNROLL
	for (int t = 0; t < tb; t++)
		UNROLL
		for (int j = 0; j < CB; j++)
			chain[t][at + j] = s[t][j];
}

static void
blocks_t(reg chain[][TR], int T, const float *x, ptrdiff_t ldx, const float *tile, ptrdiff_t ldt, int rows)
{
	for (int left = T, n; left > 0; left -= n, chain += n, x += n * ldx) {
		n = group_of(left, TB);
		for (int j = 0; j < TR; j += CB)
			switch (n) {
#define BLOCK_T(tb) case (tb): \
				block_t(chain, j, x, ldx, tile, ldt, rows, (tb)); \
				break
			EACH_TB(BLOCK_T);
			}
	}
}

/* A block of FP8 ends: sum += scale chain, and the chains begin anew. */
static void
fold(reg sum[][TR], reg chain[][TR], int T, const struct mat *w, int r, int c, int cols)
{
	float scale[TW];

	for (int i = 0; i < TW; i++)
		scale[i] = mat_scale(w, r, i < cols ? c + i : c);
	for (int t = 0; t < T; t++)
		for (int j = 0; j < TR; j++) {
			sum[t][j] = r_fma(r_load(scale + j * W), chain[t][j], sum[t][j]);
			chain[t][j] = r_zero();
		}
}

/* TW columns from c on of tb rows of x with all rows of w, which is float32 or BF16: the chains
 * never leave the registers. */
ALWAYS void
block_whole(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, const struct mat *w, int c,
    int tb, enum dtype t, struct prefetch *prefetch)
{
	const size_t pitch = dtype_row(w->dtype, w->cols);

	for (int at = c; at < c + TW; at += CB * W) {
		const unsigned char *row = w->data;
		struct prefetch own = *prefetch;
		reg s[TB][CB];

		UNROLL
		for (int i = 0; i < tb; i++)
			UNROLL
			for (int j = 0; j < CB; j++)
				s[i][j] = r_zero();
		for (int r = 0; r < w->rows; r++, row += pitch) {
			prefetch_step(&own);
			row_t(s, x + r, ldx, row, at, tb, t);
		}
		UNROLL
		for (int i = 0; i < tb; i++)
			UNROLL
			for (int j = 0; j < CB; j++)
				r_store(out + i * ldo + at + j * W, r_canon(s[i][j]));
		*prefetch = own;
	}
}

/* The same for T rows of x. */
#define BLOCK_WHOLE(tb) case (tb): block_whole(out, ldo, x, ldx, w, c, (tb), t, prefetch); break
ALWAYS void
blocks_whole(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w,
    int c, enum dtype t, struct prefetch *prefetch)
{
	for (int left = T, n; left > 0; left -= n, out += n * ldo, x += n * ldx) {
		n = group_of(left, TB);
		switch (n) {
		EACH_TB(BLOCK_WHOLE);
		}
	}
}

/* T <= TC_T rows of x, up to TW columns from c on. */
static void
matmul_t_tiles(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int c, int c1)
{
	float tile[RC * TW] __attribute__((aligned(64)));
	reg chain[TC_T][TR], sum[TC_T][TR];
	int cols = c1 - c < TW ? c1 - c : TW, rows;

	for (int t = 0; t < T; t++)
		for (int j = 0; j < TR; j++)
			sum[t][j] = chain[t][j] = r_zero();
	for (int r = 0; r < w->rows; r += rows) {
		int end = w->dtype == F8_E4M3 ? mat_block_end(w, r, w->rows) : w->rows;

		rows = end - r < RC ? end - r : RC;
		rows_fill(tile, TW, LANES, w, r, r + rows - 1, rows, c, cols, TW);
		blocks_t(chain, T, x + r, ldx, tile, TW, rows);
		if (w->dtype == F8_E4M3 && r + rows == end)
			fold(sum, chain, T, w, r, c, cols);
	}
	for (int t = 0; t < T; t++)
		for (int j = 0; j < TR; j++)
			r_store_n(out + t * ldo + c + j * W, r_canon(w->dtype == F8_E4M3 ? sum[t][j] : chain[t][j]),
			    cols - j * W);
}

static void
matmul_t(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int c0, int c1)
{
	struct prefetch prefetch = prefetch_of(w, (ptrdiff_t)(c1 - c0) / TW * ((T + TB - 1) / TB) *
	    (TR / CB) * w->rows);

	if (w->dtype == F32 && !w->turned)
		for (; c1 - c0 >= TW; c0 += TW)
			blocks_whole(out, ldo, x, ldx, T, w, c0, F32, &prefetch);
	if (w->dtype == BF16 && !w->turned)
		for (; c1 - c0 >= TW; c0 += TW)
			blocks_whole(out, ldo, x, ldx, T, w, c0, BF16, &prefetch);
	for (int t = 0; t < T; t += TC_T)
		for (int c = c0; c < c1; c += TW)
			matmul_t_tiles(out + t * ldo, ldo, x + t * ldx, ldx, T - t < TC_T ? T - t : TC_T, w, c, c1);
}

