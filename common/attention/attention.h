/*
 * Attention: kinds of it in one table, a row a kind, filled in by that kind's file; and what all
 * kinds share, the caches of a model's layers and the rows that they append.
 *
 * Shapes: T rows, D hidden size, H query heads, P positions that the longest sequence of a frame
 * has.
 */
#ifndef DS_ATTENTION_H
#define DS_ATTENTION_H

#include <stddef.h>

#include "arch/model.h"
#include "attention/cache.h"
#include "attention/cache_file.h"
#include "attention/rope.h"
#include "device/arena.h"
#include "device/ops.h"

/* Where a cache is, which decides how its rows are stored. */
struct attention_where {
	int gpu;                        /* 0: with the CPU */
	enum precision precision;       /* of the products: a GPU's cache depends on it */
	enum dtype type;                /* with the CPU: of the cache's numbers, F32 or BF16 */
};

struct attention_where attention_where(const struct device *d);

/* Inner tensors that a kind may show. */
enum attention_tap {
	ATTENTION_NORM, ATTENTION_Q, ATTENTION_K, ATTENTION_V, ATTENTION_LATENT, ATTENTION_KROPE,
	    ATTENTION_INDEX,
	    ATTENTION_PROBS, ATTENTION_HEADS, ATTENTION_OUT,
	ATTENTION_TAPS
};

/* Where on the host they go, a row for each of the batch, [T][..], in the memory of ATTENTION_INDEX
 * int32_t; NULL: not asked for. */
struct attention_taps {
	float *to[ATTENTION_TAPS];
	size_t positions;               /* P */
};

struct attention_layers;
struct backward;
struct learn;

struct attention_shape {
	const char *key;
	size_t at;                      /* of an int in struct config */
};

struct attention_kind {
	const char *name;

	/* Bytes of a position in the cache of one layer. */
	size_t (*cache_row)(const struct config *c, struct attention_where where);

	/* Its keys and values, with which a page begins. */
	struct kv_shape (*kv)(const struct config *c);

	/* Operations (a multiply-add is two) of rows over the cache of one layer, if each reads
	 * `held` positions.  Products with weights do not count. */
	double (*operations)(const struct config *c, double rows, double held);

	/* Heads and widths in words, for ds-info. */
	void (*describe)(const struct config *c, char *to, size_t size);

	/* The softmax's scale, and the pairs of a key that are rotated. */
	float (*scale)(const struct config *c);
	int (*rotated)(const struct config *c);

	/* Dimensions of a tap's rows: how many, with their sizes in shape; 0: the kind does not
	 * have it. */
	int (*tap)(const struct config *c, enum attention_tap tap, uint64_t P, uint64_t shape[2]);

	/* The weights of a layer, registered with the device.  NULL and a message. */
	void *(*open)(const struct attention_layers *a, int layer);
	void (*close)(const struct attention_layers *a, void *weights);

	/* Lay out the intermediate results of n rows: in `rows`, a struct of the kind, or only
	 * count. */
	void (*layout)(const struct config *c, struct arena *arena, size_t n, void *rows);

	/* Add to h [rows->n][D] its attention. cosine, sine [rows->n][pairs]. Queues work only,
	 * unless there are taps. 0, or -1 and a message. */
	int (*add)(struct attention_layers *a, void *weights, float *h, const struct kv_rows *rows,
	    const float *cosine, const float *sine, const struct attention_taps *taps);

	/* Its shapes, as config.json names them; the last has no key. */
	const struct attention_shape *shapes;

	/* Bytes of the cache of one layer that a row reads, of `held` positions that it sees; NULL:
	 * all of them. */
	double (*cache_read)(const struct config *c, struct attention_where where, double held);

	/* What of it runs on the CPU only; NULL: nothing. */
	const char *cpu_only;

	/* Register a layer's weights as parameters of l: 0, or -1 and a message. NULL: the kind has
	 * no backward pass. */
	int (*learn)(void *weights, struct learn *l, int layer);

