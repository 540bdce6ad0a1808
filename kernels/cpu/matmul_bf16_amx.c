/*
 * The products of bf16 in the tiles of AMX.  A tile of weights, 16 outputs by 32 columns, comes
 * straight from the matrix where that is BF16, else from a panel; x is transposed so that a tile
 * has 16 of its rows.  TDPBF16PS is one step of the sums.
 */
#include "cpu/bf16_amx.h"

enum {
	TILE = 16,                      /* rows of a tile, and float32 in one */
	XS = 256 << 10,                 /* numbers of x that are kept as BF16, 512 KB: in the second cache, */
	TMAX = 256,                     /* of that many rows at most, */
	DIRECT = 4,                     /* tiles of x that read BF16 where it lies */
	SUMS = 256 << 10                /* and sums that wait, of so many outputs as that makes */
};

struct scratch {
	uint16_t x[XS + BLOCK * TMAX + 32];
	float sum[SUMS];                /* [outputs / PAIR][rows of x / TILE][2][TILE outputs][TILE rows of x] */
	uint16_t panel[PANEL * PAIR];
	float block[8][TILE * TILE];
	struct codes codes;
} __attribute__((aligned(64)));

/* Tiles 0..3 are sums, 4 and 5 weights, 6 and 7 x; tiles with columns of x are `cols` wide. */
static void
tiles_begin(int rows, int cols)
{
	struct {
		unsigned char palette, start, zero[14];
		uint16_t bytes[16];
		unsigned char rows[16];
	} c __attribute__((aligned(64))) = { .palette = 1 };

	for (int i = 0; i < 8; i++) {
		c.bytes[i] = (uint16_t)(i == 4 || i == 5 ? 64 : cols * 4);
		c.rows[i] = (unsigned char)(i < 6 ? rows : TILE);
	}
	__asm__ volatile ("ldtilecfg %0" : : "m" (c));
}

#define LOAD(tile, p, stride) __asm__ volatile ("tileloadd (%0,%1,1), %%tmm" #tile : : "r" (p), "r" ((ptrdiff_t)(stride)) : "memory")
/* The same, for data that need not stay in L1, where the weights are. */
#define PASS(tile, p, stride) __asm__ volatile ("tileloaddt1 (%0,%1,1), %%tmm" #tile : : "r" (p), "r" ((ptrdiff_t)(stride)) : "memory")
#define STORE(tile, p, stride) __asm__ volatile ("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r" (p), "r" ((ptrdiff_t)(stride)) : "memory")
#define ZERO(tile) __asm__ volatile ("tilezero %%tmm" #tile ::)
#define ADD(sum, w, x) __asm__ volatile ("tdpbf16ps %%tmm" #x ", %%tmm" #w ", %%tmm" #sum ::)

/* What is read soon: `size` bytes of each row, rows `pitch` apart. */
struct prefetch {
	const unsigned char *p;
	ptrdiff_t pitch, at, size;
	int each;                       /* lines to prefetch in a step */
};

ALWAYS void
prefetch_lines(struct prefetch *a)
{
	for (int i = 0; i < a->each; i++) {
		_mm_prefetch((const char *)a->p + a->at, _MM_HINT_T1);
		if ((a->at += 64) >= a->size) {
			a->at = 0;
			a->p += a->pitch;
		}
	}
}

/* Steps of na by nb tiles of sums. */
ALWAYS void
steps(const void *w, ptrdiff_t pitch, ptrdiff_t wstep, const uint16_t *x, int width, int n, int na, int nb, struct prefetch *prefetch)
{
	const unsigned char *a = w;

	for (int i = 0; i < n; i++, a += wstep, x += nb * width * 32) {
		LOAD(4, a, pitch);
		if (nb == 1 && width < TILE)            /* a line of x has several of its tile's rows */
			LOAD(6, x, width * 4);
		else
			PASS(6, x, width * 4);
		ADD(0, 4, 6);
		if (nb > 1) {
			PASS(7, x + width * 32, width * 4);
			ADD(1, 4, 7);
		}
		if (na > 1) {
			LOAD(5, a + TILE * pitch, pitch);
			ADD(2, 5, 6);
		}
		if (na > 1 && nb > 1)
			ADD(3, 5, 7);
		prefetch_lines(prefetch);
	}
}

