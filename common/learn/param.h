/*
 * Tensors that learn: gradients, float32 masters and moments, and the weights that the forward pass
 * reads.
 *
 * A process has one struct learn.  Its stages open their weights as always (model_weight,
 * model_vector), then register the tensors that learn; each is registered once, however often it is
 * asked for.  What a step changes are the bytes of the mapped checkpoint, which learn_open makes
 * private, so every struct mat of the process sees the new weights.
 *
 * The weights are a function of the checkpoint and the masters alone (learn_round), so a run that
 * is continued from saved masters has the weights of the run that was not interrupted.
 */
#ifndef DS_PARAM_H
#define DS_PARAM_H

#include "arch/model.h"
#include "base/pool.h"
#include "base/scratch.h"
#include "base/table.h"
#include "kernels.h"

/* Tensors whose gradients several processes have: the frames of norm and step carry the sums. */
enum shared { SHARED_NONE, SHARED_MLP_NORM, SHARED_EMBED };

struct param {
	enum role role;
	int layer, expert;              /* -1 where it has none */
	char name[WEIGHT_NAME_MAX];     /* in the checkpoint */
	int rows, cols;                 /* [rows][cols]; cols 0: a vector [rows] */
	size_t n;                       /* its numbers */
	enum dtype dtype;               /* in the checkpoint: F32, BF16, F16 or F8_E4M3, */
	enum dtype scale_dtype;         /* then F32 or BF16 */
	int64_t *acc;                   /* [n] the gradient's sum, times 2^40, zeros at first; of */
	                                /* ROLE_ROUTER_BIAS the rows that chose each expert */
	float *master, *m, *v;          /* [n], NULL until learn_begin; m and v: moments */
	struct mat mat;                 /* the forward pass reads it; of a vector one row [1][n] */
	struct mat origin;              /* the same in the files, from learn_begin on */
	enum shared shared;
	int owner;                      /* this process writes it (of shared ones one process) */
	float **copies;                 /* [ncopies] of a vector: the stages' own */
	size_t ncopies, copies_cap;
};

struct learn {
	struct model *model;
	struct model origin;            /* the weights of the files, from learn_begin on */
	struct pool *pool;
	const struct kernels *k;
	char who[200];                  /* the name of its shards */
	struct param **params;          /* [nparams] in the order of registration */
	size_t nparams, params_cap;
	struct table names;             /* -> struct param */
	int begun;                      /* masters are there */
	uint64_t step;                  /* the last one done, also before a state was loaded */
	struct scratch work;            /* of back.c */
};

/*
 * Begin to learn: the weights of m become private memory of the process.  who: unique in the
 * pipeline, a file name ("expert-l3-e0-7").  All are borrowed.  0, or -1 and a message (FAIL_USAGE)
 * for a model that cannot learn: a GGUF file, weights by ds-quant, a model with an indexer.
 */
int learn_open(struct learn *l, struct model *m, const struct kernels *k, struct pool *pool,
    const char *who);
void learn_close(struct learn *l);      /* a zeroed *l is fine */

/* 1: the tensor learns; 0: it belongs to prediction layers or an indexer. */
int weight_learns(const struct config *c, const struct weight *w);

/* The matrix of a role; expert -1 where it has none.  With tied embeddings ROLE_HEAD and ROLE_EMBED
 * are one param, whose owner asked for ROLE_EMBED.  NULL and a message, FAIL_USAGE for a dtype that
 * cannot learn. */
struct param *learn_matrix(struct learn *l, enum role role, int layer, int expert);

/* The vector of a role, with the stage's float32 copy [n] of it (model_vector), which each step
 * changes; it must live as long as l.  learn_vector makes this process the owner; learn_reader is
 * for a stage that reads a vector of another, as ds-expert does ROLE_MLP_NORM.  NULL and a
 * message. */
struct param *learn_vector(struct learn *l, enum role role, int layer, float *forward);
struct param *learn_reader(struct learn *l, enum role role, int layer, float *forward);

/* Masters and moments of all params, if they are not there: masters are the weights as they are
 * stored.  0, or -1 and a message. */
int learn_begin(struct learn *l);

/* Make the weights of p from its master (round.c).  0, or -1 and a message that names it. */
int learn_round(struct learn *l, struct param *p);

#endif
