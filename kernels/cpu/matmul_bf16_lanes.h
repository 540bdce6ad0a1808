/*
 * The products of bf16 without tiles; included after matmul_lanes.h.  They are fused multiply-adds
 * of float32 that were rounded to BF16, and flush nothing.  So they hold where no sum can be
 * subnormal, which the smallest factors show.  Other outputs are those of the plain code.
 */
enum {
	BK = 512,               /* columns of x that are transposed at once, */
	BT = 64,                /* rows of x, */
	BN = 1020,              /* and outputs whose sums wait between those columns, */
	BW = 6                  /* BW of them at a time */
};
_Static_assert(BN % BW == 0 && BK % BLOCK == 0, "blocks fit into one another");

typedef int32_t ints __attribute__((vector_size(W * 4)));
typedef uint32_t words __attribute__((vector_size(W * 4)));

/* Each of n numbers, a multiple of W, to the nearest BF16, as bf16_of_float; returns the bits of
 * the smallest magnitude that is not zero, INT32_MAX where all are. */
static int
rounded(float *x, int n)
{
	ints least = (ints){0} + INT32_MAX;
	int all = INT32_MAX;

	for (int i = 0; i < n; i += W) {
		ints b, a, r, m, mask;

		memcpy(&b, x + i, sizeof(b));
		a = b & INT32_MAX;
		r = (ints)(((words)b + 0x7fff + ((words)b >> 16 & 1)) & 0xffff0000);
		mask = a > 0x7f800000;
		r = (r & ~mask) | (0x7fc00000 & mask);
		r &= ~(a < 0x800000);
		memcpy(x + i, &r, sizeof(r));
		m = r & INT32_MAX;
		m |= (m == 0) & INT32_MAX;
		mask = m < least;
		least = (m & mask) | (least & ~mask);
	}
	for (int i = 0; i < W; i++)
		all = least[i] < all ? least[i] : all;
	return all;
}

/* A number of exponent e is a multiple of 2^(e-7), and so all sums are multiples of a normal
 * number. */
static int
may_flush(int x, int w)
{
	return x != INT32_MAX && w != INT32_MAX && (x >> 23) + (w >> 23) - 2 * 127 < -126 + 2 * 7;
}

/* sum[i] += the products of W rows of x, transposed [n][W], with BW rows of w, over n columns, a
 * multiple of 32. */
ALWAYS void
bf16_steps(reg sum[BW], const float *x, const float *w, int n)
{
	for (int k = 0; k < n; k += BF16_STEP) {
		reg even[BW], odd[BW];

		UNROLL
		for (int i = 0; i < BW; i++)
			even[i] = odd[i] = r_zero();
		for (int j = k; j < k + BF16_STEP; j += 2) {
			reg a = r_load(x + j * W), b = r_load(x + (j + 1) * W);

			UNROLL
			for (int i = 0; i < BW; i++) {
				even[i] = r_fma(r_set(w[i * BK + j]), a, even[i]);
				odd[i] = r_fma(r_set(w[i * BK + j + 1]), b, odd[i]);
			}
		}
		UNROLL
		for (int i = 0; i < BW; i++)
			sum[i] = r_add(sum[i], r_add(even[i], odd[i]));
	}
}

/* The same upon the sums at acc, `stride` apart; blocks of FP8 have sums of their own and the
 * scales [blocks][BW]. */
static void
bf16_block(reg *acc, int stride, const float *x, const float *w, int n, const float *scale, int first)
{
	reg sum[BW];

	for (int c = 0; c < n; c += scale ? BLOCK : n) {
		int zero = first && c == 0;

		UNROLL
		for (int i = 0; i < BW; i++)
			sum[i] = scale || zero ? r_zero() : acc[i * stride];
		bf16_steps(sum, x + c * W, w + c, !scale ? n : n - c < BLOCK ? n - c : BLOCK);
		UNROLL
		for (int i = 0; i < BW; i++)
			acc[i * stride] = scale ? r_fma(r_set(scale[c / BLOCK * BW + i]), sum[i], zero ? r_zero() : acc[i * stride]) : sum[i];
	}
}

/* T rows of x over `cols` columns, [T / W][n][W], rounded, zeros where there are none. */
static int
bf16_transpose(float *to, const float *x, ptrdiff_t ldx, int T, int cols, int n)
{
	memset(to, 0, (size_t)((T + W - 1) / W * n * W) * sizeof(*to));
	for (int t = 0; t < T; t++)
		for (int k = 0; k < cols; k++)
			to[(t / W * n + k) * W + t % W] = x[t * ldx + k];
	return rounded(to, (T + W - 1) / W * n * W);
}

