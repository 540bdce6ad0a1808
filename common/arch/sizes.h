/*
 * Bytes and numbers of a model's weights, from config.json alone or from the headers of its files.
 * Only tensors that the stages open count: the layer for multi-token prediction, which none of
 * them uses, does not count.
 */
#ifndef DS_SIZES_H
#define DS_SIZES_H

#include <stdint.h>

#include "arch/model.h"
#include "kernels.h"

struct weight_size {
	uint64_t bytes;                 /* as stored, scales included */
	uint64_t params;                /* numbers, without scales */
	uint64_t coded;                 /* these of matrices that products in i8 exist for */
};

struct layer_size {
	int moe;                        /* 0: shared is the dense MLP */
	struct weight_size attn, route, shared, routed; /* routed: all E of them */
};

/* Bytes of the layers before one: what a stretch of layers has is a difference. */
struct layer_sum {
	uint64_t lead;                  /* attention and router, and the MLP of dense layers */
	uint64_t shared, routed;        /* of layers with experts */
	int moe;                        /* how many have experts */
};

struct sizes {
	struct config config;
	struct layer_size *layers;      /* [num_layers] */
	struct layer_sum *sum;          /* [num_layers + 1] */
	struct weight_size embed, head; /* tied: the head is the table once more */
	struct weight_size total;       /* a tied table counts once */
	struct weight_size types[DTYPES_ALL];   /* the same by dtype; not with `shapes` */
	uint64_t names;                 /* of tensors, scales included */
	uint64_t active;                /* parameters of a token: K experts a layer, an embedding */
};

/*
 * With `shapes`, computed from config.json; if the folder has an index, each tensor must be in it.
 * Without, read from the headers of the files, each tensor's shape checked.
 * 0, or -1 and a message.  sizes_close frees.
 */
int sizes_open(struct sizes *s, const char *dir, int shapes);
void sizes_close(struct sizes *s);

/* 1 if products with some matrix multiply integers in i8; 0: all are those of f32. */
int sizes_have_codes(const struct sizes *s);

#endif
