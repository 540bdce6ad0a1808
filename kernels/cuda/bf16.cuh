/*
 * The products of bf16: what their kernels share.
 *
 * Weights are the tensor cores' A (16 outputs, 16 terms), rows of x their B (16 terms, 8 rows).
 * Which of the 16 places of a step a term has is free, as long as both agree, and is chosen so that
 * a lane's weights are 16 bytes that lie together in memory (a slot).  So weights need no sorting:
 * each lane copies slots of its own to a ring in shared memory, as they are stored, waits for them
 * alone, and makes BF16 of them in registers.
 *
 * A quad is four neighbouring columns of a row: a lane's share of a step.  A chunk is the slots of
 * the four lanes that share a row, 64 bytes; a block is 128 columns:
 *	column = chunk * 16 S + lane c * 4 S + q * 4 + 0..3,	S quads in a slot, q below S being the step of the chunk
 *
 * The sum of an output is made of sums of blocks: eight steps of the tensor cores from +0 on,
 * columns ascending by chunks, then acc = fma(scale, sum, acc), acc from +0, blocks ascending; the
 * scale is 1 where there is none.  Rows of x, and who computes what, have no part in this.
 */
#ifndef DS_BF16_CUH
#define DS_BF16_CUH

#include "launch.cuh"
#include "products.h"
#include "ptx.cuh"
#include "epilogue.cuh"

#include "cpu/cpu.h"

enum { STEPS = BLOCK / 16, CHUNK = 64 };        /* of the tensor cores in a block; bytes */

/* S */
template <enum dtype D> constexpr int slot_quads = D == F32 ? 1 : D == BF16 || D == F16 ? 2 : D == Q4 ? 8 : 4;

#define E4M3_ONE 0x7b807b80u    /* 2^120 twice: what makes the bits of E4M3, moved into BF16's places, their number */

/* Two BF16 that are subnormal become zeros. */
static __device__ __forceinline__ uint32_t
flush_pair(uint32_t v)
{
	uint32_t normal = ((v & 0x7f807f80) + 0x7f807f80) & 0x80008000;

	return v & (0x80008000 | (normal - (normal >> 15)));
}

/* Two E4M3, each in the upper byte of its half, not NaN. */
static __device__ __forceinline__ uint32_t
f8_pair(uint32_t v)
{
	return bf16_pair_times((v & 0x80008000) | (v >> 4 & 0x07f007f0), E4M3_ONE);
}

static __device__ uint32_t
f8_pair_slow(uint32_t v)
{
	return bf16_pair(float_of_f8(v >> 8 & 0xff), float_of_f8(v >> 24));
}

static __device__ __forceinline__ void
f8_quad(uint32_t r[2], uint32_t four)
{
	uint32_t lo = __byte_perm(four, 0, 0x1404), hi = __byte_perm(four, 0, 0x3424);

	if (((four & 0x7f7f7f7f) + 0x01010101) & 0x80808080) {          /* one is a NaN */
		r[0] = f8_pair_slow(lo);
		r[1] = f8_pair_slow(hi);
		return;
	}
	r[0] = f8_pair(lo);
	r[1] = f8_pair(hi);
}

/* Four signed bytes times a scale.  A byte after 0x4b is 2^23 more than it is. */
static __device__ __forceinline__ void
code_quad(uint32_t r[2], uint32_t four, float scale)
{
	float v[4];

	four ^= 0x80808080;
#pragma unroll
	for (int i = 0; i < 4; i++)
		v[i] = (__uint_as_float(__byte_perm(four, 0x4b000000, 0x7440 | i)) - (0x1p23f + 128)) * scale;
	r[0] = bf16_pair(v[0], v[1]);
	r[1] = bf16_pair(v[2], v[3]);
}

/* Levels i .. i+3 of Q4 as bytes. */
EVERYWHERE constexpr uint32_t
levels_word(int i)
{
	const signed char levels[16] = { QUANT_LEVELS };

	return (uint32_t)(unsigned char)levels[i] | (uint32_t)(unsigned char)levels[i + 1] << 8 |
	    (uint32_t)(unsigned char)levels[i + 2] << 16 | (uint32_t)(unsigned char)levels[i + 3] << 24;
}

/* The levels of four codes, each in the low half of its byte. */
static __device__ __forceinline__ uint32_t
levels_of(uint32_t codes)
{
	constexpr uint32_t l0 = levels_word(0), l1 = levels_word(4), l2 = levels_word(8), l3 = levels_word(12);
	uint32_t two = codes | codes >> 4;
	uint32_t which = (two & 0xff) | (two >> 8 & 0xff00);            /* four codes of 4 bits */
	uint32_t low = __byte_perm(l0, l1, which & 0x7777), high = __byte_perm(l2, l3, which & 0x7777);
	uint32_t upper = __byte_perm(0xff00, 0, which >> 3 & 0x1111);   /* 0xff where the code is 8 or more */

	return (high & upper) | (low & ~upper);
}

/* Quad q of a slot as BF16: columns 0 and 1, 2 and 3.  Q8 and Q4 have a scale, Q4 another for its
 * quads from 4 on. */
template <enum dtype D> static __device__ __forceinline__ void
slot_quad(uint32_t r[2], const uint4 &slot, int q, const float scale[2])
{
	const uint32_t v[4] = { slot.x, slot.y, slot.z, slot.w };

	if (D == F8_E4M3) {
		f8_quad(r, v[q & 3]);
	} else if (D == BF16) {
		r[0] = flush_pair(v[2 * (q & 1)]);
		r[1] = flush_pair(v[2 * (q & 1) + 1]);
	} else if (D == F16) {
#pragma unroll
		for (int i = 0; i < 2; i++) {
			uint32_t two = v[2 * (q & 1) + i];

			r[i] = bf16_pair(float_of_half((uint16_t)(two & 0xffff)), float_of_half((uint16_t)(two >> 16)));
		}
	} else if (D == F32) {
		r[0] = bf16_pair(__uint_as_float(v[0]), __uint_as_float(v[1]));
		r[1] = bf16_pair(__uint_as_float(v[2]), __uint_as_float(v[3]));
	} else if (D == Q8) {
		code_quad(r, v[q & 3], scale[0]);
	} else {
		code_quad(r, levels_of(q < 4 ? v[q & 3] & 0x0f0f0f0f : v[q & 3] >> 4 & 0x0f0f0f0f), scale[q / 4]);
	}
}

/*
 * What becomes of a product:
 * END_PLAIN: out = x w.
 * END_SILU:  out[pair] = silu(gate x) * (up x), x being the row of the pair.
 * END_ADD:   the epilogue adds down x, x being row `pair`.
 */
enum bf16_end { END_PLAIN, END_SILU, END_ADD };

struct bf16_args : product {
	enum bf16_end end;
	bool x_quads, w_slots;          /* all rows of x, of w are aligned to 16 bytes and whole quads, slots */
};

/* Columns col .. col+3 of a row of x, zero after the last; row NULL: zeros. */
static __device__ __forceinline__ float4
x_quad(const float *row, int col, int K, bool quads)
{
	float4 v = { 0, 0, 0, 0 };

	if (!row || col >= K)
		return v;
	if (quads)
		return __ldg((const float4 *)(row + col));
	v.x = row[col];
	v.y = col + 1 < K ? row[col + 1] : 0;
	v.z = col + 2 < K ? row[col + 2] : 0;
	v.w = col + 3 < K ? row[col + 3] : 0;
	return v;
}

/* The transposed product (matmul_t_bf16.cu). */
int matmul_t_bf16(struct gpu *g, const struct product *p);

#endif
