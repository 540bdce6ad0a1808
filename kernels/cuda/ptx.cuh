/*
 * Instructions that CUDA C does not name: products of tiles by tensor cores, asynchronous copies to
 * shared memory, conversions two at a time.  tests/cuda/emulate_ptx.h has each in plain C++.
 *
 * A fragment is what the 32 lanes of a warp hold of a tile.  Lane l is g = l / 4, c = l % 4; a
 * register holds two BF16, the one of the lower index in its lower half:
 *	A, 16x16	a[0] (g, 2c), a[1] (g + 8, 2c), a[2] (g, 2c + 8), a[3] (g + 8, 2c + 8), each with its right neighbour
 *	B, 16x8		b[0] (2c, g), b[1] (2c + 8, g), each with the one below it
 *	D, 16x8		d[0] (g, 2c), d[1] (g, 2c + 1), d[2] (g + 8, 2c), d[3] (g + 8, 2c + 1), float
 */
#ifndef DS_PTX_CUH
#define DS_PTX_CUH

#include "launch.cuh"

/* In front of a loop whose counter is known to the compiler: registers have no indices. */
#ifdef __CUDACC__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL
#endif

#ifdef DS_EMULATED
#include "emulate_ptx.h"
#else

/* d += a b.  The 16 products of each element and d are added in an order that the hardware has. */
static __device__ __forceinline__ void
mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
	    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

static __device__ __forceinline__ unsigned
shared_address(const void *p)
{
	return (unsigned)__cvta_generic_to_shared(p);
}

/* Four tiles of 8x8 BF16 from shared memory: lanes 8i .. 8i + 7 name the rows of tile i, each 16
 * bytes and aligned to them; r[i] is lane (g, c)'s (g, 2c) of it and its right neighbour. */
static __device__ __forceinline__ void
ldmatrix_x4(uint32_t r[4], const void *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
	    : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}

/* The same of the tiles transposed: r[i] is (2c, g) of tile i and the one below it. */
static __device__ __forceinline__ void
ldmatrix_x4_trans(uint32_t r[4], const void *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
	    : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}

/* Begin to copy the first n (0 .. 16) of 16 bytes to shared memory, and zeros for the others; both
 * addresses are aligned to 16 bytes.  This thread sees them after copy_wait, other threads after a
 * barrier that follows it.  A kernel waits for all of its copies before it ends. */
static __device__ __forceinline__ void
copy_async(void *shared, const void *from, int n)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" : : "r"(shared_address(shared)), "l"(from), "r"(n) : "memory");
}

/* The policy for copy_async_once: data that is read once and need not stay in L2. */
static __device__ __forceinline__ uint64_t
policy_once(void)
{
	uint64_t p;

	asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(p));
	return p;
}

static __device__ __forceinline__ void
copy_async_once(void *shared, const void *from, int n, uint64_t policy)
{
	asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2, %3;"
	    : : "r"(shared_address(shared)), "l"(from), "r"(n), "l"(policy) : "memory");
}

/* The copies since the last commit are a group. */
static __device__ __forceinline__ void
copy_commit(void)
{
	asm volatile("cp.async.commit_group;" : : : "memory");
}

/* Until all groups but the last N are there. */
template <int N> static __device__ __forceinline__ void
copy_wait(void)
{
	asm volatile("cp.async.wait_group %0;" : : "n"(N) : "memory");
}

/* Two numbers as BF16, lo in the lower half: rounded to nearest even, what is subnormal a zero, a
 * NaN one (cpu.h, bf16_of_float). */
static __device__ __forceinline__ uint32_t
bf16_pair(float lo, float hi)
{
	uint32_t r;

	asm("{\n\t.reg .f32 l, h;\n\t"
	    "mul.rn.ftz.f32 l, %1, 0f3f800000;\n\t"
	    "mul.rn.ftz.f32 h, %2, 0f3f800000;\n\t"
	    "cvt.rn.bf16x2.f32 %0, h, l;\n\t}" : "=r"(r) : "f"(lo), "f"(hi));
	return r;
}

/* Two products of BF16, each rounded; subnormal numbers are kept. */
static __device__ __forceinline__ uint32_t
bf16_pair_times(uint32_t a, uint32_t b)
{
	uint32_t r;

	asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(0x80008000u));
	return r;
}

/* A binary16 as float. */
static __device__ __forceinline__ float
float_of_half(uint16_t h)
{
	float x;

	asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
	return x;
}

#endif
#endif