	/* The backward pass of a layer: attention/backward.h. 0, or -1 and a message. */
	int (*back)(const struct backward *b, void *weights);
};

extern const struct attention_kind attention_mla, attention_gqa, attention_mla_indexed;

/* The kind of a model. */
const struct attention_kind *attention_of(const struct config *c);

/* Of `held` positions, how many a row of the layer sees: config_window. */
double attention_held(const struct config *c, int layer, double held);

/* Whether the model's kind runs on a GPU, or else the CPU: 0, or -1 and a message (FAIL_USAGE). */
int attention_runs(const struct config *c, int gpu);

/* Bytes of the cache of one layer that a row reads which sees `held` positions. */
double attention_read(const struct config *c, struct attention_where where, double held);

/* The pages of a cache there. */
struct cache_layout attention_pages(const struct config *c, struct attention_where where);

/* A layer's weights and cache. */
struct attention_layer {
	struct cache cache;
	void *weights;                  /* NULL: the process does not have the layer */
	struct mirror pages;            /* lists of pages of the rows appended last */
};

struct attention_layers {
	const struct attention_kind *kind;
	struct model *model;
	struct device *device;
	struct attention_layer *layers; /* [num_layers] */
	struct rope rope;
	float scale;

	struct mirror freq;             /* of rope */
	struct mirror pos, list;        /* [T] of the rows appended last */
	struct scratch cosine, sine;    /* [T][pairs] of pos */
	struct scratch tables;          /* host: what is mirrored */
	struct scratch rows;            /* intermediate results */
	struct scratch probs;           /* of the device, for that tap */
	struct scratch fetched, parts;  /* of the host, for taps */
	/* of attention_back: keys, values and angles; intermediate results; sums */
	struct scratch back_pages, back_rows, back_sums;
	struct learn *learn;            /* attention_learn; NULL: no layer learns */
	const uint32_t *appended;       /* host: pos, as it was set last */
};

/* Layers with has[i] set, of num_layers; model and device outlive it. Adds the memory that it
 * uses to the device's expected. 0, or -1 and a message; attention_close is due in either
 * case. */
int attention_open(struct attention_layers *a, struct model *model, struct device *device,
    const unsigned char *has);
void attention_close(struct attention_layers *a);      /* a zeroed *a is fine */

/*
 * Rows of a layer's cache that cache_append has just made: row t is position pos[t] of seq[t]; n
 * at least 1. *rows is what the device reads of them. It is valid until the layer's next call, at
 * the same addresses as long as d->moves stays; layers that set the same rows one after another
 * share positions and angles. pos (host) stays until attention_add. 0, or -1 and a message.
 */
int attention_set_rows(struct attention_layers *a, int layer, const struct cache_seq *const *seq,
    const uint32_t *pos, int n, struct kv_rows *rows);

/* Add to h [rows->n][D], of the device, its attention. Queues work only, unless there are taps;
 * those are moved on by rows->n rows. 0, or -1 and a message. */
int attention_add(struct attention_layers *a, int layer, float *h, const struct kv_rows *rows,
    struct attention_taps *taps);

/* --- for kinds --- */

/* The intermediate results of n rows, in memory of the device: rows is the struct that the kind
 * lays out.  0, or -1 and a message. */
int attention_layout(struct attention_layers *a, size_t n, void *rows);

/* If the tap is on, its n numbers of 4 bytes become what `from`, of the device, holds. 0, or -1 and
 * a message. */
int attention_tap_copy(const struct attention_layers *a, const struct attention_taps *taps,
    enum attention_tap tap, const void *from, size_t n);

/* If that tap is on, the probabilities of what attend computed, with the same arguments. */
int attention_tap_probs(struct attention_layers *a, const struct attention_taps *taps,
    const float *max, const float *sum, const float *query, const struct kv_rows *rows,
    const struct kv_shape *kv);

/* Host: heads [T][H][D], the values v [T][H][width] of each head through its columns of o [D][H
 * width], which is mapped. */
int attention_tap_heads(struct attention_layers *a, const struct mat *o, const float *v, int T,
    int H, float *heads);

#endif
