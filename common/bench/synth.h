/*
 * A synthetic checkpoint: a real config.json, a real safetensors header, and weights that are
 * random, finite and of realistic size, in memory or in a folder.  In memory it is opened like any
 * other, so the programs' own code is measured.
 */
#ifndef DS_SYNTH_H
#define DS_SYNTH_H

#include "bench/shape.h"
#include "arch/model.h"

struct synth {
	char dir[4096];                 /* of config.json and model.safetensors */
	int made, temporary;            /* dir was created here; it is removed at the end */
	int fd;                         /* the weights */
	struct config config;
	const struct weight_type *type;
	struct layers layers;           /* in the checkpoint */
	int nlayers;
	struct shape_list list;
	int present;                    /* experts below this number of each layer have weights */
};

/*
 * Create a folder with the configuration of a shape (shape_config); dir NULL: a temporary one.
 * type may be NULL, layers NULL are the shape's own.  0, or -1 and a message; synth_close in either
 * case.
 */
int synth_open(struct synth *s, const char *shape, const struct weight_type *type, const char *layers, const char *dir);

/* The tensors of its layers, and of head and embedding if set.  0, or -1 and a message. */
int synth_tensors(struct synth *s, int head, int embed);

/* Set s->present so that the weights need at most that many bytes: all experts, or as many as fit.
 * 0, or -1 and a message (FAIL_SYSTEM) where not even the experts of one row fit. */
int synth_fit(struct synth *s, uint64_t memory);

uint64_t synth_bytes(const struct synth *s);   /* of the weights that are present */

/* Create the weights: in memory, and open them as a model; or in the folder, where sparse matrices
 * are holes that read as zeros.  0, or -1 and a message. */
int synth_memory(struct synth *s, struct model *m, struct pool *pool);
int synth_write(struct synth *s, int sparse, struct pool *pool);

void synth_close(struct synth *s);      /* a zeroed *s is fine; a model of it must have been closed */

#endif
