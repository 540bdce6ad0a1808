/*
 * Registers of bytes in AVX2, with AVX-VNNI if I8_VNNI is defined, for the products of i8: after
 * lanes_avx2.h.  i8_lanes_avx512.h has the same words.  A lane is 16 bytes.
 */
typedef __m256i vec;

enum {
	L = 2,                  /* lanes of a register */
	I8_ROWS = 8,            /* rows of x for which weights are not turned */
	I8_MR = 4,              /* else so many at a time */
#ifdef I8_VNNI
	I8_SIGNED = 0           /* codes of 8 bits are signed; else 128 more */
#else
	I8_SIGNED = 1
#endif
};

INLINE vec v_zero(void) { return _mm256_setzero_si256(); }
INLINE vec v_bytes(int x) { return _mm256_set1_epi8((char)x); }
INLINE vec v_load(const void *p) { return _mm256_loadu_si256(p); }
INLINE void v_store(void *p, vec v) { _mm256_storeu_si256(p, v); }
INLINE vec v_and(vec a, vec b) { return _mm256_and_si256(a, b); }
INLINE vec v_xor(vec a, vec b) { return _mm256_xor_si256(a, b); }
INLINE vec v_sub32(vec a, vec b) { return _mm256_sub_epi32(a, b); }
INLINE vec v_add32(vec a, vec b) { return _mm256_add_epi32(a, b); }
INLINE vec v_low64(vec a, vec b) { return _mm256_unpacklo_epi64(a, b); }
INLINE vec v_high64(vec a, vec b) { return _mm256_unpackhi_epi64(a, b); }
INLINE vec v_turn64(vec v) { return _mm256_shuffle_epi32(v, 0x4e); }
INLINE vec v_low(vec v) { return v_and(v, v_bytes(15)); }
INLINE vec v_high(vec v) { return v_and(_mm256_srli_epi16(v, 4), v_bytes(15)); }
INLINE reg v_float(vec v) { return _mm256_cvtepi32_ps(v); }

/* low | the bits of v that mask has */
INLINE vec
v_with(vec low, vec v, int mask)
{
	return _mm256_or_si256(low, v_and(v, v_bytes(mask)));
}

INLINE vec
v_every_lane(const void *p)
{
	return _mm256_broadcastsi128_si256(_mm_loadu_si128(p));
}

INLINE vec
v_every_pair(const void *p)
{
	return v_load(p);
}

/* Lane i from p + i step on. */
INLINE vec
v_lanes(const unsigned char *p, int step)
{
	return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)p)),
	    _mm_loadu_si128((const void *)(p + step)), 1);
}

/* 16 bytes at the end of each of two blocks of `step` bytes from a on and from b on: a lane has 8
 * of a and 8 of b, in low the first. */
INLINE void
v_ends(vec *low, vec *high, const unsigned char *a, const unsigned char *b, int step)
{
	vec of_a = v_lanes(a + step - 16, step), of_b = v_lanes(b + step - 16, step);

	*low = v_low64(of_a, of_b);
	*high = v_high64(of_a, of_b);
}

/* The lanes from p on, by turns. */
INLINE void
v_split(vec *even, vec *odd, const unsigned char *p)
{
	*even = v_lanes(p, 32);
	*odd = v_lanes(p + 16, 32);
}

/* Of 16 bytes, those with the numbers in the low halves of v, or the high ones. */
INLINE vec
v_of_low(const signed char *levels, vec v)
{
	return _mm256_shuffle_epi8(v_every_lane(levels), v_low(v));
}

INLINE vec
v_of_high(const signed char *levels, vec v)
{
	return _mm256_shuffle_epi8(v_every_lane(levels), v_high(v));
}

/* Each 32 bits of lane i rotated to the left by a number that is `step` more each `each` lanes. */
INLINE vec
v_rotate(vec v, int by, int step, int each)
{
	const int a = by & 31, b = (by + step * (1 / each)) & 31;
	const vec left = _mm256_set_epi32(b, b, b, b, a, a, a, a);

	return _mm256_or_si256(_mm256_sllv_epi32(v, left),
	    _mm256_srlv_epi32(v, v_sub32(_mm256_set1_epi32(32), left)));
}

