/*
 * Registers of bytes in AVX-512, for the products of i8: after lanes_avx512.h.  i8_lanes_avx2.h has
 * the same words.  A lane is 16 bytes.
 */
#define I8_VBMI

#include "cpu/transpose_avx512.h"

typedef __m512i vec;

enum {
	L = 4,                  /* lanes of a register */
	I8_ROWS = 8,            /* rows of x for which weights are not turned */
#ifdef I8_TILES
	I8_MR = 16,             /* else so many at a time */
	I8_SIGNED = 1           /* codes of 8 bits are signed; else 128 more */
#else
	I8_MR = 8,
	I8_SIGNED = 0
#endif
};

INLINE vec v_zero(void) { return _mm512_setzero_si512(); }
INLINE vec v_bytes(int x) { return _mm512_set1_epi8((char)x); }
INLINE vec v_load(const void *p) { return _mm512_loadu_si512(p); }
INLINE void v_store(void *p, vec v) { _mm512_storeu_si512(p, v); }
INLINE vec v_and(vec a, vec b) { return _mm512_and_si512(a, b); }
INLINE vec v_xor(vec a, vec b) { return _mm512_xor_si512(a, b); }
INLINE vec v_sub32(vec a, vec b) { return _mm512_sub_epi32(a, b); }
INLINE vec v_add32(vec a, vec b) { return _mm512_add_epi32(a, b); }
INLINE vec v_low64(vec a, vec b) { return _mm512_unpacklo_epi64(a, b); }
INLINE vec v_high64(vec a, vec b) { return _mm512_unpackhi_epi64(a, b); }
INLINE vec v_turn64(vec v) { return _mm512_shuffle_epi32(v, (_MM_PERM_ENUM)0x4e); }
INLINE vec v_low(vec v) { return v_and(v, v_bytes(15)); }
/* (by a product: shuffles keep the unit of shifts busy) */
INLINE vec v_shift4(vec v) { return _mm512_mulhi_epu16(v, _mm512_set1_epi16(1 << 12)); }
INLINE vec v_high(vec v) { return v_and(v_shift4(v), v_bytes(15)); }
INLINE reg v_float(vec v) { return _mm512_cvtepi32_ps(v); }

/* low | the bits of v that mask has */
INLINE vec
v_with(vec low, vec v, int mask)
{
	return _mm512_ternarylogic_epi64(low, v, v_bytes(mask), 0xf8);
}

INLINE vec
v_every_lane(const void *p)
{
	return _mm512_broadcast_i32x4(_mm_loadu_si128(p));
}

INLINE vec
v_every_pair(const void *p)
{
	return _mm512_broadcast_i64x4(_mm256_loadu_si256(p));
}

/* Lane i from p + i step on. */
INLINE vec
v_lanes(const unsigned char *p, int step)
{
	vec v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)p));

	UNROLL
	for (int i = 1; i < 4; i++)
		v = _mm512_mask_broadcast_i32x4(v, (__mmask16)(15 << 4 * i),
		    _mm_loadu_si128((const void *)(p + i * step)));
	return v;
}

#define EIGHT(n) n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7
#define HALVES(n) EIGHT(n), EIGHT(64 + n)
static const unsigned char i8_halves[3][64] = {
	{ HALVES(1), HALVES(18), HALVES(35), HALVES(52) },
	{ HALVES(5), HALVES(22), HALVES(39), HALVES(56) },
	{ HALVES(2), HALVES(20), HALVES(38), HALVES(56) } };

INLINE vec
v_of_two(const void *a, const void *b, const unsigned char number[64])
{
	return _mm512_permutex2var_epi8(v_load(a), v_load(number), v_load(b));
}

/* 16 bytes at the end of each of four blocks of `step` bytes, 17 or 18, from a on and from b on:
 * a lane has 8 of a and 8 of b, in low the first. */
INLINE void
v_ends(vec *low, vec *high, const unsigned char *a, const unsigned char *b, int step)
{
	const int on = step == 17 ? 4 : 8;

	*low = v_of_two(a, b, i8_halves[step == 17 ? 0 : 2]);
	*high = v_of_two(a + on, b + on, i8_halves[step == 17 ? 1 : 2]);
}

/* The lanes from p on, by turns. */
INLINE void
v_split(vec *even, vec *odd, const unsigned char *p)
{
	vec a = v_load(p), b = v_load(p + 64);

	*even = _mm512_shuffle_i32x4(a, b, 0x88);
	*odd = _mm512_shuffle_i32x4(a, b, 0xdd);
}

