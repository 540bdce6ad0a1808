/*
 * What ds-learn's driver starts beside the pipeline, and feeds through it: samples of --grpo with
 * their rewards, and a line of the reference model.
 */
#ifndef DS_LEARN_SAMPLE_H
#define DS_LEARN_SAMPLE_H

#include "learning/learning.h"

/*
 * The records of --grpo: the model's own answers to the prompts of a step, sampled through the
 * pipeline that learns, graded by o->grade.  The prompts' order and all random numbers are
 * functions of (seed, step).  0, or -1 and a message; source->close in either case, if it is set.
 */
int learn_sample_open(struct batch_source *source, const struct learning_options *o,
    const struct model *m);

/* Log probabilities of records by o->reference, or the model as it is in o->model: by a line of
 * programs that do not learn.  Likewise. */
int learn_reference_open(struct batch_scorer *scorer, const struct learning_options *o,
    const struct model *m);

#endif
