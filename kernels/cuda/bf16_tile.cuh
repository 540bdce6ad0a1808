/*
 * The tile of outputs that a block of gemv_bf16.cuh or gemm_bf16.cuh computes: where its weights
 * and rows of x are, and where its products go.
 */
#ifndef DS_BF16_TILE_CUH
#define DS_BF16_TILE_CUH

#include "bf16.cuh"

/* What a block works on. */
struct tile {
	const struct mat *w[2];         /* of the rows 0..7 and 8..15 of each sixteen: the same, or gate and up */
	int first, rows;                /* where output 0 is in w, and how many there are */
	int out;                        /* the block's first output */
	int from, n;                    /* rows of x, or pairs */
	int head;
};

/* What a lane reads of the weights: rows g and g + 8 of its tiles; NULL where there is none. */
template <int MT> struct lane_rows {
	const unsigned char *at[2 * MT], *groups[2 * MT];
};

/* 0 where there is nothing for this block to do. */
static __device__ bool
tile_of(struct tile *t, const struct bf16_args *j, int outs, int rows)
{
	const struct mlp *m;
	struct expert_tile p;

	t->out = (int)blockIdx.x * outs;
	t->head = (int)blockIdx.z;
	t->first = j->first + t->head * j->step;
	t->rows = j->rows;
	t->w[0] = t->w[1] = &j->w;
	if (!j->tiles) {
		t->from = (int)blockIdx.y * rows;
		t->n = min(rows, j->T - t->from);
		return true;
	}
	p = j->tiles[blockIdx.y];
	m = &j->mlps[p.expert];
	t->from = p.first;
	t->n = p.n;
	t->w[0] = j->end == END_SILU ? &m->gate : &m->down;
	t->w[1] = j->end == END_SILU ? &m->up : &m->down;
	return p.n > 0;
}

/* The output that row i of the tile belongs to. */
static __device__ __forceinline__ int
tile_output(const struct tile *t, const struct bf16_args *j, int i)
{
	return t->out + (j->end == END_SILU ? i / 16 * 8 + i % 8 : i);
}

/* Row i of x; NULL where there is none. */
static __device__ __forceinline__ const float *
tile_x(const struct tile *t, const struct bf16_args *j, int i)
{
	int row = t->from + i;

	if (i >= t->n)
		return NULL;
	if (j->end == END_SILU)
		row = j->epilogue.row[row];
	return j->x + t->head * j->x_step + row * j->ldx;
}

/* The scales of row i of the tile by blocks, NULL where all are 1. */
template <enum dtype D> static __device__ __forceinline__ const float *
tile_scale(const struct tile *t, const struct bf16_args *j, int i)
{
	const struct mat *w = t->w[i / 8 % 2];
	int o = tile_output(t, j, i);

	if (D != F8_E4M3 || !w->scale || o >= t->rows)
		return NULL;
	return w->scale + (size_t)(w->row0 + t->first + o) / BLOCK * (size_t)w->scale_cols;
}

template <enum dtype D, int MT> static __device__ __forceinline__ void
lane_find(struct lane_rows<MT> *l, const struct tile *t, const struct bf16_args *j, int from)
{
	const size_t bytes = row_bytes(D, j->w.cols);
#pragma unroll
	for (int s = 0; s < 2 * MT; s++) {
		int o = tile_output(t, j, from + s * 8 + (int)threadIdx.x % 32 / 4);
		const struct mat *w = t->w[s % 2];
		size_t row = (size_t)t->first + (size_t)o;

		l->at[s] = o < t->rows ? (const unsigned char *)w->data + row * bytes : NULL;
		l->groups[s] = (D == Q8 || D == Q4) && o < t->rows ? w->groups + row * mat_groups(w) : NULL;
	}
}

/* The slot at byte `off` of a row that is not whole slots, or not aligned.  After the end of the
 * row it has something finite, since x has zeros there. */
template <enum dtype D> static __device__ uint4
slot_slow(const unsigned char *at, size_t off, size_t bytes, int K)
{
	uint32_t v[4] = { 0, 0, 0, 0 };

	for (int i = 0; i < 16 && at && off + i < bytes; i++) {
		uint32_t b = at[off + i];
		int col = (int)off * 2 + i;                             /* Q4: of the low half */

		if (D == Q4 && col >= K)
			b = 0x88;                                       /* a level that no scale takes to infinity */
		else if (D == Q4 && col + 16 >= K)
			b = (b & 15) | 0x80;
		v[i / 4] |= b << i % 4 * 8;
	}
	return { v[0], v[1], v[2], v[3] };
}

/* Begin to copy a chunk of the lane's rows to its places in the ring, which are `apart`.  once:
 * NULL, or the policy where no other block will read them. */
template <enum dtype D, int MT> static __device__ __forceinline__ void
lane_fetch(uint4 *to, int apart, const struct lane_rows<MT> *l, const struct tile *t, const struct bf16_args *j, int chunk,
    const uint64_t *once)
{
	const size_t bytes = row_bytes(D, j->w.cols), off = (size_t)chunk * CHUNK + threadIdx.x % 4 * 16;
#pragma unroll
	for (int s = 0; s < 2 * MT; s++) {
		const bool there = l->at[s] && off < bytes;
		const void *from = there ? l->at[s] + off : t->w[0]->data;

		if (!j->w_slots)
			to[s * apart] = slot_slow<D>(l->at[s], off, bytes, j->w.cols);
		else if (once)
			copy_async_once(to + s * apart, from, there ? 16 : 0, *once);
		else
			copy_async(to + s * apart, from, there ? 16 : 0);
	}
	copy_commit();
}

/* The scales of the lane's slots of a chunk, Q8 and Q4. */
template <enum dtype D, int MT> static __device__ __forceinline__ void
lane_scales(float scale[2 * MT][2], const struct lane_rows<MT> *l, const struct tile *t, int K, int chunk)
{
	const int per = D == Q4 ? 2 : 1, slot = chunk * 4 + (int)threadIdx.x % 4;

#pragma unroll
	for (int s = 0; s < 2 * MT; s++)
#pragma unroll
		for (int i = 0; i < per && (D == Q8 || D == Q4); i++) {
			int group = slot * per + i;

			scale[s][i] = l->groups[s] && group * QUANT_GROUP < K ?
			    float_of_f8(__ldg(l->groups[s] + group)) * t->w[s % 2]->factor : 0;
		}
}

/* A of one step, from the slots of rows g and g + 8. */
template <enum dtype D> static __device__ __forceinline__ void
step_weights(uint32_t a[4], const uint4 slot[2], int q, const float scale[2][2])
{
	uint32_t low[2], high[2];

	slot_quad<D>(low, slot[0], q, scale[0]);
	slot_quad<D>(high, slot[1], q, scale[1]);
	a[0] = low[0], a[1] = high[0], a[2] = low[1], a[3] = high[1];
}

/* Products y, and in END_SILU those of up, of output o and row or pair i of the block go where they
 * belong. */
static __device__ __forceinline__ void
tile_end(const struct bf16_args *j, const struct tile *t, int o, int i, float y, float up)
{
	if (o >= t->rows || i >= t->n)
		return;
	i += t->from;
	if (j->end == END_ADD)
		epilogue_add(&j->epilogue, i, o, y);
	else
		j->out[t->head * j->out_step + i * j->ldo + o] =
		    j->end == END_SILU ? silu_mul_one(canonical(y), canonical(up)) : canonical(y);
}

#endif
