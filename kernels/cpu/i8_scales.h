/*
 * The scales of four rows of weights for the products of i8, and their minimums: a part of
 * matmul_i8_lanes.h.  AVX-512 has its own where they would take long, else those of AVX2.
 *
 * They stand in slots, [slots][4 rows]: the groups of a block, of each four 0 1 2 3, or where
 * i8_crossed 0 2 1 3.
 */
struct i8_scales {
	float scale[CHUNKS][4] __attribute__((aligned(64)));
	float minimum[CHUNKS / 2][4] __attribute__((aligned(64)));      /* its negative */
};

INLINE int
bytes_at(const unsigned char *p, int size)
{
	int v = 0;

	memcpy(&v, p, (size_t)size);
	return v;
}

/* 32 bits at `at` of four rows. */
INLINE __m128i
four32(const unsigned char *const p[4], int at)
{
	__m128i v = _mm_cvtsi32_si128(bytes_at(p[0] + at, 4));

	v = _mm_insert_epi32(v, bytes_at(p[1] + at, 4), 1);
	v = _mm_insert_epi32(v, bytes_at(p[2] + at, 4), 2);
	return _mm_insert_epi32(v, bytes_at(p[3] + at, 4), 3);
}

/* F16 at `at` of four rows, and those `step` further. */
INLINE __m256
eight_f16(const unsigned char *const p[4], int at, int step)
{
	__m128i v = _mm_cvtsi32_si128(bytes_at(p[0] + at, 2));

	v = _mm_insert_epi16(v, bytes_at(p[1] + at, 2), 1);
	v = _mm_insert_epi16(v, bytes_at(p[2] + at, 2), 2);
	v = _mm_insert_epi16(v, bytes_at(p[3] + at, 2), 3);
	v = _mm_insert_epi16(v, bytes_at(p[0] + at + step, 2), 4);
	v = _mm_insert_epi16(v, bytes_at(p[1] + at + step, 2), 5);
	v = _mm_insert_epi16(v, bytes_at(p[2] + at + step, 2), 6);
	v = _mm_insert_epi16(v, bytes_at(p[3] + at + step, 2), 7);
	return _mm256_cvtph_ps(v);
}

/* The low halves of four of 32 bits as F16. */
INLINE __m128
four_f16(__m128i v)
{
	return _mm_cvtph_ps(_mm_packus_epi32(_mm_and_si128(v, _mm_set1_epi32(0xffff)), v));
}

/* Four rows of 16 bytes, turned: to[i] has the bytes 4 i .. 4 i + 3 of all, [4 groups][4 rows],
 * in the order of slots. */
INLINE void
turn_bytes(__m128i to[4], const unsigned char *const p[4], int at, int crossed)
{
	__m128i r[4], a, b, c, d;

	UNROLL
	for (int i = 0; i < 4; i++)
		r[i] = _mm_loadu_si128((const void *)(p[i] + at));
	a = _mm_unpacklo_epi8(r[0], r[1]);
	b = _mm_unpacklo_epi8(r[2], r[3]);
	c = _mm_unpackhi_epi8(r[0], r[1]);
	d = _mm_unpackhi_epi8(r[2], r[3]);
	to[0] = _mm_unpacklo_epi16(a, b);
	to[1] = _mm_unpackhi_epi16(a, b);
	to[2] = _mm_unpacklo_epi16(c, d);
	to[3] = _mm_unpackhi_epi16(c, d);
	if (crossed)
		UNROLL
		for (int i = 0; i < 4; i++)
			to[i] = _mm_shuffle_epi32(to[i], 0xd8);
}

/* The scales of Q8 and Q4, E4M3, of 16 groups. */
#ifdef I8_VBMI
/* Of the byte m without its sign, as a float: the exponent, and the highest two bytes. */
#define F8_LOG(m) ((m) >= 4 ? 2 : (m) >= 2)
#define F8_EXPONENT(m) ((m) == 0 ? 0 : (m) == 127 ? 255 : (m) < 8 ? 118 + F8_LOG(m) : 120 + (m) / 8)
#define F8_MANTISSA(m) ((m) == 127 ? 4 : ((m) < 8 ? (m) << (3 - F8_LOG(m)) : (m)) & 7)
#define F8_FIRST(m) (F8_EXPONENT(m) >> 1)
#define F8_SECOND(m) ((F8_EXPONENT(m) & 1) << 7 | F8_MANTISSA(m) << 4)
#define F8_8(X, m) X(m), X(m + 1), X(m + 2), X(m + 3), X(m + 4), X(m + 5), X(m + 6), X(m + 7)
#define F8_64(X, m) F8_8(X, m), F8_8(X, m + 8), F8_8(X, m + 16), F8_8(X, m + 24), \
	F8_8(X, m + 32), F8_8(X, m + 40), F8_8(X, m + 48), F8_8(X, m + 56)