/* T <= BT rows of x, the outputs n0 .. n1-1, at most BN. */
static void
bf16_outputs(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0, int n1)
{
	float xs[BT * BK] __attribute__((aligned(64))), tile[BW * BK] __attribute__((aligned(64))), scale[BW * BK / BLOCK], sums[W];
	reg acc[BN][BT / W];
	unsigned char flush[BN / BW] = {0};
	int f8 = w->dtype == F8_E4M3, groups = (T + W - 1) / W;
	struct kernels ref;

	for (int k = 0; k < w->cols; k += BK) {
		int cols = w->cols - k < BK ? w->cols - k : BK, n = bf16_filled(cols);
		int least = bf16_transpose(xs, x + k, ldx, T, cols, n);

		for (int i = 0; n0 + i < n1; i += BW) {
			rows_fill(tile, BK, LANES, w, n0 + i, n1 - 1, BW, k, cols, n);
			for (int m = 0; m < BW; m++)
				flush[i / BW] |= may_flush(least, rounded(tile + m * BK, n));
			for (int c = 0; f8 && c < cols; c += BLOCK)
				for (int m = 0; m < BW; m++)
					scale[c / BLOCK * BW + m] = mat_scale(w, n0 + i + m < n1 ? n0 + i + m : n1 - 1, k + c);
			for (int g = 0; g < groups; g++)
				bf16_block(&acc[i][g], BT / W, xs + g * n * W, tile, n, f8 ? scale : NULL, k == 0);
		}
	}
	matmul_bf16_ref(&ref);
	for (int i = 0; n0 + i < n1; i++)
		for (int g = 0; g < groups; g++) {
			r_store(sums, r_canon(acc[i][g]));
			for (int t = 0; t < W && g * W + t < T; t++)
				out[(g * W + t) * ldo + n0 + i] = sums[t];
		}
	for (int i = 0; n0 + i < n1; i += BW)
		if (flush[i / BW])
			ref.matmul(out, ldo, x, ldx, T, w, n0 + i, n1 - n0 - i < BW ? n1 : n0 + i + BW);
}

static void
matmul_bf16(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0, int n1)
{
	for (int t = 0; t < T; t += BT)
		for (int n = n0; n < n1; n += BN)
			bf16_outputs(out + t * ldo, ldo, x + t * ldx, ldx, T - t < BT ? T - t : BT, w, n, n1 - n < BN ? n1 : n + BN);
}

/* The transposed product: sum[t][j] += `rows` rows of a tile, a multiple of 32, for tb rows of x
 * and two registers of columns. */
ALWAYS void
bf16_steps_t(reg sum[][TR], int at, const float *x, const float *tile, int rows, int tb)
{
	for (int r = 0; r < rows; r += BF16_STEP) {
		reg even[3][2], odd[3][2];

		UNROLL
		for (int t = 0; t < tb; t++)
			UNROLL
			for (int j = 0; j < 2; j++)
				even[t][j] = odd[t][j] = r_zero();
		for (int i = r; i < r + BF16_STEP; i += 2)
			UNROLL
			for (int t = 0; t < tb; t++)
				UNROLL
				for (int j = 0; j < 2; j++) {
					const float *p = tile + i * TW + (at + j) * W;

					even[t][j] = r_fma(r_load(p), r_set(x[t * RC + i]), even[t][j]);
					odd[t][j] = r_fma(r_load(p + TW), r_set(x[t * RC + i + 1]), odd[t][j]);
				}
		UNROLL
		for (int t = 0; t < tb; t++)
			UNROLL
			for (int j = 0; j < 2; j++)
				sum[t][at + j] = r_add(sum[t][at + j], r_add(even[t][j], odd[t][j]));
	}
}

/* T <= TC_T rows of x, up to TW columns from c on. */
static void
bf16_t_tiles(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int c, int c1)
{
	float tile[RC * TW] __attribute__((aligned(64))), xs[TC_T * RC];
	reg chain[TC_T][TR], sum[TC_T][TR];
	int cols = c1 - c < TW ? c1 - c : TW, flush = 0, rows;
	struct kernels ref;

	for (int t = 0; t < T; t++)
		for (int j = 0; j < TR; j++)
			sum[t][j] = chain[t][j] = r_zero();
	for (int r = 0; r < w->rows; r += rows) {
		int end = w->dtype == F8_E4M3 ? mat_block_end(w, r, w->rows) : w->rows, n;

		rows = end - r < RC ? end - r : RC;
		n = bf16_filled(rows);
		rows_fill(tile, TW, LANES, w, r, r + rows - 1, rows, c, cols, TW);
		memset(tile + rows * TW, 0, (size_t)((n - rows) * TW) * sizeof(*tile));
		memset(xs, 0, sizeof(xs));
		for (int t = 0; t < T; t++)
			memcpy(xs + t * RC, x + t * ldx + r, (size_t)rows * sizeof(*xs));
		flush |= may_flush(rounded(xs, T * RC), rounded(tile, n * TW));
		for (int j = 0; j < TR; j += 2) {
			int t = 0;

			for (; t + 3 <= T; t += 3)
				bf16_steps_t(chain + t, j, xs + t * RC, tile, n, 3);
			for (; t < T; t++)
				bf16_steps_t(chain + t, j, xs + t * RC, tile, n, 1);
		}
		if (w->dtype == F8_E4M3 && r + rows == end)
			fold(sum, chain, T, w, r, c, cols);
	}
	for (int t = 0; t < T; t++)
		for (int j = 0; j < TR; j++)
			r_store_n(out + t * ldo + c + j * W, r_canon(w->dtype == F8_E4M3 ? sum[t][j] : chain[t][j]), cols - j * W);
	matmul_bf16_ref(&ref);
	if (flush)
		ref.matmul_t(out, ldo, x, ldx, T, w, c, c + cols);
}

static void
matmul_t_bf16(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int c0, int c1)
{
	for (int t = 0; t < T; t += TC_T)
		for (int c = c0; c < c1; c += TW)
			bf16_t_tiles(out + t * ldo, ldo, x + t * ldx, ldx, T - t < TC_T ? T - t : TC_T, w, c, c1);
}

void
KERNELS_ISA(matmul_bf16)(struct kernels *k)
{
	k->matmul = matmul_bf16;
	k->matmul_t = matmul_t_bf16;
}
