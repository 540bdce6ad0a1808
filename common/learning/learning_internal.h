/*
 * A run of the driver: what its files share.
 */
#ifndef DS_LEARNING_INTERNAL_H
#define DS_LEARNING_INTERNAL_H

#include <limits.h>

#include "base/pool.h"
#include "learning/learn_frame.h"
#include "learning/learning.h"

#define STATE_FILE "state.json"
#define IN_FLIGHT 4             /* learn frames that have not come back */

/* What a step found out. */
struct step_result {
	double weight;                  /* W: sum of the weights of its tokens */
	/* from ds-loss: */
	double loss, clipped, ratio, exact, kl, entropy, tokens;
	double norm;                    /* of the gradient of the mean loss */
	double rate;
	uint64_t positions;             /* computed */
	double began;                   /* clock_now() */
};

struct run {
	const struct learning_options *o;
	struct model model;
	struct pool *pool;
	struct pipeline pipe;
	struct learn_frames frames;
	struct batch_source source;
	struct batch_scorer scorer;
	struct batch batch;             /* of this step */
	uint64_t steps;                 /* of the whole run */
	uint64_t step;                  /* the last one done */
	uint64_t saved;                 /* the last one in the state folder; 0: none */
	int lock;                       /* the state folder, open and locked; -1: none */
	const char *out;                /* what the run makes: a folder, or a file of gradients */
	int out_lock;                   /* of it; -1: none */
	char data[20];                  /* hash of the source, in hex */
	char weights[12];               /* hash of the beginnings of the model's tensors, in hex */
};

/* --- step.c; all return 0, or -1 and a message --- */

/* Send the batch, and wait until every gradient is summed. */
int step_learn(struct run *r, struct step_result *s);

/* Get the norm of the gradients and the loss.  f becomes the norm frame, with the sums of shared
 * tensors. */
int step_norm(struct run *r, uint64_t step, struct step_result *s, struct frame *f);

/* Make the step; f is that frame. */
int step_apply(struct run *r, uint64_t step, struct step_result *s, struct frame *f);

/* --- metrics.c --- */

/* Read the loss of a norm frame, and print a line of JSON about a step; step 0: a dry run. */
int metrics_read(const struct frame *f, struct step_result *s);
int metrics_print(const struct run *r, const struct step_result *s, uint64_t step);

/* --- checkpoint.c --- */

/* Read the newest state of the folder, if there is one: r->step.  Others options or data are an
 * error that names them. */
int checkpoint_resume(struct run *r);

/* Save the state, then the weights to o->out. */
int checkpoint_save(struct run *r);

/* Check before the first step that what the run writes can be created. */
int checkpoint_check(struct run *r);

/* The folder for files of the processes, next to what is made of them. */
int checkpoint_shards(char to[PATH_MAX], const char *path);

/* Let every process write its file to a folder.  weight: W, of gradients. */
int checkpoint_ask(struct run *r, enum save what, const char *folder, double weight);

/* --- gradients.c --- */

/* Write the gradients of the batch to a file.  f: the norm frame. */
int gradients_write(struct run *r, const char *path, double weight, struct frame *f);

/* --- settings.c --- */

#define SETTINGS_MAX 40

/* Options that change results, as texts. */
struct setting {
	const char *name;
	char value[64];
	const char *text;               /* value, or a string of the options */
};

/* Set r->weights, by which a state knows a model from another one of its shapes; refuse options
 * that the model has no use for.  0, or -1 and a message. */
int settings_weights(struct run *r);

/* Their number. */
int settings_list(const struct run *r, struct setting to[SETTINGS_MAX]);

/* --- shard_folder.c: a folder of files and no others --- */

/* Make an empty folder, also where one is; its parents exist. */
int shard_folder_make(const char *path);

/* With the files that a run makes; the folder stays if there are others.  Without a message. */
void shard_folder_remove(const char *path);

#endif