/* sum + the products of four bytes each, those of w unsigned: below 128 without VNNI */
INLINE vec
v_dot(vec sum, vec w, vec x)
{
#ifdef I8_VNNI
	return _mm256_dpbusd_epi32(sum, w, x);
#else
	return v_add32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
#endif
}

/* The same where w has I8_SIGNED codes: w x = |w| (x with the sign of w), and 2 * 128 * 127 is no
 * overflow. */
INLINE vec
v_dot_signed(vec sum, vec w, vec x)
{
	return I8_SIGNED ? v_dot(sum, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) :
	    v_dot(sum, w, x);
}

/* Four bytes of x, or an integer, in all places. */
INLINE vec
v_set32(const void *p)
{
	int32_t x;

	memcpy(&x, p, sizeof(x));
	return _mm256_set1_epi32(x);
}

/* What is loaded as one register is stored as one. */
INLINE void
v_store16(float *to, __m256 a, __m256 b)
{
	_mm256_storeu_ps(to, a);
	_mm256_storeu_ps(to + 8, b);
}

/* The sums of each half lane of two registers, next to one another. */
INLINE vec
v_sums2(vec va, vec vb)
{
	__m256 a = _mm256_castsi256_ps(va), b = _mm256_castsi256_ps(vb);

	return v_add32(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88)),
	    _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd)));
}

/* The sums of each lane of four registers, next to one another. */
INLINE vec
v_sums(vec a, vec b, vec c, vec d)
{
	vec ab = v_add32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
	vec cd = v_add32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));

	return v_add32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
}

/* Lanes have the groups 0 2 and 1 3, as they shall. */
INLINE void
v_mix(vec v[2])
{
	(void)v;
}

/* [8 rows][8] of 32 bits, turned: to every other register. */
INLINE void
v_turn8(vec *to, vec v[8])
{
	vec a[8];

	UNROLL
	for (int i = 0; i < 4; i++) {
		a[2 * i] = _mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
		a[2 * i + 1] = _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
	}
	UNROLL
	for (int i = 0; i < 2; i++) {
		v[4 * i] = _mm256_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
		v[4 * i + 1] = _mm256_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
		v[4 * i + 2] = _mm256_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
		v[4 * i + 3] = _mm256_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
	}
	UNROLL
	for (int i = 0; i < 4; i++) {
		to[2 * i] = _mm256_permute2x128_si256(v[i], v[i + 4], 0x20);
		to[2 * (i + 4)] = _mm256_permute2x128_si256(v[i], v[i + 4], 0x31);
	}
}

/* [16 rows][8] of 32 bits, turned: [8][2 registers]. */
INLINE void
v_turn(vec v[16])
{
	vec to[16];

	v_turn8(to, v);
	v_turn8(to + 1, v + 8);
	UNROLL16
	for (int i = 0; i < 16; i++)
		v[i] = to[i];
}

/* The bits of the magnitude of floats, and the larger of two. */
INLINE vec v_magnitude(reg x) { return _mm256_castps_si256(r_abs(x)); }
INLINE vec v_max32(vec a, vec b) { return _mm256_max_epi32(a, b); }

/* The largest of each of four registers of 32 bits. */
INLINE __m128i
v_most4(vec a, vec b, vec c, vec d)
{
	vec ab = v_max32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
	vec cd = v_max32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
	vec m = v_max32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));

	return _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
}

/* The sums of each of four registers of 32 bits. */
INLINE __m128i
v_sums4(vec a, vec b, vec c, vec d)
{
	vec s = v_sums(a, b, c, d);

	return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

INLINE vec v_nearest(reg x) { return _mm256_cvtps_epi32(x); }

/* 32 integers of 32 bits as bytes: 16 to a, 16 to b. */
INLINE void
v_pack32(signed char *a, signed char *b, const vec v[4])
{
	vec p = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));

	p = _mm256_permutevar8x32_epi32(p, _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0));
	_mm_storeu_si128((void *)a, _mm256_castsi256_si128(p));
	_mm_storeu_si128((void *)b, _mm256_extracti128_si256(p, 1));
}
