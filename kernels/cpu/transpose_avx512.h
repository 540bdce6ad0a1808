/*
 * A square of 32-bit numbers turned, in AVX-512; included where ALWAYS and UNROLL are defined.
 */
#ifndef DS_TRANSPOSE_AVX512_H
#define DS_TRANSPOSE_AVX512_H

#include <immintrin.h>

/* 16 rows of 16 numbers of 4 bytes become columns. */
ALWAYS void
transpose16(__m512i v[16])
{
	__m512i a[16];

	UNROLL
	for (int i = 0; i < 8; i++) {
		a[2 * i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
		a[2 * i + 1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
	}
	UNROLL
	for (int i = 0; i < 4; i++) {
		v[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
		v[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
		v[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
		v[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
	}
	UNROLL
	for (int i = 0; i < 4; i++) {   /* v[i + 4j]: columns i, i+4, ... of the rows 4j .. 4j+3 */
		a[i] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0x88);
		a[i + 4] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd);
		a[i + 8] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x88);
		a[i + 12] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xdd);
	}
	UNROLL
	for (int i = 0; i < 4; i++) {
		v[i] = _mm512_shuffle_i32x4(a[i], a[i + 8], 0x88);
		v[i + 8] = _mm512_shuffle_i32x4(a[i], a[i + 8], 0xdd);
		v[i + 4] = _mm512_shuffle_i32x4(a[i + 4], a[i + 12], 0x88);
		v[i + 12] = _mm512_shuffle_i32x4(a[i + 4], a[i + 12], 0xdd);
	}
}

#endif
