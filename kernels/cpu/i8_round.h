/*
 * Rows of x as integers of 8 bits: a part of matmul_i8_lanes.h.  Scales come first, since divisions
 * take long.
 */
enum { I8_PART = 8 * I8_BLOCK };        /* columns whose scales are computed together */

struct i8_scaled {
	float scale[I8_PART / I8_GROUP], inverse[I8_PART / I8_GROUP];
	int finite;
};

/* Of n columns, n > 0; groups beyond them up to a whole block have 0. */
static void
x_scales(struct i8_scaled *to, const float *x, int n)
{
	__m128i all = _mm_set1_epi32(-1);

	for (int g = 0; g < I8_PART / I8_GROUP && g * I8_GROUP < n + I8_BLOCK - 1; g += 4) {
		vec m[4];
		__m128i most, finite;
		__m128 f, large, s;

		UNROLL
		for (int i = 0; i < 4; i++) {
			m[i] = v_zero();
			UNROLL
			for (int j = 0; j < I8_GROUP; j += W) {
				int k = (g + i) * I8_GROUP + j;
				reg v = n - k >= W ? r_load(x + k) : r_load_n(x + k, n - k);

				m[i] = v_max32(m[i], v_magnitude(v));
			}
		}
		most = v_most4(m[0], m[1], m[2], m[3]);
		f = _mm_castsi128_ps(most);
		finite = _mm_cmpgt_epi32(_mm_set1_epi32(0x7f800000), most);
		large = _mm_cmpge_ps(f, _mm_set1_ps(I8_LEAST));
		s = _mm_and_ps(large, _mm_div_ps(f, _mm_set1_ps(I8_MOST)));
		s = _mm_blendv_ps(_mm_set1_ps(NAN), s, _mm_castsi128_ps(finite));
		_mm_storeu_ps(to->scale + g, s);
		_mm_storeu_ps(to->inverse + g, _mm_and_ps(large,
		    _mm_div_ps(_mm_set1_ps(I8_MOST), f)));
		all = _mm_and_si128(all, finite);
	}
	to->finite = _mm_movemask_epi8(all) == 0xffff;
}

/* A block of n columns, n > 0, then zeros: the codes of each chunk go to a place, and their sums
 * to sum [2][groups], the two chunks of a group, unless that is NULL. */
INLINE void
x_codes(signed char *const to[CHUNKS], int (*sum)[I8_BLOCK / I8_GROUP], const float *x, int n,
    const float *inverse)
{
	enum { REG = I8_GROUP / W, HALF = REG / 2 };

	UNROLL
	for (int f = 0; f < I8_BLOCK / I8_GROUP; f += 4) {
		vec r[4][REG], m[4];

		UNROLL
		for (int g = 0; g < 4; g++) {
			UNROLL
			for (int j = 0; j < REG; j++) {
				int k = (f + g) * I8_GROUP + j * W;
				reg v = n >= I8_BLOCK ? r_load(x + k) : r_load_n(x + k, n - k);

				r[g][j] = v_nearest(r_mul(v, r_set(inverse[f + g])));
			}
			v_pack32(to[2 * (f + g)], to[2 * (f + g) + 1], r[g]);
		}
		UNROLL
		for (int h = 0; sum && h < 2; h++) {
			UNROLL
			for (int g = 0; g < 4; g++) {
				m[g] = r[g][h * HALF];
				if (HALF > 1)
					m[g] = v_add32(m[g], r[g][h * HALF + 1]);
			}
			_mm_storeu_si128((void *)(sum[h] + f), v_sums4(m[0], m[1], m[2], m[3]));
		}
	}
}

/* The codes of a group that is not finite are zeros. */
static void __attribute__((noinline, cold))
x_nan(signed char *const to[CHUNKS], int (*sum)[I8_BLOCK / I8_GROUP], const float *scale)
{
	for (int c = 0; c < CHUNKS; c++)
		if (scale[c / 2] != scale[c / 2]) {
			memset(to[c], 0, CHUNK);
			if (sum)
				sum[c % 2][c / 2] = 0;
		}
}
