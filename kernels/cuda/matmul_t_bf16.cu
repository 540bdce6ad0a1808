/*
 * The transposed products of bf16.  A warp has 8 slots of neighbouring columns, a lane one of them
 * (by its g), and of each step of 16 rows the four from 4 c on: these 4 x 8 or 4 x 16 numbers,
 * transposed in registers, are its share of A in 4 or 8 tiles of 16 columns.
 *
 * A block is the rows that share a scale, as it is of the columns in matmul: its steps count from
 * its first row, eight of them, and what is missing is zeros.
 */
#include "bf16.cuh"

enum { T_WARPS = 4, T_THREADS = 32 * T_WARPS, T_RING = 8 };

/* How a matrix is read: in slots of 16 E4M3 or 8 BF16, or by elements, 8 at a time made BF16. */
enum slots { SLOTS_F8, SLOTS_BF16, ELEMENTS };

template <enum slots F> constexpr int slot_columns = F == SLOTS_F8 ? 16 : 8;

/* The rows from .. to-1 of a head are block b. */
static __device__ __forceinline__ void
t_block(const struct bf16_args *j, int first, int b, int *from, int *to)
{
	const int lead = (int)(((size_t)j->w.row0 + (size_t)first) % BLOCK);

	*from = max(0, b * BLOCK - lead);
	*to = min(j->rows, (b + 1) * BLOCK - lead);
}

static __device__ uint4
elements(const struct mat *w, int row, int col)
{
	uint32_t v[4];
#pragma unroll
	for (int i = 0; i < 4; i++) {
		int at = col + 2 * i;

		v[i] = bf16_pair(at < w->cols ? mat_element(w, row, at) : 0, at + 1 < w->cols ? mat_element(w, row, at + 1) : 0);
	}
	return make_uint4(v[0], v[1], v[2], v[3]);
}

/* Begin to copy the lane's four slots of step q of all. */
template <enum slots F> static __device__ __forceinline__ void
t_fetch(uint4 *to, const struct bf16_args *j, int first, int col, int q)
{
	int from, end;

	t_block(j, first, q / STEPS, &from, &end);
	from += q % STEPS * 16 + (int)threadIdx.x % 4 * 4;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		const bool there = from + i < end && col < j->w.cols;
		const size_t at = ((size_t)(first + from + i) * (size_t)j->w.cols + (size_t)col) * (F == SLOTS_F8 ? 1 : 2);

		if (F == ELEMENTS)
			to[i * T_THREADS] = there ? elements(&j->w, first + from + i, col) : make_uint4(0, 0, 0, 0);
		else
			copy_async(to + i * T_THREADS, (const char *)j->w.data + (there ? at : 0), there ? 16 : 0);
	}
	copy_commit();
}

/* Word i of four rows of E4M3, transposed: one[k] has column k's. */
static __device__ __forceinline__ void
transpose(uint32_t one[4], uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	uint32_t ab = __byte_perm(a, b, 0x5140), cd = __byte_perm(c, d, 0x5140);

	one[0] = __byte_perm(ab, cd, 0x5410);
	one[1] = __byte_perm(ab, cd, 0x7632);
	ab = __byte_perm(a, b, 0x7362);
	cd = __byte_perm(c, d, 0x7362);
	one[2] = __byte_perm(ab, cd, 0x5410);
	one[3] = __byte_perm(ab, cd, 0x7632);
}

/* A of the tiles that word i of the lane's four slots makes: two of E4M3, one of BF16. */
template <enum slots F> static __device__ __forceinline__ void
t_weights(uint32_t a[2][4], uint32_t r0, uint32_t r1, uint32_t r2, uint32_t r3)
{
	if (F == SLOTS_F8) {
		uint32_t one[4], low[2], high[2];

		transpose(one, r0, r1, r2, r3);
#pragma unroll
		for (int i = 0; i < 2; i++) {
			f8_quad(low, one[2 * i]);
			f8_quad(high, one[2 * i + 1]);
			a[i][0] = low[0], a[i][1] = high[0], a[i][2] = low[1], a[i][3] = high[1];
		}
	} else {
		a[0][0] = flush_pair(__byte_perm(r0, r1, 0x5410));
		a[0][1] = flush_pair(__byte_perm(r0, r1, 0x7632));
		a[0][2] = flush_pair(__byte_perm(r2, r3, 0x5410));
		a[0][3] = flush_pair(__byte_perm(r2, r3, 0x7632));
	}
}

/* One step: the lane's slots at `slots` with its quads of x, NT tiles of 8 rows. */
template <enum slots F, int NT> static __device__ __forceinline__ void
t_step(float sum[slot_columns<F> / 2][NT][4], const uint4 *slots, const uint32_t b[NT][2])
{
	constexpr int TILES = F == SLOTS_F8 ? 2 : 1;            /* of a word */
	uint32_t v[4][4], a[2][4];
#pragma unroll
	for (int i = 0; i < 4; i++) {
		uint4 s = slots[i * T_THREADS];

		v[i][0] = s.x, v[i][1] = s.y, v[i][2] = s.z, v[i][3] = s.w;
	}
#pragma unroll
	for (int i = 0; i < 4; i++) {
		t_weights<F>(a, v[0][i], v[1][i], v[2][i], v[3][i]);
#pragma unroll
		for (int k = 0; k < TILES; k++)
#pragma unroll
			for (int n = 0; n < NT; n++)
				mma_bf16(sum[i * TILES + k][n], a[k], b[n]);
	}
}

