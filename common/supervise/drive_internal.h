/*
 * Shared by drive.c (frames, and the loop) and recover.c (starting, failing, ending).
 */
#ifndef DS_DRIVE_MEM_H
#define DS_DRIVE_MEM_H

#include "supervise/cluster.h"
#include "supervise/drive.h"
#include "supervise/replay.h"
#include "launch/textio.h"

struct drive {
	const struct drive_options *o;
	struct plan_options options;    /* of our own programs */
	struct plan programs;
	struct child own[2];            /* ds-tokenize and ds-detokenize */
	struct planfile plan;
	struct host_weights weights;
	struct cluster cluster;
	struct replay replay;
	struct link prompts, feed, take, text;  /* from ds-tokenize, to the line, from it, to ds-detokenize */
	int prompts_ended;              /* all prompts have come */
	int fed;                        /* the line has been told so */
	int ended;                      /* all text has come, and ds-detokenize has been told so */
	struct textio textio;
	struct tally *tally;
	enum { DRIVE_STARTS, DRIVE_GOES, DRIVE_DOUBTS, DRIVE_HALTS, DRIVE_PROBES, DRIVE_PAUSES, DRIVE_CLOSES, DRIVE_ENDS } state;
	double since;                   /* when the state began */
	double until;                   /* when there is something to do at the latest; 0: the state doesn't say */
	int failures;                   /* in a row */
	int probed;                     /* the links were tried after this failure */
	struct verdict verdict;         /* what ends it all */
	int signals;
	sigset_t mask;                  /* as it was */
	int sig;                        /* what told us to stop */
	int dim;                        /* the thought is dimmed, on a terminal */
	struct pollfd *polls;
};

/* Read the plan and make ready: 0, or -1 and a message; drive_close in either case. */
int drive_open(struct drive *d);
void drive_close(struct drive *d);

/* Start all: 0, or -1 and a message.  Then drive_advance goes on where something has happened or its time has come. */
int drive_start(struct drive *d);
int drive_advance(struct drive *d);

/* A link to the line broke, fail() keeps how: 0, or -1 where a new start would not help. */
int drive_link_failed(struct drive *d);

/* The line has said all: tell ds-detokenize.  0, or -1 and a message. */
int drive_finish(struct drive *d);

/* End it all, for d->verdict or d->sig if there is one. */
void drive_end(struct drive *d);

/* Drop a link that is open. */
void drive_shut(struct link *l);

#endif