/* The sums of a by b tiles lie at p[2 a + b]. */
ALWAYS void
sums_load(const float *p, int na, int nb)
{
	LOAD(0, p, 64);
	if (nb > 1)
		LOAD(1, p + 256, 64);
	if (na > 1)
		LOAD(2, p + 512, 64);
	if (na > 1 && nb > 1)
		LOAD(3, p + 768, 64);
}

ALWAYS void
sums_zero(void)
{
	ZERO(0);
	ZERO(1);
	ZERO(2);
	ZERO(3);
}

ALWAYS void
sums_store(float *p, int na, int nb)
{
	STORE(0, p, 64);
	if (nb > 1)
		STORE(1, p + 256, 64);
	if (na > 1)
		STORE(2, p + 512, 64);
	if (na > 1 && nb > 1)
		STORE(3, p + 768, 64);
}

/* PAIR rows of weights, `pitch` bytes apart, by some steps of columns. */
struct strip {
	const unsigned char *p;
	ptrdiff_t pitch, step;
	int steps;
	const float *scale;             /* FP8: [steps / 4][PAIR] */
	int first, load, last;          /* whether sums begin, come from memory and go there; else they stay in the tiles */
};

/* sum = scale block + sum */
ALWAYS void
fold(float *sum, const float *block, const float *scale, int na, int nb, int first)
{
	for (int a = 0; a < na; a++)
		for (int b = 0; b < nb; b++)
			UNROLL
			for (int i = 0; i < TILE; i++) {
				int at = (2 * a + b) * TILE * TILE + i * TILE;

				r_store(sum + at, r_fma(r_set(scale[a * TILE + i]), r_load(block + at),
				    first ? r_zero() : r_load(sum + at)));
			}
}

ALWAYS void
multiply(float *sum, float *block, const struct strip *w, const uint16_t *x, int width, int na, int nb, struct prefetch *prefetch)
{
	const float *scale = w->scale;

	if (!scale) {
		if (w->first)
			sums_zero();
		else if (w->load)
			sums_load(sum, na, nb);
		steps(w->p, w->pitch, w->step, x, width, w->steps, na, nb, prefetch);
		if (w->last)
			sums_store(sum, na, nb);
		return;
	}
	for (int i = 0; i < w->steps + BLOCK / 32; i += BLOCK / 32, scale += PAIR) {
		float *now = block + i / 4 % 2 * 4 * TILE * TILE, *before = block + (i / 4 + 1) % 2 * 4 * TILE * TILE;

		if (i < w->steps) {
			sums_zero();
			steps(w->p + i * w->step, w->pitch, w->step, x + i * nb * width * 32, width,
			    w->steps - i < BLOCK / 32 ? w->steps - i : BLOCK / 32, na, nb, prefetch);
			sums_store(now, na, nb);
		}
		if (i > 0)                              /* a block late: what tiles have just stored cannot be read at once */
			fold(sum, before, scale - PAIR, na, nb, w->first && i == BLOCK / 32);
	}
}

static void
multiply_any(float *sum, float *block, const struct strip *w, const uint16_t *x, int width, int na, int nb, struct prefetch *prefetch)
{
	if (na > 1 && nb > 1)
		multiply(sum, block, w, x, width, 2, 2, prefetch);
	else if (na > 1)
		multiply(sum, block, w, x, width, 2, 1, prefetch);
	else if (nb > 1)
		multiply(sum, block, w, x, width, 1, 2, prefetch);
	else
		multiply(sum, block, w, x, width, 1, 1, prefetch);
}

/* A tile of x: 32 columns of up to 16 rows; n columns are there.  What a row writes after `width`
 * the next one overwrites. */
ALWAYS void
x_tile(uint16_t *to, const float *x, ptrdiff_t ldx, int T, int width, int n)
{
	const __mmask16 here = first(n), there = first(n - 16);
	words v[16];

	if (width == 1) {
		_mm512_storeu_si512(to, w_of(_mm512_maskz_loadu_ps(here, x), _mm512_maskz_loadu_ps(there, x + 16)));
		return;
	}
	for (int t = 0; t < TILE; t++)
		v[t] = t >= T ? _mm512_setzero_si512() :
		    w_of(_mm512_maskz_loadu_ps(here, x + t * ldx), _mm512_maskz_loadu_ps(there, x + t * ldx + 16));
	transpose16(v);
	UNROLL
	for (int i = 0; i < TILE; i++)
		_mm512_storeu_si512(to + i * width * 2, v[i]);
}