static const unsigned char i8_f8[2][128] = {
	{ F8_64(F8_FIRST, 0), F8_64(F8_FIRST, 64) },
	{ F8_64(F8_SECOND, 0), F8_64(F8_SECOND, 64) } };

/* A byte of [4 rows][16 groups] for each lane, register of floats and row. */
#define FOUR(g) g, 16 + g, 32 + g, 48 + g
#define SLOTS(g) FOUR(g), FOUR(4 + g), FOUR(8 + g), FOUR(12 + g)
static const unsigned char i8_turn[2][64] = {
	{ SLOTS(0), SLOTS(1), SLOTS(2), SLOTS(3) }, { SLOTS(0), SLOTS(2), SLOTS(1), SLOTS(3) } };

INLINE __m512i
of_128(const unsigned char table[128], __m512i number)
{
	return _mm512_permutex2var_epi8(v_load(table), number, v_load(table + 64));
}

INLINE void
scales_f8(struct i8_scales *s, const unsigned char *const group[4], float f, int crossed)
{
	const __m512 factor = _mm512_set1_ps(f);
	__m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)group[0]));
	__m512i first, second;

	UNROLL
	for (int r = 1; r < 4; r++)
		v = _mm512_mask_broadcast_i32x4(v, (__mmask16)(15 << 4 * r),
		    _mm_loadu_si128((const void *)group[r]));
	v = _mm512_permutexvar_epi8(v_load(i8_turn[crossed]), v);
	first = v_with(of_128(i8_f8[0], v), v, -128);
	second = of_128(i8_f8[1], v);
	UNROLL
	for (int i = 0; i < 2; i++) {
		__m512i h = i ? _mm512_unpackhi_epi8(second, first) :
		    _mm512_unpacklo_epi8(second, first);

		_mm512_store_ps(s->scale[8 * i], _mm512_mul_ps(factor,
		    _mm512_castsi512_ps(_mm512_unpacklo_epi16(v_zero(), h))));
		_mm512_store_ps(s->scale[8 * i + 4], _mm512_mul_ps(factor,
		    _mm512_castsi512_ps(_mm512_unpackhi_epi16(v_zero(), h))));
	}
}
#else
/* A scale that is not a number. */
static void __attribute__((noinline, cold))
scales_nan(struct i8_scales *s, const unsigned char *const group[4], int crossed)
{
	for (int i = 0; i < CHUNKS; i++)
		for (int r = 0; r < 4; r++)
			if ((group[r][i8_slot(i, crossed ? Q4 : Q8)] & 0x7f) == 0x7f)
				s->scale[i][r] = NAN;
}

/* As halves they are 256 times too small, and what is not a number is one. */
INLINE void
scales_f8(struct i8_scales *s, const unsigned char *const group[4], float f, int crossed)
{
	const __m256 factor = _mm256_set1_ps(f * 256);
	const __m256i mask = _mm256_set1_epi16((short)0xbfff);
	const __m128i top = _mm_set1_epi8(-128);
	__m128i v[4], most = top;

	turn_bytes(v, group, 0, crossed);
	UNROLL
	for (int i = 0; i < 4; i++) {
		__m256i h = _mm256_slli_epi16(_mm256_cvtepi8_epi16(v[i]), 7);

		most = _mm_max_epu8(most, _mm_or_si128(v[i], top));
		h = _mm256_and_si256(h, mask);
		_mm256_store_ps(s->scale[4 * i], _mm256_mul_ps(factor,
		    _mm256_cvtph_ps(_mm256_castsi256_si128(h))));
		_mm256_store_ps(s->scale[4 * i + 2], _mm256_mul_ps(factor,
		    _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1))));
	}
	if (_mm_movemask_epi8(_mm_cmpeq_epi8(most, _mm_set1_epi8(-1))))
		scales_nan(s, group, crossed);
}
#endif

INLINE __m256
both(__m128 v)
{
	return _mm256_set_m128(v, v);
}

/* to [4][4] = 16 bytes times d [4] */
INLINE void
scales_bytes(float to[4][4], __m128i v, __m128 d)
{
#ifdef I8_VBMI
	_mm512_store_ps(to, _mm512_mul_ps(_mm512_broadcast_f32x4(d),
	    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(v))));
