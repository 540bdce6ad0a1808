/*
 * Shared by drive.c (frames, main loop) and recover.c (start, failure, end).
 */
#ifndef DS_DRIVE_INTERNAL_H
#define DS_DRIVE_INTERNAL_H

#include "supervise/cluster.h"
#include "supervise/drive.h"
#include "supervise/replay.h"
#include "launch/textio.h"

struct drive {
	const struct drive_options *o;
	struct plan_options options;    /* for our own programs */
	struct plan programs;
	char copy_in[32], copy_out[32]; /* words of theirs */
	int copy[2];                    /* the pipe of the prompts' copy; -1: none */
	struct child own[2];            /* ds-tokenize and ds-detokenize */
	struct planfile plan;
	struct host_weights weights;
	struct cluster cluster;
	struct replay replay;
	/* from ds-tokenize, to the pipeline, from it, to ds-detokenize */
	struct link prompts, feed, take, text;
	int prompts_ended;              /* all prompts were read */
	int fed;                        /* the end of prompts was sent to the pipeline */
	int ended;                /* all tokens were received, and ds-detokenize was sent the end */
	struct textio textio;
	struct tally *tally;
	enum { DRIVE_STARTS, DRIVE_GOES, DRIVE_DOUBTS, DRIVE_HALTS, DRIVE_PROBES, DRIVE_PAUSES, DRIVE_CLOSES, DRIVE_ENDS } state;
	double since;                   /* start of the state */
	double until;                   /* latest time for the next action; 0: none */
	int failures;                   /* consecutive failures */
	int probed;                     /* links were probed after this failure */
	struct verdict verdict;         /* final result */
	int signals;
	sigset_t mask;                  /* the original mask */
	int sig;                        /* signal that we received */
	int dim;                        /* the reasoning is dimmed on a terminal */
	struct pollfd *polls;
};

/* Read the plan and prepare. Returns 0, or -1 and a message; call drive_close in either case. */
int drive_open(struct drive *d);
void drive_close(struct drive *d);

/* Start everything: 0, or -1 and a message. Then call drive_advance after each event and when
 * its time has come. */
int drive_start(struct drive *d);
int drive_advance(struct drive *d);

/* A link to the pipeline broke, for the stored message. Returns 0, or -1 if a restart would not
 * help. */
int drive_link_failed(struct drive *d);

/* All tokens were received: send the end to ds-detokenize. Returns 0, or -1 and a message. */
int drive_finish(struct drive *d);

/* End everything, for d->verdict or d->sig if set. */
void drive_end(struct drive *d);

/* Drop a link, if it is open. */
void drive_shut(struct link *l);

#endif
