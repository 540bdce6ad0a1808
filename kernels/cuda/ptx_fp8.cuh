/*
 * The instructions of the tensor cores for E4M3: mma.sync of 16 outputs by 8 rows by 32 columns
 * (from compute capability 8.9 on), and wgmma of 64 outputs by N rows by 32 columns (9.0 alone),
 * which reads both sides from shared memory. Both leave sums alike: of a warp's 16 outputs by N
 * rows, thread 4 g + i of it holds in d[4 j .. 4 j + 3] those of output g for rows 8 j + 2 i and 8
 * j + 2 i + 1, then of output g + 8 for the same rows.
 *
 * A tile is rows of 128 bytes, its beginning aligned to 1024: the chunk of 16 bytes c of row r lies
 * where the chunk c ^ (r & 7) would, so that neither the copy in nor the reading hits a bank twice.
 */
#ifndef DS_PTX_FP8_CUH
#define DS_PTX_FP8_CUH

#include "launch.cuh"
#include "ptx.cuh"

#define TILE_ROW 128

static __device__ __forceinline__ int
tile_at(int row, int chunk)
{
	return row * TILE_ROW + ((chunk ^ (row & 7)) << 4);
}

#ifdef DS_EMULATED
#include "emulate_fp8.h"
#else

/* d += a b. */
static __device__ __forceinline__ void
mma_e4m3(float d[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 890
	asm volatile("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
	(void)d, (void)a, (void)b;
	__trap();
#endif
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define D8(i) D4(i), D4(i + 4)
#define D16(i) D8(i), D8(i + 8)
#define D32(i) D16(i), D16(i + 16)
#define D64(i) D32(i), D32(i + 32)
#define S4 "%0,%1,%2,%3"
#define S8 S4 ",%4,%5,%6,%7"
#define S16 S8 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define S32 S16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define S64 S32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
    "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define WGMMA(n, S, D, a, b, p) \
	asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" p ", 0;\n" \
	    "wgmma.mma_async.sync.aligned.m64n" n "k32.f32.e4m3.e4m3 {" S "}, %" a ", %" b ", p, 1, 1;\n}\n" \
	    : D : "l"(from_a), "l"(from_b), "r"(more))
#endif

/* d = a b, or d += a b with more, of the four warps that call it together; a and b are descriptors
 * (tile_descriptor). It has happened after wgmma_done; d must not be touched between. */
template <int N> static __device__ __forceinline__ void
wgmma_e4m3(float d[N / 2], uint64_t from_a, uint64_t from_b, int more)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
	if constexpr (N == 8)
		WGMMA("8", S4, D4(0), "4", "5", "6");
	else if constexpr (N == 16)
		WGMMA("16", S8, D8(0), "8", "9", "10");
	else if constexpr (N == 32)
		WGMMA("32", S16, D16(0), "16", "17", "18");
	else if constexpr (N == 64)
		WGMMA("64", S32, D32(0), "32", "33", "34");
	else
		WGMMA("128", S64, D64(0), "64", "65", "66");
#else
	(void)d, (void)from_a, (void)from_b, (void)more;
	__trap();
#endif
}

static __device__ __forceinline__ void
wgmma_begin(void)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
	asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

static __device__ __forceinline__ void
wgmma_done(void)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
	asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
#endif
}

/* The compiler knows nothing of when wgmma writes d: here it must have done what came before with
 * it, and nothing yet of what comes after. */
template <int N> static __device__ __forceinline__ void
wgmma_hold(float d[N])
{
#pragma unroll
	for (int i = 0; i < N; i++)
		asm volatile("" : "+f"(d[i]) :: "memory");
}

static __device__ __forceinline__ uint64_t
wgmma_address(const unsigned char *p)
{
	return shared_address(p);
}

/* What this thread has stored to shared memory, wgmma sees after the next barrier. */
static __device__ __forceinline__ void
wgmma_publish(void)
{
#if __CUDA_ARCH__ >= 900
	asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

/* Four bytes into shared memory; zeros where there is nothing to copy. */
static __device__ __forceinline__ void
copy4(void *to, const void *from, bool there)
{
	asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
	    :: "r"(shared_address(to)), "l"(from), "r"(there ? 4 : 0) : "memory");
}

#endif

/* How wgmma finds a tile, from the byte `at` of its rows on: their address in units of 16 bytes,
 * 1024 bytes from eight rows to the next eight, the pattern above ("128-byte swizzle"). */
static __device__ __forceinline__ uint64_t
tile_descriptor(const unsigned char *tile, int at)
{
	return (wgmma_address(tile + at) & 0x3ffff) >> 4 | (uint64_t)1 << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

#endif
