/*
 * ds-learn's driver: it feeds a pipeline of stages that learn, and makes a checkpoint of what they
 * have learned.
 *
 * The driver writes into the first input of ds-embed, and reads all that leaves the end of the
 * pipeline.  It starts no program: ds-learn without --feed does (launch/learn.h).
 */
#ifndef DS_LEARNING_H
#define DS_LEARNING_H

#include "learning/source.h"
#include "stage/sampling.h"

enum learning_data { LEARNING_NONE, LEARNING_SFT, LEARNING_GRPO, LEARNING_RECORDS };
enum learning_schedule { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE };

extern const char *const learning_schedules[];  /* "constant"; the last is NULL */

/* The command line of ds-learn.  Strings are borrowed. */
struct learning_options {
	const char *model, *out;
	enum learning_data data;
	const char *file;               /* of records or prompts */
	const char *feed, *back;        /* endpoints, or NULL: ds-learn starts the pipeline */
	const char *state;              /* folder, or NULL: the run cannot go on after a kill */
	const char *gradients;          /* with dry_run: a file, or NULL */
	int dry_run;                    /* 1: the loss and gradients of one batch, and no step */
	long steps, epochs;             /* 0: not given */
	long batch;                     /* records, groups or prompts of a step; 0: not given */
	long rows;                      /* of a frame */
	long save_every;                /* steps between two saves; 0: only after the last */
	double rate, beta1, beta2, eps, decay;
	double clip_norm;               /* largest norm of all gradients; 0: any */
	enum learning_schedule schedule;
	long warmup;                    /* steps until the rate is reached */
	double balance;                 /* of the router's bias; 0: it stays */
	double clip[2];                 /* of the ratio: 1 - clip[0] to 1 + clip[1] */
	double beta;                    /* of the KL to the reference model; 0: none */
	const char *reference;          /* folder of that model; NULL: `model` */
	enum advantage advantage;
	/* of --grpo: */
	const char *grade;              /* shell command that adds rewards to answer lines */
	long group;                     /* answers to each prompt */
	struct sampling_options sampling;       /* .seed is --seed also without --grpo */
	int verbose;
};

/*
 * The path of the newest complete state in the folder o->state, to[size], for --state of the
 * stages; "" if there is none yet, or o->state is NULL.  0, or -1 and a message.
 */
int learning_newest(const struct learning_options *o, char *to, size_t size);

/*
 * Drive the pipeline at o->feed and o->back to its end.  Metrics go to standard output, a JSON line
 * for each step.  sample opens the source of --grpo, reference the scorer of --beta; both may be
 * NULL.  0, or -1 and a message; *sig: the signal that ended the run, or 0.
 */
int learning_run(const struct learning_options *o, source_open_fn *sample,
    scorer_open_fn *reference, int *sig);

#endif
