/*
 * What the files of attention share.  The context of a row is cut into parts at fixed positions.  A
 * kernel of attend_f32.cu or attend_bf16.cu writes the result of each part to a slot, and attend.cu
 * joins the slots in order.  So the bits of a row depend neither on how many parts are computed at
 * once nor on the other rows.
 */
#ifndef DS_ATTEND_CUH
#define DS_ATTEND_CUH

#include "cpu/cpu.h"
#include "launch.cuh"

struct attend_args {             /* rows of one launch */
	const float *query;             /* [rows][H][key] */
	const uint32_t *pos;            /* [rows] */
	const int32_t *list;            /* [rows] */
	void *const *pages;
	struct kv_shape kv;
	size_t key_pitch, value_pitch;  /* bytes from a key, a value, to the next */
	size_t value_at, head_bytes;    /* of a key head in a page: where its values begin, and all of it */
	int rows, H;
	int window;                     /* how many last positions a row sees; 0: all */
	float scale;
	int positions;                  /* of a part */
	int first, parts;               /* parts first .. first + parts - 1 */
	float *o;                       /* slots: [rows][parts][H][value], unset where nothing is seen */
	float *bmax, *bsum;             /* [rows][parts][H] */
};

struct probs_args {
	float *probs;                   /* [rows][H][positions] */
	size_t positions;
	const float *max, *sum;         /* [rows][H] */
};

/* What a block computes: query heads h .. of row t, all of one key head, over positions from ..
 * n - 1 of its part, which the row sees; n is 0 or less where it sees none. */
struct attend_block {
	int t, h, heads, from, n;
	int first;                      /* of the part's pages, in the list of all pages */
	size_t head;                    /* byte of the key head in a page */
};

/* The first position that a row at pos sees. */
static inline __host__ __device__ uint32_t
attend_first(const struct attend_args *a, uint32_t pos)
{
	return a->window == 0 || pos < (uint32_t)a->window ? 0 : pos + 1 - (uint32_t)a->window;
}

/* How many query heads read one key head. */
static inline __host__ __device__ int
attend_group(const struct attend_args *a)
{
	return a->H / a->kv.heads;
}

/* Blocks of `heads` query heads that one row takes. */
static inline __host__ __device__ int
attend_blocks(const struct attend_args *a, int heads)
{
	return a->kv.heads * ((attend_group(a) + heads - 1) / heads);
}

static inline dim3
attend_grid(const struct attend_args *a, int heads)
{
	return dim3((unsigned)a->rows * (unsigned)attend_blocks(a, heads), (unsigned)a->parts);
}

/* The block of a grid that attend_grid made: x is a row's heads, y the part. */
static inline __device__ struct attend_block
attend_block_of(const struct attend_args *a, int heads)
{
	const int blocks = attend_blocks(a, heads), tiles = blocks / a->kv.heads, x = (int)blockIdx.x % blocks;
	const int from = x % tiles * heads, group = attend_group(a);
	const uint32_t at = (uint32_t)(a->first + (int)blockIdx.y) * (uint32_t)a->positions;
	struct attend_block b;
	int64_t left, before;

	b.t = (int)blockIdx.x / blocks;
	b.h = x / tiles * group + from;
	b.heads = group - from < heads ? group - from : heads;
	left = (int64_t)a->pos[b.t] + 1 - (int64_t)at;
	b.n = left < a->positions ? (int)left : a->positions;
	before = (int64_t)attend_first(a, a->pos[b.t]) - (int64_t)at;
	b.from = before < 0 ? 0 : before < a->positions ? (int)before : a->positions;
	if (b.from >= b.n)
		b.n = 0;
	b.first = a->list[b.t] + (int)(at / CACHE_PAGE);
	b.head = (size_t)(x / tiles) * a->head_bytes;
	return b;
}

/* The keys [CACHE_PAGE] of the block's key head in page i of its part; its values are value_at
 * bytes on. */
static inline __device__ const unsigned char *
attend_keys(const struct attend_args *a, const struct attend_block *b, int i)
{
	return (const unsigned char *)a->pages[b->first + i] + b->head;
}

/* Each fills the slots of its parts.  plain: a part is a page, the sums are those of f32, from
 * caches of F32 or BF16.  tiles: tensor cores, from BF16, for shapes that fit and where a block can
 * have enough shared memory. */
int attend_plain(struct gpu *g, const struct attend_args *a, enum precision p);
int attend_tiles(struct gpu *g, const struct attend_args *a);
int attend_tiles_fit(const struct gpu *g, const struct kv_shape *kv);

/* a: one "part" for each page of the positions. */
int attend_probs(struct gpu *g, const struct attend_args *a, const struct probs_args *to, enum precision p);

/* The functions of the table that are in kv_append.cu. */
extern "C" int gpu_angles(struct gpu *g, float *cosine, float *sine, const uint32_t *pos, int T,
    const double *freq, int half, double factor);
extern "C" int gpu_kv_append(struct gpu *g, const struct kv_append *a, const struct kv_rows *rows,
    enum precision p);

#endif
