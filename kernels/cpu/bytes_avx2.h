/*
 * 32 bytes, 16 bytes and 8 floats of AVX2: what codes of block types are unpacked with, by AVX-512
 * too.  bytes_neon.h says the same for NEON; a part of lanes_avx2.h and lanes_avx512.h.
 */
typedef __m256i bytes32;
typedef __m128i bytes16;
typedef __m256 eight;

#define BYTES static inline __attribute__((always_inline))

BYTES bytes32 load32(const unsigned char *p) { return _mm256_loadu_si256((const void *)p); }
BYTES void store32(signed char *p, bytes32 v) { _mm256_storeu_si256((void *)p, v); }
BYTES bytes32 bytes_or(bytes32 a, bytes32 b) { return _mm256_or_si256(a, b); }
BYTES bytes16 load16(const void *p) { return _mm_loadu_si128(p); }
BYTES bytes16 low_halves(bytes16 v) { return _mm_and_si128(v, _mm_set1_epi8(15)); }
BYTES bytes16 high_halves(bytes16 v) { return low_halves(_mm_srli_epi16(v, 4)); }

BYTES bytes16
less16(bytes16 v, int less)
{
	return _mm_sub_epi8(v, _mm_set1_epi8((char)less));
}

BYTES bytes32
less32(bytes32 v, int less)
{
	return _mm256_sub_epi8(v, _mm256_set1_epi8((char)less));
}

BYTES bytes32
bytes_and(bytes32 v, int mask)
{
	return _mm256_and_si256(v, _mm256_set1_epi8((char)mask));
}

/* Each byte of v shifted to the left, or right where by < 0, and masked. */
BYTES bytes32
bytes_shift(bytes32 v, int by, int mask)
{
	return bytes_and(by < 0 ? _mm256_srli_epi16(v, -by) : _mm256_slli_epi16(v, by), mask);
}

/* 32 halves: those of the low halves of 16 bytes, then the high ones. */
BYTES bytes32
halves(const unsigned char *p)
{
	__m128i v = load16(p);

	return bytes_and(_mm256_set_m128i(_mm_srli_epi16(v, 4), v), 15);
}

/* 16 in the bytes whose bits are set in 4 bytes. */
BYTES bytes32
fifth_bits(const unsigned char *p)
{
	const __m256i order = _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202,
	    0x0101010101010101, 0);
	const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
	__m256i v;
	int32_t h;

	memcpy(&h, p, sizeof(h));
	v = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(h), order), bit);
	return bytes_and(_mm256_cmpeq_epi8(v, bit), 16);
}

/* The levels that 32 numbers below 16 select. */
BYTES bytes32
of_levels(const signed char *levels, bytes32 v)
{
	return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load16(levels)), v);
}

BYTES float
f16_at(const unsigned char *p)
{
	uint16_t h;

	memcpy(&h, p, sizeof(h));
	return _cvtsh_ss(h);
}

/* d times 8 unsigned bytes. */
BYTES void
eight_times(float *to, float d, const unsigned char *c)
{
	__m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)c));

	_mm256_storeu_ps(to, _mm256_mul_ps(_mm256_set1_ps(d), _mm256_cvtepi32_ps(v)));
}

/* d times 16 signed bytes. */
BYTES void
sixteen_times(float *to, float d, bytes16 v)
{
	const __m256 f = _mm256_set1_ps(d);

	_mm256_storeu_ps(to, _mm256_mul_ps(f, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v))));
	v = _mm_srli_si128(v, 8);
	_mm256_storeu_ps(to + 8, _mm256_mul_ps(f, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v))));
}

BYTES void eight_store(float *p, eight x) { _mm256_storeu_ps(p, x); }
BYTES eight eight_add(eight x, float y) { return _mm256_add_ps(x, _mm256_set1_ps(y)); }
BYTES eight eight_mul(eight x, float y) { return _mm256_mul_ps(x, _mm256_set1_ps(y)); }

/* Of eight indices in a word, `bits` apart and below 4 or 8, the values. */
BYTES eight
eight_of(uint32_t entry, int bits, const float *values)
{
	const __m256i one = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
	const __m256i by = _mm256_mullo_epi32(one, _mm256_set1_epi32(bits));
	__m256i i = _mm256_srlv_epi32(_mm256_set1_epi32((int)entry), by);

	i = _mm256_and_si256(i, _mm256_set1_epi32(bits == 2 ? 3 : 7));
	return _mm256_permutevar8x32_ps(_mm256_loadu_ps(values), i);
}

/* x, or -x where a bit of `signs` is set. */
BYTES eight
eight_signed(eight x, unsigned signs)
{
	const __m256i by = _mm256_set_epi32(24, 25, 26, 27, 28, 29, 30, 31);
	__m256i s = _mm256_sllv_epi32(_mm256_set1_epi32((int)signs), by);

	s = _mm256_and_si256(s, _mm256_set1_epi32(INT32_MIN));
	return _mm256_xor_ps(x, _mm256_castsi256_ps(s));
}