/* T rows of n columns: [tiles / 2][steps][2 or 1][16][width][2]. */
static void
x_transpose(uint16_t *to, const float *x, ptrdiff_t ldx, int T, int width, int n)
{
	for (int t = 0; t < T; t += 2 * TILE)
		for (int k = 0; k < n; k += 32)
			for (int b = t; b < T && b < t + 2 * TILE; b += TILE, to += width * 32)
				x_tile(to, x + b * ldx + k, ldx, T - b, width, n - k);
}

/* The sums of up to PAIR outputs, [tiles / 2][2][2], to their places. */
static void
sums_write(float *out, ptrdiff_t ldo, const float *sum, int T, int n)
{
	for (int t = 0; t < T; t += TILE)
		for (int a = 0; a < n; a += TILE) {
			const float *p = sum + (t / PAIR * 4 + a / TILE * 2 + t % PAIR / TILE) * TILE * TILE;
			words v[16];

			UNROLL
			for (int i = 0; i < TILE; i++)
				v[i] = _mm512_loadu_si512(p + i * TILE);
			transpose16(v);
			for (int i = 0; i < TILE && t + i < T; i++) {
				reg r = _mm512_castsi512_ps(v[i]);

				r_store_n(out + (t + i) * ldo + a, r_nan(r, r), n - a);
			}
		}
}

/* One call, or the rows of x in it that go together. */
struct product {
	struct scratch *s;
	const struct mat *w;
	int T, tiles, width;            /* rows of x, tiles of them, numbers in a tile's row */
	int n1;
	int k, cols;                    /* the columns of x that are there */
};

/* Rows after the last have its scale; PAIR rows have at most two. */
static void
scales_of(float *to, const struct mat *w, int n, int n1, int k, int cols)
{
	int last = n1 - n < PAIR ? n1 - 1 : n + PAIR - 1, end = mat_block_end(w, n, n1) - n;

	for (int c = k; c < k + cols; c += BLOCK, to += PAIR) {
		reg a = r_set(mat_scale(w, n, c)), b = r_set(mat_scale(w, last, c));

		r_store(to, _mm512_mask_mov_ps(b, first(end), a));
		r_store(to + 16, _mm512_mask_mov_ps(b, first(end - 16), a));
	}
}

/* The next outputs' weights of the same columns, while these are worked on: all of them where a row
 * is used once. */
static struct prefetch
prefetch_of(const struct product *j, int n, int k, int cols)
{
	ptrdiff_t pitch = (ptrdiff_t)dtype_row(j->w->dtype, j->w->cols), line = (ptrdiff_t)dtype_row(j->w->dtype, 32) * PAIR / 64;
	int next = n + PAIR < j->n1 ? n + PAIR : n, pairs = (j->tiles + 1) / 2;
	struct prefetch a = { mat_at(j->w, next) + dtype_row(j->w->dtype, k), pitch, 0, (ptrdiff_t)dtype_row(j->w->dtype, cols), 0 };

	a.each = next == n ? 0 : (int)(line + pairs - 1) / pairs;
	return a;
}

/*
 * The columns k .. k+cols-1 of the outputs n .. n+PAIR-1 with all rows of x.  Sums of one pair of
 * tiles stay in them, unless they are still in memory: `load`.
 */
static void
panel_multiply(const struct product *j, float *sum, int n, int k, int cols, int direct, int load, struct prefetch *prefetch)
{
	int na = j->n1 - n > TILE ? 2 : 1, steps_of_x = (j->cols + 31) / 32, one = j->tiles <= 2;
	float scale[PANEL / BLOCK * PAIR];
	struct strip p = { .steps = (cols + 31) / 32, .first = k == 0, .last = !one || k + cols == j->k + j->cols,
	    .load = !one || load };

	if (direct) {
		p.p = mat_at(j->w, n) + dtype_row(BF16, k);
		p.pitch = (ptrdiff_t)dtype_row(BF16, j->w->cols);
		p.step = 64;
	} else {
		panel(j->s->panel, j->w, &j->s->codes, n, j->n1, na * TILE, k, cols);
		p.p = (const void *)j->s->panel;
		p.pitch = 64;
		p.step = 64 * PAIR;
	}
	if (j->w->dtype == F8_E4M3) {
		scales_of(scale, j->w, n, j->n1, k, cols);
		p.scale = scale;
	}
	for (int t = 0; t < j->tiles; t += 2) {
		int nb = j->tiles - t < 2 ? 1 : 2;

		multiply_any(sum + t * 512, j->s->block[0], &p,
		    j->s->x + (ptrdiff_t)(t * steps_of_x + (k - j->k) / 32 * nb) * j->width * 32, j->width, na, nb, prefetch);
	}
}