template <enum slots F, int NT> static __global__ void __launch_bounds__(T_THREADS)
transposed(const __grid_constant__ struct bf16_args j)
{
	constexpr int V = slot_columns<F>;
	const int tid = (int)threadIdx.x, g = tid % 32 / 4, c = tid % 4, first = j.first + (int)blockIdx.z * j.step;
	const int col = (((int)blockIdx.x * T_WARPS + tid / 32) * 8 + g) * V, t0 = (int)blockIdx.y * NT * 8;
	const size_t row = (size_t)j.w.row0 + (size_t)first;
	const int blocks = (int)((row % BLOCK + (size_t)j.rows + BLOCK - 1) / BLOCK);
	const float *x = j.x + (ptrdiff_t)blockIdx.z * j.x_step;
	float *out = j.out + (ptrdiff_t)blockIdx.z * j.out_step;
	float acc[V / 2][NT][4] = { };
	SHARED(uint4, ring);                                    /* [T_RING][4][T_THREADS] */

	if (col - g * V >= j.w.cols)
		return;                                         /* the whole warp */
	for (int q = 0; q < T_RING - 1; q++)
		t_fetch<F>(ring + q * 4 * T_THREADS + tid, &j, first, col, q);
	for (int block = 0; block < blocks; block++) {
		float sum[V / 2][NT][4] = { }, scale = 1;
		int from, to;

		t_block(&j, first, block, &from, &to);
		if (F != SLOTS_BF16 && j.w.scale && col < j.w.cols)
			scale = j.w.scale[(row / BLOCK + (size_t)block) * (size_t)j.w.scale_cols + (size_t)col / BLOCK];
		for (int q = block * STEPS; q < (block + 1) * STEPS; q++) {
			uint32_t b[NT][2];

#pragma unroll
			for (int n = 0; n < NT; n++) {
				int t = t0 + n * 8 + g;
				float4 v = x_quad(t < j.T ? x + t * j.ldx : NULL, from + q % STEPS * 16 + c * 4, to, j.x_quads);

				b[n][0] = bf16_pair(v.x, v.y);
				b[n][1] = bf16_pair(v.z, v.w);
			}
			copy_wait<T_RING - 2>();
			t_fetch<F>(ring + (q + T_RING - 1) % T_RING * 4 * T_THREADS + tid, &j, first, col, q + T_RING - 1);
			t_step<F, NT>(sum, ring + q % T_RING * 4 * T_THREADS + tid, b);
		}
#pragma unroll
		for (int m = 0; m < V / 2; m++)
#pragma unroll
			for (int n = 0; n < NT; n++)
#pragma unroll
				for (int i = 0; i < 4; i++)
					acc[m][n][i] = fmaf(scale, sum[m][n][i], acc[m][n][i]);
	}
	copy_wait<0>();
#pragma unroll
	for (int m = 0; m < V / 2; m++)
#pragma unroll
		for (int n = 0; n < NT; n++)
#pragma unroll
			for (int i = 0; i < 4; i++) {
				int t = t0 + n * 8 + 2 * c + i % 2, at = col + 2 * m + i / 2;

				if (t < j.T && at < j.w.cols)
					out[t * j.ldo + at] = canonical(acc[m][n][i]);
			}
}

template <enum slots F, int NT> static int
launch_t(struct gpu *g, const struct bf16_args *j)
{
	constexpr int COLUMNS = T_WARPS * 8 * slot_columns<F>;
	const dim3 grid((unsigned)((j->w.cols + COLUMNS - 1) / COLUMNS), (unsigned)((j->T + NT * 8 - 1) / (NT * 8)), (unsigned)j->H);

	return launch(g, transposed<F, NT>, grid, T_THREADS, sizeof(uint4) * T_RING * 4 * T_THREADS, *j);
}

int
matmul_t_bf16(struct gpu *g, const struct product *p)
{
	struct bf16_args j = {*p, END_PLAIN, false, row_bytes(p->w.dtype, p->w.cols) % 16 == 0};

	j.x_quads = (uintptr_t)p->x % 16 == 0 && p->ldx % 4 == 0 && p->x_step % 4 == 0 && p->rows % 4 == 0 &&
	    (p->w.row0 + p->first) % 4 == 0 && p->step % 4 == 0;
	if (p->w.dtype == F8_E4M3 && j.w_slots)
		return p->T <= 8 ? launch_t<SLOTS_F8, 1>(g, &j) : launch_t<SLOTS_F8, 2>(g, &j);
	if (p->w.dtype == BF16 && j.w_slots)
		return p->T <= 8 ? launch_t<SLOTS_BF16, 1>(g, &j) : launch_t<SLOTS_BF16, 4>(g, &j);
	return launch_t<ELEMENTS, 2>(g, &j);
}
