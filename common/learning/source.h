/*
 * Where the records of each step come from: a file (source_file.c), or the model's own answers
 * (launch/learn_sample.h).
 */
#ifndef DS_SOURCE_H
#define DS_SOURCE_H

#include "arch/model.h"
#include "learning/pipeline.h"
#include "learning/records.h"

struct learning_options;

struct batch_source {
	void *arg;
	uint64_t steps;                 /* all of the run, from 1 */
	uint64_t hash;                  /* of its data: a run that goes on must have the same */
	/*
	 * Make the records of a step.  They depend on the data, the options and the number of the
	 * step alone.  They belong to the source, until the next call.  0, or -1 and a message.
	 */
	int (*next)(void *arg, uint64_t step, struct pipeline *p, struct batch *b);
	void (*close)(void *arg);       /* also after a failed run */
};

typedef int source_open_fn(struct batch_source *s, const struct learning_options *o,
    const struct model *m);

/* Log probabilities of the reference model. */
struct batch_scorer {
	void *arg;
	/* Set `reference` of the records that have none.  The signals of p, the pipeline that
	 * learns, end this too.  0, or -1 and a message. */
	int (*score)(void *arg, struct pipeline *p, struct batch *b);
	void (*close)(void *arg);
};

typedef int scorer_open_fn(struct batch_scorer *s, const struct learning_options *o,
    const struct model *m);

/* The records of --sft and --records. */
int source_file_open(struct batch_source *s, const struct learning_options *o,
    const struct model *m);

#endif
