/*
 * A checkpoint folder: configuration and tensors by their original names,
 * mapped from the safetensors files, nothing copied.  A file is opened when
 * the first of its tensors is asked for.
 */
#ifndef DS_MODEL_H
#define DS_MODEL_H

#include "base/table.h"
#include "kernels.h"
#include "arch/arch.h"
#include "weights/safetensors.h"

#define MODEL_INDEX "model.safetensors.index.json"

struct shard {
	char *path;
	struct safetensors file;        /* file.map.p is NULL until a tensor is asked for */
};

struct model {
	char *dir;
	struct config config;
	char id[17];                    /* 16 hex digits: hash of config.json's bytes and of the tensors' names */
	struct table files;             /* tensor name -> struct shard, from the index, or all in one file */
	struct shard *shards;
	size_t nshards;
	int indexed;                    /* model.safetensors.index.json says which file a tensor is in */
	char *names;                    /* memory of the names */
};

/* Read config.json and the index (or the one file's header); no tensor is touched.
 * 0, or -1 and a message. */
int model_open(struct model *m, const char *dir);
void model_close(struct model *m);      /* unmaps: matrices must not be used any more */

/* The id alone, for programs that need no tensor: 0, or -1 where the folder has no
 * config.json or no weights. */
int model_id(const char *dir, char id[17]);

/* Open the file of a shard, if it is not open: 0, or -1 and a message. */
int model_shard(struct shard *s);

int model_has(const struct model *m, const char *name);

/* A tensor as it is stored, its bytes in *data (safetensors_data).  All names are the keys of
 * m->files.  NULL and a message that names it. */
const struct safetensor *model_tensor(struct model *m, const char *name, const void **data);

/* What the header of its file says of a tensor, its bytes untouched.  NULL and a message. */
const struct safetensor *model_entry(struct model *m, const char *name);

/* The matrix of a role; layer and expert are -1 where it has none.  Its memory is the mapped
 * file: read-only, shared.  0, or -1 and a message that names the tensor. */
int model_weight(struct model *m, enum role role, int layer, int expert, struct mat *w);

/* The vector of a role as float32 in memory of its own (free() it).  NULL and a message. */
float *model_vector(struct model *m, enum role role, int layer);

/* A weight matrix [rows][cols], the name made by fmt and without ".weight":
 * "model.layers.3.mlp.gate_proj".  Any form of form.h: F32, BF16, F16, F8_E4M3 with its
 * weight_scale_inv, Q8 or Q4 with weight_scale and weight_scale_2.
 * The memory is the mapped file: read-only, shared.  0, or -1 and a message that names the tensor. */
int model_mat(struct model *m, struct mat *w, int rows, int cols, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* A small vector [n] as float32 in memory of its own (free() it), the whole name
 * made by fmt: "model.norm.weight".  NULL and a message on failure. */
float *model_vec(struct model *m, int n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