/*
 * PAIR outputs with one tile of x, FP8, Q8, Q4: a weight is used so little that its conversion is
 * the work, which goes on while the tiles are at theirs.  Between the steps of a block of columns
 * eight rows of the next one are converted each time.
 */

/* Where the next block lies, rows `pitch` and their groups `gpitch` bytes apart. */
struct source {
	const unsigned char *p, *g;
	ptrdiff_t pitch, gpitch;
};

/* Eight rows of a block, from i on.  The rows of the next outputs are prefetched, PAIR rows
 * early. */
ALWAYS void
eight_rows(uint16_t *restrict to, const struct source *restrict s, const struct codes *restrict c, int i, enum dtype t)
{
	const unsigned char *p = s->p + i * s->pitch, *g = s->g + i * s->gpitch;

	to += i * 32;
	for (int r = 0; r < 8; r++, p += s->pitch, g += s->gpitch, to += 32) {
		_mm_prefetch((const char *)p + PAIR * s->pitch, _MM_HINT_T1);
		if (t != Q4)
			_mm_prefetch((const char *)p + PAIR * s->pitch + 64, _MM_HINT_T1);
		if (t != F8_E4M3)
			_mm_prefetch((const char *)g + PAIR * s->gpitch, _MM_HINT_T1);
		if (t == F8_E4M3)
			row_f8(to, STEP, p, BLOCK, c);
		else if (t == Q8)
			row_q8(to, STEP, p, g, BLOCK, c);
		else
			row_q4(to, STEP, p, g, BLOCK, c);
	}
}

ALWAYS void
blocks_of(const struct product *j, float *sum, int n, int count, struct prefetch *prefetch, enum dtype t)
{
	enum { STEPS = BLOCK / 32, SIZE = STEPS * STEP };
	const ptrdiff_t size = t == Q4 ? BLOCK / 2 : BLOCK;
	const struct codes *c = &j->s->codes;
	float *block = j->s->block[0], scale[2][PAIR];
	struct source s = { .p = mat_at(j->w, n) + dtype_row(t, j->k), .g = j->w->data, .pitch = (ptrdiff_t)dtype_row(t, j->w->cols) };

	if (t != F8_E4M3) {
		s.gpitch = (ptrdiff_t)mat_groups(j->w);
		s.g = j->w->groups + n * s.gpitch + j->k / QUANT_GROUP;
	}
	for (int i = 0; i < STEPS; i++)
		eight_rows(j->s->panel, &s, c, i * 8, t);
	if (t != F8_E4M3 && j->k == 0)
		sums_zero();
	else if (t != F8_E4M3)
		sums_load(sum, 2, 1);
	for (int b = 0; b < count; b++) {
		uint16_t *now = j->s->panel + b % 2 * SIZE, *next = j->s->panel + (b + 1) % 2 * SIZE;
		const uint16_t *x = j->s->x + (ptrdiff_t)b * STEPS * j->width * 32;

		s.p += size;
		s.g += BLOCK / QUANT_GROUP;
		if (t == F8_E4M3)
			sums_zero();
		for (int i = 0; i < STEPS; i++) {
			steps(now + i * STEP, 64, 0, x + i * j->width * 32, j->width, 1, 2, 1, prefetch);
			if (b + 1 < count)
				eight_rows(next, &s, c, i * 8, t);
		}
		if (t == F8_E4M3) {
			sums_store(block + b % 2 * 4 * TILE * TILE, 2, 1);
			scales_of(scale[b % 2], j->w, n, j->n1, j->k + b * BLOCK, BLOCK);
			if (b > 0)
				fold(sum, block + (b + 1) % 2 * 4 * TILE * TILE, scale[(b + 1) % 2], 2, 1, b == 1 && j->k == 0);
		}
	}
	if (t == F8_E4M3)
		fold(sum, block + (count + 1) % 2 * 4 * TILE * TILE, scale[(count + 1) % 2], 2, 1, count == 1 && j->k == 0);
	else
		sums_store(sum, 2, 1);
}