#else
	v_store16(to[0], _mm256_mul_ps(both(d), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v))),
	    _mm256_mul_ps(both(d),
	    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(v, 8)))));
#endif
}

/* Q6_K: 16 signed bytes. */
INLINE void
scales_q6(struct i8_scales *s, const unsigned char *const b[4])
{
	const __m128 d = _mm256_castps256_ps128(eight_f16(b, 208, 0));
	__m128i v[4];

	turn_bytes(v, b, 192, 0);
	UNROLL
	for (int i = 0; i < 4; i++)
		scales_bytes(s->scale + 4 * i, v[i], d);
}

/* Q4_K and Q5_K: 6 bits for each 32 columns, in 12 bytes. */
INLINE void
scales_k(struct i8_scales *s, const unsigned char *const b[4])
{
	/* bytes [row][group] as [slot][row] */
	const __m128i order = _mm_set_epi8(15, 11, 7, 3, 13, 9, 5, 1, 14, 10, 6, 2, 12, 8, 4, 0);
	const __m128i low6 = _mm_set1_epi8(0x3f), low4 = _mm_set1_epi8(0x0f);
	const __m128i bits = _mm_set1_epi8(0x30);
	const __m128 sign = _mm_set1_ps(-0.f);
	__m128i r[4], ac, bd, v[4];
	__m128 d, m;

	UNROLL
	for (int i = 0; i < 4; i++)
		r[i] = _mm_loadu_si128((const void *)b[i]);
	ac = _mm_unpacklo_epi32(r[0], r[1]);
	bd = _mm_unpacklo_epi32(r[2], r[3]);
	v[0] = _mm_unpacklo_epi64(ac, bd);      /* d and dmin of four rows, and the 12 bytes */
	v[1] = _mm_unpackhi_epi64(ac, bd);
	ac = _mm_unpackhi_epi32(r[0], r[1]);
	bd = _mm_unpackhi_epi32(r[2], r[3]);
	v[2] = _mm_unpacklo_epi64(ac, bd);
	v[3] = _mm_unpackhi_epi64(ac, bd);
	d = four_f16(v[0]);
	m = _mm_xor_ps(sign, four_f16(_mm_srli_epi32(v[0], 16)));
	scales_bytes(s->scale, _mm_shuffle_epi8(_mm_and_si128(v[1], low6), order), d);
	scales_bytes(s->minimum, _mm_shuffle_epi8(_mm_and_si128(v[2], low6), order), m);
	r[0] = _mm_or_si128(_mm_and_si128(v[3], low4),
	    _mm_and_si128(_mm_srli_epi16(v[1], 2), bits));
	r[1] = _mm_or_si128(_mm_and_si128(_mm_srli_epi16(v[3], 4), low4),
	    _mm_and_si128(_mm_srli_epi16(v[2], 2), bits));
	scales_bytes(s->scale + 4, _mm_shuffle_epi8(r[0], order), d);
	scales_bytes(s->minimum + 4, _mm_shuffle_epi8(r[1], order), m);
}

/* IQ4_XS: 4 bits and 2 for each 32 columns. */
INLINE void
scales_iq4(struct i8_scales *s, const unsigned char *const b[4])
{
	const __m128i first = four32(b, 0), low = four32(b, 4);
	const __m256i one = _mm256_set_epi32(1, 1, 1, 1, 0, 0, 0, 0);
	const __m256i l = _mm256_set_m128i(low, low);
	const __m128i high = _mm_srli_epi32(first, 16);
	const __m256i h = _mm256_set_m128i(high, high);
	const __m256 d = both(four_f16(first));

	__m256 v[4];

	UNROLL
	for (int g = 0; g < 8; g += 2) {
		__m256i n = _mm256_add_epi32(one, _mm256_set1_epi32(g));
		__m256i a = _mm256_srlv_epi32(l, _mm256_slli_epi32(n, 2));
		__m256i c = _mm256_srlv_epi32(h, _mm256_slli_epi32(n, 1));

		a = _mm256_and_si256(a, _mm256_set1_epi32(15));
		c = _mm256_slli_epi32(_mm256_and_si256(c, _mm256_set1_epi32(3)), 4);
		a = _mm256_sub_epi32(_mm256_or_si256(a, c), _mm256_set1_epi32(32));
		v[g / 2] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(a));
	}
	v_store16(s->scale[0], v[0], v[1]);
	v_store16(s->scale[4], v[2], v[3]);
}

