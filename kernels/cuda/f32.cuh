/*
 * Products in float32 on ordinary cores, with the bits of cpu/matmul_ref.c: each output is the same
 * 16 lanes, each the same chain, then the same tree.  Which thread has which lanes is free.
 *
 * gemv_f32.cu is for few rows of x, where reading weights takes the time.  gemm_f32.cu is for more,
 * where each fetched weight serves as many rows as there are registers, and for all shapes that
 * wide loads do not fit.  gemm_t_f32.cu is the transposed product.  struct product describes each.
 */
#ifndef DS_F32_CUH
#define DS_F32_CUH

#include "launch.cuh"
#include "products.h"
#include "epilogue.cuh"

#include "cpu/cpu.h"

enum { ANY = DTYPES_ALL };              /* for any dtype: element by element */
enum { GEMV_ROWS = 4, GEMM_ROWS = 32 };            /* rows of x that a block takes, at most */
#define ALL_LANES 0xffffffffu           /* threads of a warp that take part in a shuffle */

/* What one block computes: T rows of x, the first being row `at` of all. */
struct tile {
	struct mat w;
	int first, rows;                /* of w */
	int at, T;
	const float *x;
	float *out;
};

/* Blocks are (tiles of outputs, tiles of `most` rows or of experts, heads or matrices).  0: nothing
 * to do. */
static __device__ __forceinline__ int
tile_of(struct tile *p, const struct product *k, int most)
{
	if (k->tiles) {
		const struct expert_tile e = k->tiles[blockIdx.y];

		p->T = e.n;
		if (p->T == 0)
			return 0;
		p->at = e.first;
		p->w = !k->row ? k->mlps[e.expert].down : blockIdx.z ? k->mlps[e.expert].up : k->mlps[e.expert].gate;
		p->first = 0;
		p->rows = p->w.rows;
		p->x = k->x;
		p->out = k->out + (ptrdiff_t)blockIdx.z * k->out_step;
		return 1;
	}
	p->at = (int)blockIdx.y * most;
	p->T = k->T - p->at < most ? k->T - p->at : most;
	p->w = k->w;
	p->first = k->first + (int)blockIdx.z * k->step;
	p->rows = k->rows;
	p->x = k->x + (ptrdiff_t)blockIdx.z * k->x_step;
	p->out = k->out + (ptrdiff_t)blockIdx.z * k->out_step;
	return 1;
}

/* Row t < T of the tile's x. */
static __device__ __forceinline__ const float *
tile_x(const struct tile *p, const struct product *k, int t)
{
	return p->x + (ptrdiff_t)(k->row ? k->row[p->at + t] : p->at + t) * k->ldx;
}

static __device__ __forceinline__ void
tile_put(const struct tile *p, const struct product *k, int t, int n, float sum)
{
	if (k->epilogue.acc)
		epilogue_add(&k->epilogue, p->at + t, n, sum);
	else
		p->out[(ptrdiff_t)(p->at + t) * k->ldo + n] = canonical(sum);
}

/* Four E4M3, the first in the lowest byte.  By way of binary16 where the GPU has an instruction for
 * that.  Else their bits, moved to the places of a float32's, are 2^-120 of them. */
static __device__ __forceinline__ void
floats_of_f8(float to[4], uint32_t b)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
#pragma unroll
	for (int i = 0; i < 4; i += 2)
		asm("{\n\t.reg .b16 two, l, h;\n\t.reg .b32 halves;\n\t"
		    "cvt.u16.u32 two, %2;\n\t"
		    "cvt.rn.f16x2.e4m3x2 halves, two;\n\t"
		    "mov.b32 {l, h}, halves;\n\t"
		    "cvt.f32.f16 %0, l;\n\tcvt.f32.f16 %1, h;\n\t}" : "=f"(to[i]), "=f"(to[i + 1]) : "r"(b >> 8 * i));
#else
#pragma unroll
	for (int i = 0; i < 4; i++)
		to[i] = float_of_bits((uint32_t)((int32_t)(b << (24 - 8 * i)) >> 4) & 0x87f00000) * 0x1p120f;
	if (((b & 0x7f7f7f7f) + 0x01010101) & 0x80808080)       /* one is not a number */
		for (int i = 0; i < 4; i++)
			to[i] = float_of_f8((uint8_t)(b >> 8 * i));
#endif
}

/* The groups of row n. */
static __device__ __forceinline__ const unsigned char *
row_groups(const struct mat *w, int n)
{
	return w->groups + (size_t)n * mat_groups(w);
}

/* Do all rows of x, and of all heads, begin at 16 bytes? */
static __host__ __device__ __forceinline__ int
product_wide_x(const struct product *k)
{
	return (uintptr_t)k->x % 16 == 0 && k->ldx % 4 == 0 && k->x_step % 4 == 0;
}

/* Sums over columns can load 16 bytes everywhere, and 16 columns at once. */
static inline int
product_wide(const struct product *k)
{
	return product_wide_x(k) && k->w.cols % LANES == 0 && (uintptr_t)k->w.data % 16 == 0;
}

/* Put the product on the stream.  product_gemv has tiles of `most` rows, 1 or GEMV_ROWS, and only
 * wide tasks; product_gemm has tiles of GEMM_ROWS.  product_gemm_t has heads only. */
int product_gemv(struct gpu *g, const struct product *k, int most);
int product_gemm(struct gpu *g, const struct product *k);
int product_gemm_t(struct gpu *g, const struct product *k);

#endif
