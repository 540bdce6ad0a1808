/*
 * Worker processes: a line to each, a number back, within a time limit.
 */
#ifndef DS_WORKER_H
#define DS_WORKER_H

#include <poll.h>
#include <sys/types.h>

#include "base/mem.h"

struct workers {
	const char *command;    /* for sh -c; it reads lines and answers each with one line */
	double timeout;         /* seconds for a line */
	int answered;           /* 1: one of them has answered a line */
	int surplus;            /* 1: one of them wrote what no line asked for, so that its
				 * answers may belong to other lines */
};

struct worker {
	pid_t pid;              /* 0: not running */
	int in, out;            /* its standard input and output, if it is running */
	int served;             /* 1: this process has answered a line */
	void *line;             /* the line that it works on, the caller's; NULL: idle */
	struct buf send, got;
	size_t sent;
	double deadline;        /* in clock_now(): for its answer */
};

/* Send n bytes, a line with its newline, to an idle worker, which is started if it does not run.
 * Returns 0, or -1 and a message: no process can be started. */
int worker_give(struct workers *all, struct worker *w, void *line, const char *text, size_t n);

/* Fill p[2] for poll(). Returns the number of entries. */
int worker_poll(const struct worker *w, struct pollfd p[2]);

/*
 * Write and read without blocking. Returns 1 and *value: the answer to w->line, which the caller
 * clears; 0: not yet; -1 and a message (FAIL_DATA): it died, it is late or its answer is no number.
 * It has then been ended, and the next line starts another one. If a process dies that has answered
 * lines before, the line is sent once more, to a new one. A command that cannot be run is
 * FAIL_SYSTEM.
 */
int worker_step(struct workers *all, struct worker *w, double *value);

/* Close its input, wait for its end at most until clock_now() is `deadline`, then kill it. */
void worker_end(struct workers *all, struct worker *w, double deadline);

#endif
