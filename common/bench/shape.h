/*
 * Shapes to be measured: the config.json of a model, and its tensors, each with a rule for its data.
 */
#ifndef DS_SHAPE_H
#define DS_SHAPE_H

#include "arch/arch.h"
#include "base/mem.h"
#include "stage/stage.h"
#include "weights/layout.h"

/* Known shapes.
 * X(name, its config.json, the published type, layers to measure by default or NULL for all,
 * what stands before it in SHAPE_WORDS). */
#define EACH_SHAPE(X) \
	X("v3", v3, "fp8", "3", "") X("v32", v32, "fp8", "3", ", ") \
	X("v2-lite", v2_lite, "bf16", NULL, ", ") X("qwen2-1.5b", qwen2_1_5b, "bf16", NULL, ", ") \
	X("llama-8b", llama_8b, "bf16", "0-3", ", ") X("qwen3-moe", qwen3_moe, "bf16", "0", " or ")

#define SHAPE_WORD(name, config, type, layers, before) before name
#define SHAPE_WORDS EACH_SHAPE(SHAPE_WORD)      /* "v3, ... or qwen3-moe" */

/* A tensor of a synthetic checkpoint.  Each 64-bit word of its data is (random & mask) | set. */
struct shape_tensor {
	char name[WEIGHT_NAME_MAX + 16];
	struct layout_part part;
	uint64_t mask, set;
	enum dtype dtype;               /* of a matrix in blocks; the rule is blocks_scale, */
	int cols;                       /* for rows of so many */
	int expert;                     /* that it belongs to, or -1 */
	int hole;                       /* 1: its bytes are not needed, and zeros */
	uint64_t begin;                 /* in the file's data */
};

struct shape_list {
	struct shape_tensor *t;
	size_t n, cap;
	uint64_t bytes;                 /* of all */
};

/* How the matrices of attention and MLPs are stored, and the rest. */
struct weight_type {
	const char *name;               /* "fp8" */
	enum dtype dtype, plain;
};

/* 1: a type of GGUF files only. */
static inline int
weight_type_gguf(const struct weight_type *t)
{
	return t->dtype > Q4;
}

/* NULL and a message (FAIL_USAGE) where there is none of that name. */
const struct weight_type *weight_type_find(const char *name);

/*
 * Append the config.json of a shape to b: "v3" or another known one, or a file, with the
 * quantization of the weight type.  type NULL becomes the published one.  *layers: those to
 * measure by default, NULL: all.  0, or -1 and a message.
 */
int shape_config(struct buf *b, const char *shape, const struct weight_type **type, const char **layers);

/* The tensors of the layers, of the head and of the embedding, one after another in the file;
 * shape_free frees.  A GGUF file has an embedding in any case.  0, or -1 and a message. */
int shape_tensors(struct shape_list *l, const struct config *c, const struct weight_type *type,
    const struct layers *layers, int head, int embed);
void shape_free(struct shape_list *l);

#endif
