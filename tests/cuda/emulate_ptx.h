/* The twins of the instructions in kernels/cuda/ptx.cuh, for the GPU emulated on the CPU. */
#ifndef DS_EMULATE_PTX_H
#define DS_EMULATE_PTX_H

#include "cpu/cpu.h"

/* The BF16 at the half `i` of a register. */
static inline float
emulate_half(uint32_t r, int i)
{
	return float_of_bits(i ? r & 0xffff0000 : r << 16);
}

struct emulate_mma {
	float *d;
	const uint32_t *a, *b;
};

void emulate_mma_all(void *lane[32]);

static inline void
mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
	struct emulate_mma mine = { d, a, b };

	emulate_warp(~0u, &mine, emulate_mma_all);
}

struct emulate_ldmatrix {
	uint32_t *r;
	const void *row;
	int trans;
};

void emulate_ldmatrix_all(void *lane[32]);

static inline void
ldmatrix_x4(uint32_t r[4], const void *row)
{
	struct emulate_ldmatrix mine = { r, row, 0 };

	emulate_warp(~0u, &mine, emulate_ldmatrix_all);
}

static inline void
ldmatrix_x4_trans(uint32_t r[4], const void *row)
{
	struct emulate_ldmatrix mine = { r, row, 1 };

	emulate_warp(~0u, &mine, emulate_ldmatrix_all);
}

static inline void
copy_async(void *shared, const void *from, int n)
{
	if ((size_t)shared % 16 || (size_t)from % 16 || n < 0 || n > 16)
		emulate_die("cp.async of %d bytes from %p to %p", n, from, shared);
	emulate_async(shared, from, (size_t)n, (size_t)(16 - n));
}

static inline uint64_t
policy_once(void)
{
	return 0;
}

static inline void
copy_async_once(void *shared, const void *from, int n, uint64_t)
{
	copy_async(shared, from, n);
}

static inline void
copy_commit(void)
{
	emulate_async_commit();
}

template <int N> static inline void
copy_wait(void)
{
	emulate_async_wait(N);
}

static inline uint32_t
bf16_pair(float lo, float hi)
{
	return bits_of_float(bf16_of_float(lo)) >> 16 | (bits_of_float(bf16_of_float(hi)) & 0xffff0000);
}

/* The product of two BF16 as one: exact in float32 unless it is subnormal, where a double holds it. */
static inline uint32_t
emulate_times(float a, float b)
{
	double p = (double)a * (double)b;
	uint32_t bits = bits_of_float((float)p);

	if (p != p)
		return 0x7fff;
	return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static inline uint32_t
bf16_pair_times(uint32_t a, uint32_t b)
{
	return emulate_times(emulate_half(a, 0), emulate_half(b, 0)) | emulate_times(emulate_half(a, 1), emulate_half(b, 1)) << 16;
}

static inline float
float_of_half(uint16_t h)
{
	return float_of_f16(h);
}

#endif
