/*
 * Transposed gemm in tiles; included by matmul_bf16_amx.c: 32 rows of x, as they lie, by 32 columns
 * of w, whose rows go by pairs.
 */

/* The segments of rows whose steps are counted together: blocks of FP8, else what a panel holds. */
static int
segment_end(const struct mat *w, int r)
{
	return w->dtype == F8_E4M3 ? mat_block_end(w, r, w->rows) : w->rows - r < PANEL ? w->rows : r + PANEL;
}

/* Rows of x as BF16, each segment filled up to whole steps; a row takes `pitch` numbers. */
static void
x_rows(uint16_t *to, int pitch, const float *x, ptrdiff_t ldx, int T, const struct mat *w)
{
	for (int t = 0; t < T; t++)
		for (int r = 0, end, at = t * pitch; r < w->rows; at += bf16_filled(end - r), r = end) {
			end = segment_end(w, r);
			row_f32(to + at, BF16_STEP, x + t * ldx + r, end - r);
		}
}

/* 32 columns of the rows r .. end-1: [steps][2][16 pairs of rows][16][2]. */
static void
pairs(uint16_t *to, const struct mat *w, const struct codes *c, int r, int end, int k)
{
	const words low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5,
	    36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
	const words high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
	uint16_t some[PAIR * 32] __attribute__((aligned(64)));

	for (; r < end; r += BF16_STEP, to += PAIR * 32) {
		panel(some, w, c, r, end, PAIR, k, w->cols - k < 32 ? w->cols - k : 32);
		for (int i = 0; i < PAIR; i += 2) {
			words a = _mm512_load_si512(some + i * 32), b = _mm512_load_si512(some + i * 32 + 32);

			_mm512_store_si512(to + i * 16, _mm512_permutex2var_epi16(a, low, b));
			_mm512_store_si512(to + i * 16 + 512, _mm512_permutex2var_epi16(a, high, b));
		}
	}
}

/* sum = scale block + sum, each column by its scale. */
static void
fold_t(float *sum, const float *block, const struct mat *w, int r, int k, int na, int first)
{
	float scale[PAIR];

	for (int i = 0; i < PAIR; i++)
		scale[i] = mat_scale(w, r, k + i < w->cols ? k + i : k);
	for (int i = 0; i < na * 2 * TILE; i++)
		r_store(sum + i * TILE, r_fma(r_load(scale + i / TILE % 2 * TILE), r_load(block + i * TILE),
		    first ? r_zero() : r_load(sum + i * TILE)));
}

/* The columns k .. k+31, whose outputs c0 .. c1-1 are written, with T rows of x. */
static void
columns(struct scratch *s, float *out, ptrdiff_t ldo, int T, int pitch, const struct mat *w, int k, int c0, int c1)
{
	struct prefetch none = {0};

	for (int r = 0, end, at = 0; r < w->rows; at += bf16_filled(end - r), r = end) {
		end = segment_end(w, r);
		pairs(s->panel, w, &s->codes, r, end, k);
		for (int t = 0; t < T; t += PAIR) {
			int f8 = w->dtype == F8_E4M3, na = T - t > TILE ? 2 : 1;
			float *sum = s->sum + t * PAIR;
			struct strip p = { .p = (const void *)(s->x + (ptrdiff_t)t * pitch + at), .pitch = pitch * 2, .step = 64,
			    .steps = bf16_filled(end - r) / BF16_STEP, .first = f8 || r == 0, .load = 1, .last = 1 };

			multiply_any(f8 ? s->block[0] : sum, NULL, &p, s->panel, TILE, na, 2, &none);
			if (f8)
				fold_t(sum, s->block[0], w, r, k, na, r == 0);
		}
	}
	for (int t = 0; t < T; t++)
		for (int b = 0; b < PAIR; b += TILE) {
			reg v = r_load(s->sum + ((t / TILE * 2 + b / TILE) * TILE + t % TILE) * TILE);

			_mm512_mask_storeu_ps(out + t * ldo + k + b, first(c1 - k - b) & (__mmask16)~first(c0 - k - b), r_nan(v, v));
		}
}

static void
matmul_t(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int c0, int c1)
{
	struct scratch s;
	struct kernels plain;
	int pitch = 0, most;

	if (is_block(w->dtype) || w->turned) {
		below.matmul_t(out, ldo, x, ldx, T, w, c0, c1);
		return;
	}
	for (int r = 0, end; r < w->rows; r = end) {
		end = segment_end(w, r);
		pitch += bf16_filled(end - r);
	}
	most = pitch > 0 ? XS / pitch / PAIR * PAIR : 0;
	most = most < TMAX ? most : TMAX;
	if (most == 0) {                                /* so many rows of w that x does not fit */
		matmul_bf16_avx512(&plain);
		plain.matmul_t(out, ldo, x, ldx, T, w, c0, c1);
		return;
	}
	codes_fill(&s.codes, w);
	for (int t = 0; t < T; t += most) {
		int n = T - t < most ? T - t : most;

		x_rows(s.x, pitch, x + t * ldx, ldx, n, w);
		tiles_begin(n < TILE ? n : TILE, TILE);
		for (int k = c0 / 32 * 32; k < c1; k += 32)
			columns(&s, out + t * ldo, ldo, n, pitch, w, k, c0, c1);
		__asm__ volatile ("tilerelease" ::);
	}
}