static void
blocks(const struct product *j, float *sum, int n, int count, struct prefetch *prefetch)
{
	if (j->w->dtype == F8_E4M3)
		blocks_of(j, sum, n, count, prefetch, F8_E4M3);
	else if (j->w->dtype == Q8)
		blocks_of(j, sum, n, count, prefetch, Q8);
	else
		blocks_of(j, sum, n, count, prefetch, Q4);
}

/* The columns of x that are there, with the outputs n .. n+PAIR-1. */
static void
outputs(const struct product *j, float *sum, int n)
{
	int whole = j->w->dtype == BF16 && j->tiles <= DIRECT && j->n1 - n >= PAIR;
	int most = whole ? j->cols / 32 * 32 : PANEL;
	int codes = j->w->dtype == F8_E4M3 || j->w->dtype == Q8 || j->w->dtype == Q4;
	int streamed = codes && j->tiles == 1 && j->n1 - n >= PAIR ? j->cols / BLOCK * BLOCK : 0;
	struct prefetch prefetch = {0};

	if (j->tiles <= 2 && !streamed)
		prefetch = prefetch_of(j, n, j->k, j->cols);
	if (streamed)
		blocks(j, sum, n, streamed / BLOCK, &prefetch);
	for (int k = streamed, cols; k < j->cols; k += cols) {
		int direct = whole && j->cols - k >= 32;

		cols = j->cols - k < most || most == 0 ? j->cols - k : most;
		if (j->tiles > 2)
			prefetch = prefetch_of(j, n, j->k + k, cols);
		panel_multiply(j, sum, n, j->k + k, cols, direct, k == streamed, &prefetch);
	}
}

/* Columns of x that are kept at once: all, or shares of like size. */
static int
columns_of(int cols, int rows)
{
	int parts = (int)(((long)cols * rows + XS - 1) / XS);

	return ((cols + parts - 1) / parts + BLOCK - 1) / BLOCK * BLOCK;
}

static void
rows_of_x(struct product *j, float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int n0, int n1)
{
	const struct mat *w = j->w;
	int most = columns_of(w->cols, j->tiles * j->width), size = (j->tiles + 1) / 2 * 1024;
	int step = most < w->cols ? SUMS / size * PAIR : n1 - n0;

	tiles_begin(TILE, j->width);
	for (int n = n0; n < n1; n += step) {
		j->n1 = n1 - n < step ? n1 : n + step;
		for (j->k = 0; j->k < w->cols; j->k += most) {
			j->cols = w->cols - j->k < most ? w->cols - j->k : most;
			x_transpose(j->s->x, x + j->k, ldx, j->T, j->width, j->cols);
			for (int i = n; i < j->n1; i += PAIR) {
				float *sum = j->s->sum + (most < w->cols ? (i - n) / PAIR * size : 0);

				outputs(j, sum, i);
				if (j->k + j->cols == w->cols)
					sums_write(out + i, ldo, sum, j->T, j->n1 - i < PAIR ? j->n1 - i : PAIR);
			}
		}
	}
	__asm__ volatile ("tilerelease" ::);
}

static struct kernels below;    /* the table without tiles: block types are computed by it */

static void
matmul(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0, int n1)
{
	struct scratch s;
	int groups = T > 0 ? (T + TMAX - 1) / TMAX : 1, most = ((T + groups - 1) / groups + 31) / 32 * 32;

	if (is_block(w->dtype)) {
		below.matmul(out, ldo, x, ldx, T, w, n0, n1);
		return;
	}
	codes_fill(&s.codes, w);
	for (int t = 0; t < T; t += most) {
		struct product j = { .s = &s, .w = w, .T = T - t < most ? T - t : most };

		j.tiles = (j.T + TILE - 1) / TILE;
		j.width = j.T < TILE ? j.T : TILE;
		rows_of_x(&j, out + t * ldo, ldo, x + t * ldx, ldx, n0, n1);
	}
}

#include "cpu/matmul_t_amx.h"

void
matmul_bf16_amx(struct kernels *k)
{
	below = *k;
	k->matmul = matmul;
	k->matmul_t = matmul_t;
}
