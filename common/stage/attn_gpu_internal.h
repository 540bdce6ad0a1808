/*
 * Shared by attn_gpu.c, which keeps the books, and mla_gpu.c, which computes.
 */
#ifndef DS_ATTN_GPU_MEM_H
#define DS_ATTN_GPU_MEM_H

#include "device/mirror.h"
#include "stage/attn.h"

#define ATTN_GPU_SLAB ((size_t)16 << 20)        /* bytes of the GPU's memory that pages are cut from */

struct attn_gpu {
	const struct stage *s;
	struct cache_memory memory;
	struct attn_gpu_slab *slabs;    /* of which pages are made: */
	char *page;                     /* the next, and how many bytes are left there */
	size_t left;
	struct mirror freq;             /* [half] double */
	struct mirror pos, list;        /* [T] */
	struct mirror *pages;           /* [num_layers] */
	struct scratch cosine, sine;     /* [T][half], of pos */
	struct scratch work;     /* a block's intermediate results */
	struct scratch attend;
	struct scratch probs;
	struct scratch rows, tables;    /* what is to be mirrored */
	struct scratch tapped;          /* what taps need, but not as it is */
};

#endif
