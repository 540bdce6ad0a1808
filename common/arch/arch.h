/*
 * Model families.  A family is one file: it turns config.json into struct config, and has the
 * weight table, a row a tensor.  What opens, counts, invents or converts weights reads that table;
 * nothing else knows the name or the shape of a tensor.
 */
#ifndef DS_ARCH_H
#define DS_ARCH_H

#include "arch/config.h"
#include "frame/frame.h"
#include "kernels.h"

#define WEIGHT_NAME_MAX 128

struct cJSON;

/* What a tensor is for.  The three matrices of an MLP follow one another: gate, up, down. */
enum role {
	ROLE_EMBED,                     /* [V][D] */
	ROLE_ATTN_NORM,                 /* [D] */
	ROLE_Q,                         /* [H (nope + rope)][D], or [..][q_lora] after ROLE_Q_A;
	                                   [H d][D] */
	ROLE_Q_A,                       /* [q_lora][D] */
	ROLE_Q_A_NORM,                  /* [q_lora] */
	ROLE_KV_A,                      /* [R + rope][D] */
	ROLE_KV_A_NORM,                 /* [R] */
	ROLE_KV_B,                      /* [H (nope + v)][R] */
	ROLE_K_B, ROLE_V_B,             /* its halves if apart: [H nope][R], [H v][R] */
	ROLE_K, ROLE_V,                 /* [G d][D], of grouped-query attention */
	ROLE_O,                         /* [D][H v], or [D][H d] */
	ROLE_Q_BIAS,                    /* [H d] */
	ROLE_K_BIAS, ROLE_V_BIAS,       /* [G d] */
	ROLE_O_BIAS,                    /* [D] */
	ROLE_Q_NORM, ROLE_K_NORM,       /* [d], of each head */
	ROLE_INDEX_Q,                   /* [I i][q_lora], of the indexer: I heads of width i */
	ROLE_INDEX_K,                   /* [i][D] */
	ROLE_INDEX_K_NORM, ROLE_INDEX_K_NORM_BIAS,      /* [i] */
	ROLE_INDEX_WEIGHTS,             /* [I][D] */
	ROLE_MLP_NORM,                  /* [D] */
	ROLE_ROUTER,                    /* [E][D] */
	ROLE_ROUTER_BIAS,               /* [E] */
	ROLE_DENSE_GATE, ROLE_DENSE_UP, ROLE_DENSE_DOWN,
	ROLE_EXPERT_GATE, ROLE_EXPERT_UP, ROLE_EXPERT_DOWN,
	ROLE_SHARED_GATE, ROLE_SHARED_UP, ROLE_SHARED_DOWN,
	ROLE_FINAL_NORM,                /* [D] */
	ROLE_HEAD,                      /* [V][D] */
	ROLE_MTP_EMBED, ROLE_MTP_EMBED_NORM, ROLE_MTP_HIDDEN_NORM, ROLE_MTP_JOIN,
	ROLE_MTP_FINAL_NORM, ROLE_MTP_HEAD,
	ROLES
};

/* How a checkpoint stores it. */
enum weight_kind {
	WEIGHT_LINEAR,          /* a matrix of attention or of a dense MLP: quantized if the
	                           checkpoint is */
	WEIGHT_SHARED,          /* the same, of the shared experts */
	WEIGHT_EXPERT,          /* the same, of one routed expert */
	WEIGHT_HEAD,            /* the output matrix: quantized by ds-quant alone, if asked to */
	WEIGHT_PLAIN,           /* a matrix that is never quantized: embedding, router */
	WEIGHT_NORM,            /* a vector */
	WEIGHT_BIAS             /* a vector that is F32 in every checkpoint */
};

/* A row of the weight table.  Several rows may have one role: the first that exists counts. */
struct weight_row {
	enum role role;
	enum weight_kind kind;
	enum at stage;                  /* which counts it as its own */
	const char *name;               /* {l}: the layer, {e}: the expert */
	int (*rows)(const struct config *c);
	int (*cols)(const struct config *c);            /* NULL: a vector [rows] */
	/* Whether a model has it, in that layer; NULL: always. */
	int (*exists)(const struct config *c, int layer);
};

struct arch {
	const char *const *types;               /* of model_type; the last is NULL */
	const char *layer;                      /* how names of a layer's tensors begin; has {l} */
	const struct weight_row *weights;       /* the last has no name */
	/* The names of modules in transformers, each with the tensor of a frame that it returns:
	 * lines as ds-diff --map reads them. */
	const char *modules;
	/* Read the keys of config.json that are the family's own; c->type is types[type].  0, or -1
	 * and a message. */
	int (*config)(struct config *c, const struct cJSON *o, int type);
};

extern const struct arch arch_deepseek, arch_llama;

extern const struct arch *const archs[];        /* all of them, and NULL */

/* A tensor of a model. */
struct weight {
	const struct weight_row *row;           /* NULL: none yet */
	int layer, expert;                      /* -1: it belongs to none */
	int rows, cols;                         /* cols 0: a vector */
	char name[WEIGHT_NAME_MAX];
};

/* The tensor of a role; layer and expert are -1 where it has none.  1, or 0: the model has none. */
int weight_find(struct weight *w, const struct config *c, enum role role, int layer, int expert);

/* The tensors of a layer, or of none with layer -1, in the order of the table,
 * the experts one after another.  *w is all 0 before the first.  1, or 0 after the last. */
int weight_next(struct weight *w, const struct config *c, int layer);

/* The tensor of that name: 1, or 0 where the table has none.  The layer may be any. */
int weight_named(struct weight *w, const struct config *c, const char *name);

/* The layer of a tensor by the beginning of its name, whether the table has it or not; -1: none. */
int weight_layer(const struct config *c, const char *name);

/* How a checkpoint of that configuration stores it; plain: the dtype of what is not quantized. */
enum dtype weight_dtype(const struct weight_row *row, const struct config *c, enum dtype plain);

/* What a tensor of a layer is counted with. */
enum weight_group {
	WEIGHTS_ATTN, WEIGHTS_ROUTE,
	WEIGHTS_ROUTED,         /* the routed experts */
	WEIGHTS_SHARED,         /* the shared experts, or the MLP of a dense layer */
	WEIGHT_GROUPS
};

enum weight_group weight_group(const struct weight_row *row);

#endif
