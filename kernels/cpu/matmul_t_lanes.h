/*
 * Transposed gemv and gemm; included after matmul_gemm.h.  Lanes are columns, each a chain over the
 * rows.
 */
enum {
	TC_T = 24,              /* rows of x that share a tile of w, */
	RC = 32,                /* of that many rows, a part of BLOCK, */
	TW = BLOCK_COLS,        /* columns, so that no block of GGUF is cut, */
	TR = TW / W,            /* and registers */
	WHOLE = 64              /* columns of float32 and BF16, which are in no tile */
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

/* (CB registers of the tile's rows stay in L1 meanwhile) */
static void
blocks_t(reg chain[][TR], int T, const float *x, ptrdiff_t ldx, const float *tile, ptrdiff_t ldt,
    int rows)
{
	for (int j = 0; j < TR; j += CB)
		for (int t = 0, n; t < T; t += n) {
			n = group_of(T - t, TB);
			switch (n) {
#define BLOCK_T(tb) case (tb): \
				block_t(chain + t, j, x + t * ldx, ldx, tile, ldt, rows, (tb)); \
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

/* WHOLE columns from c on of tb rows of x with all rows of w, which is float32 or BF16: the chains
 * never leave the registers. */
ALWAYS void
block_whole(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, const struct mat *w, int c,
    int tb, enum dtype t, struct prefetch *prefetch)
{
	const size_t pitch = dtype_row(w->dtype, w->cols);

	for (int at = c; at < c + WHOLE; at += CB * W) {
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

/*
 * Transposed gemv: the chains of one row of x by TW columns stay in registers, and weights are
 * multiplied as they are converted.
 */

/* Row r from column c on, a multiple of 32. */
ALWAYS const unsigned char *
element_at(const struct mat *w, int r, int c, enum dtype t)
{
	return (const unsigned char *)w->data + (size_t)r * row_bytes(t, w->cols) +
	    (t == Q4 ? (size_t)c / 2 : (size_t)c * element_bytes(t));
}

/* chain += TW columns of row r of w, from column c on, by x. */
ALWAYS void
row_down(reg chain[TR], float x, const struct mat *w, int r, int c, enum dtype t)
{
	const unsigned char *p = element_at(w, r, c, t);
	reg by = r_set(t == F8_E4M3 ? 256 * x : x);

	UNROLL16
	for (int j = 0; j < TR; j += 2) {
		reg a, b;

		weights2(&a, &b, p, j * W, t);
		chain[j] = r_fma(a, by, chain[j]);
		chain[j + 1] = r_fma(b, by, chain[j + 1]);
	}
}

/* The same of Q8 and Q4. */
ALWAYS void
quant_down(reg chain[TR], float x, const struct mat *w, int r, int c, enum dtype t)
{
	const unsigned char *p = element_at(w, r, c, t);
	const unsigned char *g = w->groups + (size_t)r * mat_groups(w) + c / QUANT_GROUP;
	float scale[TW / QUANT_GROUP] __attribute__((aligned(64)));
	reg v[2 * REGS], by = r_set(x), factor = r_set(w->factor);

	UNROLL
	for (int i = 0; i < TW / QUANT_GROUP; i += W)
		r_store(scale + i, r_mul(r_load_f8(g + i), factor));
	/* loads that broadcast leave the units that permute to the codes */
	__asm__("" : "+m"(scale));
	UNROLL
	for (int k = 0; k < TW; k += 32) {
		const float *s = scale + k / QUANT_GROUP;

		quant_scaled32(v, p + (t == Q4 ? k / 2 : k), s[0], s[1], 32, t);
		UNROLL
		for (int j = 0; j < 2 * REGS; j++)
			chain[k / W + j] = r_fma(v[j], by, chain[k / W + j]);
	}
}

/* out[c ..] of all types but blocks, TW columns. */
ALWAYS void
columns_down(float *out, const float *x, const struct mat *w, int c, struct prefetch *prefetch,
    enum dtype t)
{
	struct prefetch own = *prefetch;
	reg chain[TR], sum[1][TR];
	bytes seen = b_zero();

	UNROLL16
	for (int j = 0; j < TR; j++)
		sum[0][j] = chain[j] = r_zero();
	for (int r = 0, end; r < w->rows; r = end) {
		end = t == F8_E4M3 ? mat_block_end(w, r, w->rows) : w->rows;
		for (int i = r; i < end; i++) {
			prefetch_step(&own);
			if (t == Q8 || t == Q4)
				quant_down(chain, x[i], w, i, c, t);
			else
				row_down(chain, x[i], w, i, c, t);
			UNROLL
			for (int k = 0; t == F8_E4M3 && k < TW; k += 64)
				seen = b_see(seen, element_at(w, i, c + k, t), 64);
		}
		if (t == F8_E4M3)
			fold(sum, &chain, 1, w, r, c, TW);
	}
	*prefetch = own;
	if (b_nan(seen)) {
		matmul_t_tiles(out, 0, x, 0, 1, w, c, c + TW);
		return;
	}
	UNROLL16
	for (int j = 0; j < TR; j++)
		r_store(out + c + j * W, r_canon(t == F8_E4M3 ? sum[0][j] : chain[j]));
}

#define DOWN_OF(t)                                                                      \
static void __attribute__((noinline))                                                   \
down_##t(float *out, const float *x, const struct mat *w, int c, struct prefetch *prefetch) \
{                                                                                       \
	columns_down(out, x, w, c, prefetch, t);                                        \
}
DOWN_OF(BF16) DOWN_OF(F16) DOWN_OF(F8_E4M3) DOWN_OF(Q8) DOWN_OF(Q4)

/* TW columns from c on; 0 if they must go by tiles. */
static int
down(float *out, const float *x, const struct mat *w, int c, int c1, struct prefetch *prefetch)
{
	if (REGS > 1 || w->turned || c % TW != 0 || c1 - c < TW)
		return 0;
	switch (w->dtype) {
#define CASE(t) case t: down_##t(out, x, w, c, prefetch); return 1
	CASE(BF16);
	CASE(F16);
	CASE(Q8);
	CASE(Q4);
#undef CASE
	case F8_E4M3:
		if (huge(x, w->rows))
			return 0;
		down_F8_E4M3(out, x, w, c, prefetch);
		return 1;
	default:
		return is_block(w->dtype) && KERNELS_ISA(blocks_down)(out, x, w, c, prefetch);
	}
}

static void
matmul_t(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int c0, int c1)
{
	struct prefetch prefetch = prefetch_of(w, (ptrdiff_t)(c1 - c0) / TW * w->rows);

	while (T == 1 && down(out, x, w, c0, c1, &prefetch))
		c0 += TW;
	prefetch = prefetch_of(w, (ptrdiff_t)(c1 - c0) / (CB * W) * ((T + TB - 1) / TB) * w->rows);
	if (w->dtype == F32 && !w->turned)
		for (; c1 - c0 >= WHOLE; c0 += WHOLE)
			blocks_whole(out, ldo, x, ldx, T, w, c0, F32, &prefetch);
	if (w->dtype == BF16 && !w->turned)
		for (; c1 - c0 >= WHOLE; c0 += WHOLE)
			blocks_whole(out, ldo, x, ldx, T, w, c0, BF16, &prefetch);
	for (int t = 0; t < T; t += TC_T)
		for (int c = c0; c < c1; c += TW)
			matmul_t_tiles(out + t * ldo, ldo, x + t * ldx, ldx, T - t < TC_T ? T - t : TC_T, w, c, c1);
}
