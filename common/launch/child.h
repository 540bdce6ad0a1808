/*
 * Child processes: started so that none outlives us, listened to, and judged
 * when they end: which one failed by itself, and which only followed.
 */
#ifndef DS_CHILD_H
#define DS_CHILD_H

#include <signal.h>
#include <sys/types.h>

#include "base/mem.h"
#include "launch/plan.h"

struct child {
	const struct command *command;
	pid_t pid;                      /* 0: not running */
	int err;                        /* its standard error, to be read; -1: closed */
	struct buf pending;             /* what it said and nobody has seen: its last line, or part of one */
	int to_stdout;                  /* it writes to our standard output */
	int failed;                     /* it reported a sequence that failed, and was passed on at once */
	const char *prefix;             /* put before each of its lines that is passed on: the host; NULL: none */
};

/* How a child is started. */
struct child_options {
	int in, out;                    /* become its standard input and output */
	int keep[2];                    /* stay open under their numbers; -1: none */
	const char *dir;                /* where programs are looked for first; NULL: in PATH alone */
	const sigset_t *mask;           /* signals that it blocks */
};

/*
 * Start it; c->command is set.  The kernel kills it when this process dies.  A program that cannot be run is a child
 * that says so and fails.  0, or -1 and a message.
 */
int child_start(struct child *c, const struct child_options *s);

/* Take in what it says; all but the last line is passed on to standard error, if `pass`, and that as well if it reports a
 * sequence that failed: that is no reason to end. */
void child_read_stderr(struct child *c, int pass);

/* What went wrong.  A later failure replaces an earlier one only if it explains more. */
enum blame {
	BLAME_NONE,
	BLAME_GONE,     /* nobody read or wrote any more, or all were interrupted */
	BLAME_UPSTREAM, /* it heard of a failure */
	BLAME_CUT,      /* its input ended, or its output */
	BLAME_UNHEARD,  /* a link went silent, or was never made */
	BLAME_OWN       /* it failed by itself */
};

struct verdict {
	enum blame blame;
	int status;                     /* to exit with: FAIL_... */
	int failed;                     /* 1: sequences failed, which was reported; no more than that makes the status FAIL_DATA */
	int signal;                     /* it ended by this, as we should; 0: none */
	char text[1024];                /* "ds-attn -l 3: killed by signal 9" */
};

/* The child has ended with this status of waitpid: listen once more, judge, forget. */
void child_ended(struct child *c, int wstatus, struct verdict *v);

/* It has ended and nobody wants to know why. */
void child_discard(struct child *c);

#endif