/* Of 16 bytes, those with the numbers in the low halves of v, or the high ones.  (Of an index only
 * its low 6 bits count.) */
INLINE vec
v_of_low(const signed char *levels, vec v)
{
	return _mm512_permutexvar_epi8(v, v_every_lane(levels));
}

INLINE vec
v_of_high(const signed char *levels, vec v)
{
	return v_of_low(levels, v_shift4(v));
}

/* Each 32 bits of lane i rotated to the left by a number that is `step` more each `each` lanes. */
INLINE vec
v_rotate(vec v, int by, int step, int each)
{
	int n[4];

	for (int i = 0; i < 4; i++)
		n[i] = by + step * (i / each);
	return _mm512_rolv_epi32(v, _mm512_set_epi32(n[3], n[3], n[3], n[3], n[2], n[2], n[2], n[2],
	    n[1], n[1], n[1], n[1], n[0], n[0], n[0], n[0]));
}

/* sum + the products of four bytes each, those of w unsigned */
INLINE vec
v_dot(vec sum, vec w, vec x)
{
	return _mm512_dpbusd_epi32(sum, w, x);
}

/* The same where w has I8_SIGNED codes. */
INLINE vec
v_dot_signed(vec sum, vec w, vec x)
{
	return v_dot(sum, w, x);
}

/* Four bytes of x, or an integer, in all places. */
INLINE vec
v_set32(const void *p)
{
	int32_t x;

	memcpy(&x, p, sizeof(x));
	return _mm512_set1_epi32(x);
}

/* What is loaded as one register is stored as one. */
INLINE void
v_store16(float *to, __m256 a, __m256 b)
{
	_mm512_storeu_ps(to, _mm512_insertf32x8(_mm512_castps256_ps512(a), b, 1));
}

/* The sums of each half lane of two registers, next to one another. */
INLINE vec
v_sums2(vec va, vec vb)
{
	__m512 a = _mm512_castsi512_ps(va), b = _mm512_castsi512_ps(vb);

	return v_add32(_mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88)),
	    _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd)));
}

/* The sums of each lane of four registers, next to one another. */
INLINE vec
v_sums(vec a, vec b, vec c, vec d)
{
	vec ab = v_add32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
	vec cd = v_add32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));

	return v_add32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

/* Lanes with the groups 0 2 4 6 and 1 3 5 7 become 0 2 1 3 and 4 6 5 7. */
INLINE void
v_mix(vec v[2])
{
	vec a = v[0];

	v[0] = _mm512_shuffle_i32x4(a, v[1], 0x44);
	v[1] = _mm512_shuffle_i32x4(a, v[1], 0xee);
}

/* [16 rows][16] of 32 bits, turned. */
INLINE void
v_turn(vec v[16])
{
	transpose16(v);
}

/* The bits of the magnitude of floats, and the larger of two. */
INLINE vec v_magnitude(reg x) { return _mm512_castps_si512(_mm512_abs_ps(x)); }
INLINE vec v_max32(vec a, vec b) { return _mm512_max_epi32(a, b); }

/* The largest of each of four registers of 32 bits. */
INLINE __m128i
v_most4(vec a, vec b, vec c, vec d)
{
	vec ab = v_max32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
	vec cd = v_max32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
	vec m = v_max32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
	__m256i n = _mm256_max_epi32(_mm512_castsi512_si256(m), _mm512_extracti64x4_epi64(m, 1));

	return _mm_max_epi32(_mm256_castsi256_si128(n), _mm256_extracti128_si256(n, 1));
}

/* The sums of each of four registers of 32 bits. */
INLINE __m128i
v_sums4(vec a, vec b, vec c, vec d)
{
	vec s = v_sums(a, b, c, d);
	__m256i n = _mm256_add_epi32(_mm512_castsi512_si256(s), _mm512_extracti64x4_epi64(s, 1));

	return _mm_add_epi32(_mm256_castsi256_si128(n), _mm256_extracti128_si256(n, 1));
}

INLINE vec v_nearest(reg x) { return _mm512_cvtps_epi32(x); }

/* 32 integers of 32 bits as bytes: 16 to a, 16 to b. */
INLINE void
v_pack32(signed char *a, signed char *b, const vec v[2])
{
	_mm_storeu_si128((void *)a, _mm512_cvtepi32_epi8(v[0]));
	_mm_storeu_si128((void *)b, _mm512_cvtepi32_epi8(v[1]));
}