/* Half of 2^(e - 127), as block_e8m0. */
INLINE __m256
eight_e8m0(const unsigned char *const p[4], int at, int step)
{
	__m128i b = _mm_cvtsi32_si128(p[0][at]);
	__m256i e, small, v;

	b = _mm_insert_epi8(b, p[1][at], 1);
	b = _mm_insert_epi8(b, p[2][at], 2);
	b = _mm_insert_epi8(b, p[3][at], 3);
	b = _mm_insert_epi8(b, p[0][at + step], 4);
	b = _mm_insert_epi8(b, p[1][at + step], 5);
	b = _mm_insert_epi8(b, p[2][at + step], 6);
	b = _mm_insert_epi8(b, p[3][at + step], 7);
	e = _mm256_cvtepu8_epi32(b);
	small = _mm256_sllv_epi32(_mm256_set1_epi32(0x200000), e);
	v = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
	return _mm256_castsi256_ps(_mm256_blendv_epi8(v, small,
	    _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
}

#ifdef I8_VBMI
/* Bytes of [2 rows][64 bytes] for each of four blocks and four rows, twice. */
#define ROWS_AT(n) n, 64 + n, n, 64 + n
#define WORDS_AT(n) n, n + 1, 64 + n, 65 + n, n, n + 1, 64 + n, 65 + n
static const unsigned char i8_first[2][64] = {
	{ ROWS_AT(0), ROWS_AT(17), ROWS_AT(34), ROWS_AT(51), ROWS_AT(0), ROWS_AT(17), ROWS_AT(34),
	    ROWS_AT(51) },
	{ WORDS_AT(0), WORDS_AT(18), WORDS_AT(36), WORDS_AT(54), WORDS_AT(0), WORDS_AT(18),
	    WORDS_AT(36), WORDS_AT(54) } };

/* Four blocks of four rows: the scales of MXFP4 in the first 32 bytes, else of 18 bytes. */
INLINE __m512i
first_of(const unsigned char *const b[4], int at, enum dtype t)
{
	const unsigned char *number = i8_first[t != MXFP4];
	__m512i a = v_of_two(b[0] + at, b[1] + at, number);
	__m512i c = v_of_two(b[2] + at, b[3] + at, number);

	return t == MXFP4 ? _mm512_mask_blend_epi16(0xaaaaaaaa, a, c) :
	    _mm512_mask_blend_epi32(0xaaaa, a, c);
}

INLINE __m512
sixteen_e8m0(__m128i b)
{
	__m512i e = _mm512_cvtepu8_epi32(b), one = _mm512_set1_epi32(1);
	__m512i v = _mm512_slli_epi32(_mm512_sub_epi32(e, one), 23);

	return _mm512_castsi512_ps(_mm512_mask_sllv_epi32(v, _mm512_cmple_epu32_mask(e, one),
	    _mm512_set1_epi32(0x200000), e));
}
#endif

/* Blocks of 32 columns that begin with their scale. */
INLINE void
scales_32(struct i8_scales *s, const unsigned char *const b[4], enum dtype t)
{
	const int size = (int)row_bytes(t, 32);
	__m256 v[4];

#ifdef I8_VBMI
	if (t != Q8_0) {
		UNROLL
		for (int g = 0; g < 8; g += 4) {
			__m512i first = first_of(b, g * size, t);

			_mm512_store_ps(s->scale[g], t == MXFP4 ?
			    sixteen_e8m0(_mm512_castsi512_si128(first)) :
			    _mm512_cvtph_ps(_mm512_castsi512_si256(first)));
		}
		return;
	}
#endif
	UNROLL
	for (int g = 0; g < 8; g += 2)
		v[g / 2] = t == MXFP4 ? eight_e8m0(b, g * size, size) :
		    eight_f16(b, g * size, size);
	v_store16(s->scale[0], v[0], v[1]);
	v_store16(s->scale[4], v[2], v[3]);
}

/* Of the block b of four rows, whose groups in Q8 and Q4 are `group`. */
ALWAYS void
scales_of(struct i8_scales *s, const unsigned char *const b[4], const unsigned char *const group[4],
    float factor, enum dtype t)
{
	if (t == Q8 || t == Q4)
		scales_f8(s, group, factor, i8_crossed(t));
	else if (t == Q6_K)
		scales_q6(s, b);
	else if (t == Q4_K || t == Q5_K)
		scales_k(s, b);
	else if (t == IQ4_XS)
		scales_iq4(s, b);
	else
		scales_32(s, b, t);
}
