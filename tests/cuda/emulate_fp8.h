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

void emulate_mma_e4m3(void *lane[32]);

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

struct emulate_wgmma {
	float *d;
	uint64_t from_a, from_b;
	int N, more;
};

void emulate_wgmma_all(void *lane[32]);

template <int N> static inline void
wgmma_e4m3(float d[N / 2], uint64_t from_a, uint64_t from_b, int more)
{
	struct emulate_wgmma mine = { d, from_a, from_b, N, more };

	emulate_warp(0xffffffff, &mine, emulate_wgmma_all);
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
