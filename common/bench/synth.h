/*
 * A checkpoint that is made up: a real config.json, a real safetensors header, and weights that are random, finite and of
 * sane size, in memory of this process or in a folder.  In memory it is opened like any other, so that what is
 * measured is what the programs run.
 */
#ifndef DS_SYNTH_H
#define DS_SYNTH_H

#include "bench/shape.h"
#include "arch/model.h"

struct synth {
	char dir[4096];                 /* with config.json and model.safetensors */
	int made, temporary;            /* whether dir was made here, and goes at the end */
	int fd;                         /* the weights */
	struct config config;
	const struct weight_type *type;
	struct layers layers;           /* those that the checkpoint has */
	int nlayers;
	struct shape_list list;
	int present;                    /* experts below this number of each layer have weights */
};

/*
 * The configuration of a shape (shape_config), as a folder of its own.  dir NULL: a temporary one.  type may be NULL,
 * layers NULL is what the shape says.  0, or -1 and a message; synth_close in either case.
 */
int synth_open(struct synth *s, const char *shape, const struct weight_type *type, const char *layers, const char *dir);

/* The tensors of its layers, those of head and embedding where they are wanted.  0, or -1 and a message. */
int synth_tensors(struct synth *s, int head, int embed);

/* Set s->present so that the weights take at most that many bytes: all experts, or those that fit.  0, or -1 and a
 * message (FAIL_SYSTEM) where not even the experts of one row do. */
int synth_fit(struct synth *s, uint64_t memory);

uint64_t synth_bytes(const struct synth *s);   /* of the weights that are present */

/* Make the weights: in memory, and open them as a model; or in the folder (sparse: matrices are holes, which read as zeros
 * and take no room).  0, or -1 and a message. */
int synth_memory(struct synth *s, struct model *m, struct pool *pool);
int synth_write(struct synth *s, int sparse, struct pool *pool);

void synth_close(struct synth *s);      /* a zeroed *s is fine; a model of it must have been closed */

/* Bytes of memory that a process may take now: what the machine and its control group leave; 0 unknown. */
uint64_t memory_free(void);

/* All that it may ever take: the machine's, or its control group's. */
uint64_t memory_all(void);

#endif
