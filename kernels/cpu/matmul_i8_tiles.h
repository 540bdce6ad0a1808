/*
 * What matmul_i8_gemm.h does with a panel in the tiles of AMX, or with I8_EMULATE in plain C.  A
 * tile has a group of weights' columns: of 16 rows of x as they lie, or of 16 outputs as the panel
 * has them.  TDPBSSD makes a tile of their sums, which meet the scales in registers while the next
 * group is multiplied.
 */
enum { SUMS_TILE = 0, X_TILE = 2, W_TILE = 3 };

#ifdef I8_EMULATE
static struct {
	int rows, bytes;
	unsigned char row[16][64];
} i8_tiles[4];

static void
tiles_config(const unsigned char rows[4], const uint16_t size[4])
{
	for (int i = 0; i < 4; i++) {
		i8_tiles[i].rows = rows[i];
		i8_tiles[i].bytes = size[i];
	}
}

static void
tiles_end(void)
{
	memset(i8_tiles, 0, sizeof(i8_tiles));
}

static void
tile_load(int tile, const void *p, ptrdiff_t pitch)
{
	for (int i = 0; i < i8_tiles[tile].rows; i++)
		memcpy(i8_tiles[tile].row[i], (const char *)p + i * pitch,
		    (size_t)i8_tiles[tile].bytes);
}

/* tile = x times w, then stored at p */
static void
tile_product(int tile, int *p)
{
	for (int m = 0; m < i8_tiles[tile].rows; m++)
		for (int n = 0; n < 16; n++) {
			int sum = 0;

			for (int k = 0; k < i8_tiles[X_TILE].bytes; k++)
				sum += (signed char)i8_tiles[X_TILE].row[m][k] *
				    (signed char)i8_tiles[W_TILE].row[k / 4][n * 4 + k % 4];
			p[m * 16 + n] = sum;
		}
}
#define X_LOAD(p, pitch) tile_load(X_TILE, p, pitch)
#define W_LOAD(p) tile_load(W_TILE, p, 64)
#define PRODUCT(tile, p) tile_product(tile, p)
#else
static void
tiles_config(const unsigned char rows[4], const uint16_t size[4])
{
	struct {
		unsigned char palette, start, zero[14];
		uint16_t bytes[16];
		unsigned char rows[16];
	} c __attribute__((aligned(64))) = { .palette = 1 };

	memcpy(c.bytes, size, 4 * sizeof(*size));
	memcpy(c.rows, rows, 4);
	__asm__ volatile ("ldtilecfg %0" : : "m" (c));
}

static void
tiles_end(void)
{
	__asm__ volatile ("tilerelease" ::);
}

#define X_LOAD(p, pitch) \
	__asm__ volatile ("tileloadd (%0,%1,1), %%tmm2" : : "r" (p), "r" ((ptrdiff_t)(pitch)) : \
	    "memory")
#define W_LOAD(p) \
	__asm__ volatile ("tileloadd (%0,%1,1), %%tmm3" : : "r" (p), "r" ((ptrdiff_t)64) : "memory")
#define PRODUCT(tile, p) do { \
	__asm__ volatile ("tilezero %%tmm" #tile "\n\ttdpbssd %%tmm3, %%tmm2, %%tmm" #tile ::); \
	__asm__ volatile ("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r" (p), \
	    "r" ((ptrdiff_t)64) : "memory"); \
} while (0)
#endif

/* The tiles of products of type t. */
INLINE void
tiles_begin(enum dtype t)
{
	const int columns = i8_each(t) * CHUNK;
	const unsigned char rows[4] = { 16, 16, 16, (unsigned char)(columns / 4) };
	const uint16_t size[4] = { 64, 64, (uint16_t)columns, 64 };

	tiles_config(rows, size);
}

/* sum [16] += the sums p [16][16] of group g */
INLINE void
tile_fold(reg sum[16], const int *p, const struct i8_panel *w, const struct i8_tile *x, int g,
    enum dtype t)
{
	const float *x_scale = x->scale + scale_at((size_t)g, t);
	const reg scale = r_load(w->scale[g]);

	UNROLL16
	for (int m = 0; m < 16; m++) {
		vec v = v_load(p + m * 16);

		if (i8_more(t))
			v = v_add32(v, v_set32(x->begin + g * I8_MR + m));
		sum[m] = r_fma(scale, r_mul(r_set(x_scale[m]), v_float(v)), sum[m]);
		if (i8_has_minimum(t))
			sum[m] = r_fma(r_load(w->minimum[g]), r_set(x->sum[g * I8_MR + m]), sum[m]);
	}
}

/* The product of group g goes to p, by one tile or another. */
INLINE void
tile_step(int *p, const struct i8_panel *w, const struct i8_tile *x, int g, int odd, enum dtype t)
{
	const int columns = i8_each(t) * CHUNK;

	X_LOAD(x->code + g * I8_MR * columns, columns);
	W_LOAD(w->code[g * columns / 4]);
	if (odd)
		PRODUCT(1, p);
	else
		PRODUCT(0, p);
}

/* lanes += the panel times mr rows of x, or more */
ALWAYS void
tile_multiply_of(float *lanes, const struct i8_panel *w, const struct i8_tile *x, int mr, int begin,
    enum dtype t)
{
	int p[2][16 * 16] __attribute__((aligned(64)));

	(void)mr;
	for (int lane = 0; lane < I8_LANES; lane++, lanes += I8_MR * OUTPUTS) {
		reg sum[16];
		int g = lane;

		UNROLL16
		for (int m = 0; m < 16; m++)
			sum[m] = begin ? r_zero() : r_load(lanes + m * OUTPUTS);
		/* (what has just been stored is read later) */
		for (; g < w->groups; g += 2 * I8_LANES) {
			tile_step(p[0], w, x, g, 0, t);
			if (g > lane)
				tile_fold(sum, p[1], w, x, g - I8_LANES, t);
			if (g + I8_LANES < w->groups)
				tile_step(p[1], w, x, g + I8_LANES, 1, t);
			tile_fold(sum, p[0], w, x, g, t);
		}
		if (g > lane && g - I8_LANES < w->groups)
			tile_fold(sum, p[1], w, x, g - I8_LANES, t);
		UNROLL16
		for (int m = 0; m < 16; m++)
			r_store(lanes + m * OUTPUTS, sum[m]);
	}
}
