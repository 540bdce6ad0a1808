/*
 * What the files of attention share.  The context of a row is cut into parts at fixed positions; a kernel of
 * attend_f32.cu or attend_bf16.cu leaves what comes of each part in slots, as page_read of
 * attention/mla_attend.c does of a page, and attend.cu joins them in their order.  So neither how many
 * parts are done side by side nor which other rows there are reaches the bits of a row.
 */
#ifndef DS_ATTEND_CUH
#define DS_ATTEND_CUH

#include "cpu/cpu.h"
#include "launch.cuh"

struct attend_job {             /* rows of one launch */
	const float *query;             /* [rows][H][R + rope] */
	const uint32_t *pos;            /* [rows] */
	const int32_t *list;            /* [rows] */
	void *const *pages;
	size_t pitch;                   /* bytes of a row of the cache */
	int rows, H, R, rope;
	float scale;
	int positions;                  /* of a part */
	int first, parts;               /* parts first .. first + parts - 1 */
	float *o;                       /* slots: [rows][parts][H][R], unset behind the row's own position; */
	float *bmax, *bsum;             /* [rows][parts][H] */
};

struct probs_job {
	float *probs;                   /* [rows][H][positions] */
	size_t positions;
	const float *max, *sum;         /* [rows][H] */
};

/* Where in `pages` row t's page with the position `at` is. */
static inline __device__ int
attend_page(const struct attend_job *a, int t, uint32_t at)
{
	return a->list[t] + (int)(at / GPU_PAGE);
}

/* How many of the n positions from `at` on row t sees; 0, or less, where they are all behind it. */
static inline __device__ int
attend_seen(const struct attend_job *a, int t, uint32_t at, int n)
{
	int64_t left = (int64_t)a->pos[t] + 1 - (int64_t)at;

	return left < n ? (int)left : n;
}

/* Each fills the slots of its parts.  plain: a part is a page, the sums are those of f32, from caches of F32 or
 * BF16; tiles: tensor cores, from BF16, for shapes that fit and where a block can have enough shared memory. */
int attend_plain(struct gpu *g, const struct attend_job *a, enum precision p);
int attend_tiles(struct gpu *g, const struct attend_job *a);
int attend_tiles_fit(const struct gpu *g, int R, int rope);

/* job: one "part" for each page of the positions. */
int attend_probs(struct gpu *g, const struct attend_job *a, const struct probs_job *to, enum precision p);

/* The functions of the table that are in enter.cu. */
extern "C" int gpu_angles(struct gpu *g, float *cosine, float *sine, const uint32_t *pos, int T, const double *freq, int half,
    double factor);
extern "C" int gpu_enter(struct gpu *g, float *kv, float *q, float *query, const float *weight, float eps, const float *cosine,
    const float *sine, const struct gpu_rows *rows, int H, int nope, int R, int rope, enum precision p);

#endif
