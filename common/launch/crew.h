/*
 * The processes of a pipeline on this host: started one by one, watched, and ended together.
 * Handles SIGINT, SIGTERM, SIGHUP, SIGCHLD and SIGPIPE; call it from a single-threaded process.
 */
#ifndef DS_CREW_H
#define DS_CREW_H

#include <poll.h>

#include "launch/child.h"

struct crew {
	struct child *children;         /* [n] */
	int n, alive;
	int signals;                    /* a signalfd */
	sigset_t mask;                  /* the original mask */
	enum { CREW_GOES, CREW_DOUBTS, CREW_STOPS, CREW_KILLS } state;
	double until;                   /* end of the state; 0: none */
	struct verdict verdict;
	int sig;                        /* signal that we received */
};

/* Take over the signals.  Returns 0, or -1 and a message; call crew_close in either case. */
int crew_open(struct crew *c);
void crew_close(struct crew *c);        /* after crew_gone */

/* Room for n processes.  Returns 0, or -1 and a message. */
int crew_size(struct crew *c, int n);

/* Start process i of them; s->mask is set.  Returns 0, or -1 and a message. */
int crew_start(struct crew *c, int i, const struct command *command, struct child_options *s);

int crew_goes(const struct crew *c);    /* 1: it is not being stopped */
int crew_gone(const struct crew *c);    /* 1: no process is left */

/* End all: SIGTERM first, SIGKILL a moment later or at the second call. */
void crew_stop(struct crew *c);

/* The same for the stored message, which is the cause unless one is known.  Returns 1 if it was
 * recorded. */
int crew_fail(struct crew *c);

/* Wait: milliseconds for poll(), and 1 + n descriptors. */
int crew_timeout(const struct crew *c);
void crew_poll(const struct crew *c, struct pollfd *p);

/* 1 if a process has written a message, which crew_step prints. */
int crew_speaks(const struct crew *c, const struct pollfd *p);
void crew_step(struct crew *c, const struct pollfd *p);

/* The result once all have gone: 0; 1 if sequences failed, as reported; or -1 and a message.  If
 * *sig is not 0, a signal ended the run and the caller must end by it, without a message. */
int crew_result(const struct crew *c, int *sig);

#endif
