/*
 * Twins of the instructions of kernels/cuda/ptx_fp8.cuh.  wgmma is done when it is given, by each warp for its own
 * 16 outputs, from what its descriptors say of shared memory.
 */
#ifndef DS_EMULATE_FP8_H
#define DS_EMULATE_FP8_H

#include <string.h>

#include "emulate.h"

#include "cpu/cpu.h"

struct emulate_mma_e4m3 {
	float *d;
	const uint32_t *a, *b;
};

static inline float
emulate_e4m3(const uint32_t *from, int byte)
{
	return float_of_f8((uint8_t)(from[byte / 4] >> byte % 4 * 8));
}

/* Byte k of row r (0 .. 15) of A, or column r (0 .. 7) of B, as the lanes hold them. */
static inline float
emulate_e4m3_a(void *lane[32], int r, int k)
{
	const struct emulate_mma_e4m3 *l = (const struct emulate_mma_e4m3 *)lane[r % 8 * 4 + k % 16 / 4];

	return emulate_e4m3(l->a + r / 8 + k / 16 * 2, k % 4);
}

static inline float
emulate_e4m3_b(void *lane[32], int r, int k)
{
	const struct emulate_mma_e4m3 *l = (const struct emulate_mma_e4m3 *)lane[r * 4 + k % 16 / 4];

	return emulate_e4m3(l->b + k / 16, k % 4);
}

static inline void
emulate_mma_e4m3(void *lane[32])
{
	float sum[16][8];

	for (int r = 0; r < 16; r++)
		for (int c = 0; c < 8; c++) {
			sum[r][c] = ((struct emulate_mma_e4m3 *)lane[r % 8 * 4 + c / 2])->d[r / 8 * 2 + c % 2];
			for (int k = 0; k < 32; k++)
				sum[r][c] += emulate_e4m3_a(lane, r, k) * emulate_e4m3_b(lane, c, k);
		}
	for (int r = 0; r < 16; r++)
		for (int c = 0; c < 8; c++)
			((struct emulate_mma_e4m3 *)lane[r % 8 * 4 + c / 2])->d[r / 8 * 2 + c % 2] = sum[r][c];
}

static inline void
mma_e4m3(float d[4], const uint32_t a[4], const uint32_t b[2])
{
	struct emulate_mma_e4m3 mine = {d, a, b};

	emulate_warp(0xffffffff, &mine, emulate_mma_e4m3);
}

/* --- wgmma --- */

static inline uintptr_t
emulate_shared_base(void)
{
	return (uintptr_t)emulate_shared() & ~(uintptr_t)1023;
}

static inline uint64_t
wgmma_address(const unsigned char *p)
{
	return (uint64_t)((uintptr_t)p - emulate_shared_base());
}

/* Byte k of row r of the tile that a descriptor names. */
static inline float
emulate_tile(uint64_t descriptor, int r, int k)
{
	uint64_t at = (descriptor & 0x3fff) << 4, eight = (descriptor >> 32 & 0x3fff) << 4;

	if (descriptor >> 62 != 1)
		emulate_die("a descriptor that is not of 128-byte swizzle");
	at += (uint64_t)(r / 8) * eight + (uint64_t)(r % 8) * 128 + (uint64_t)k;
	at ^= (at >> 7 & 7) << 4;
	return float_of_f8(*(const uint8_t *)(emulate_shared_base() + at));
}

template <int N> static inline void
wgmma_e4m3(float d[N / 2], uint64_t from_a, uint64_t from_b, int more)
{
	int lane = (int)emulate_lane(), warp = (int)threadIdx.x / 32 % 4;

	emulate_warp(0xffffffff, NULL, NULL);
	for (int i = 0; i < N / 2; i++) {
		int out = warp * 16 + lane / 4 + (i & 2) * 4, row = i / 4 * 8 + lane % 4 * 2 + (i & 1);
		float sum = more ? d[i] : 0;

		for (int k = 0; k < 32; k++)
			sum += emulate_tile(from_a, out, k) * emulate_tile(from_b, row, k);
		d[i] = sum;
	}
	emulate_warp(0xffffffff, NULL, NULL);
}

static inline void
wgmma_begin(void)
{
}

static inline void
wgmma_done(void)
{
}

static inline void
wgmma_publish(void)
{
}

template <int N> static inline void
wgmma_hold(float *)
{
}

static inline void
copy4(void *to, const void *from, bool there)
{
	emulate_async(to, from, there ? 4 : 0, there ? 0 : 4);
}

#endif
