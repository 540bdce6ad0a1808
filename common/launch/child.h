/*
 * Child processes that cannot outlive their parent. Their standard error is read, and their end is
 * classified: which one caused a failure, and which ones only followed.
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
	int err;                        /* its standard error; -1: closed */
	struct buf pending;             /* output not printed yet: its last line, or part of one */
	int to_stdout;                  /* 1: it writes to our standard output */
	int failed;                     /* 1: it reported a failed sequence, which was printed */
	const char *prefix;             /* printed before each of its lines: the host; NULL: none */
};

#define CHILD_KEEP 3

/* How a child is started. */
struct child_options {
	int in, out;                    /* its standard input and output */
	int keep[CHILD_KEEP];           /* descriptors it inherits under their numbers; -1: none */
	const char *dir;                /* folder searched first for programs; NULL: PATH only */
	const sigset_t *mask;           /* its signal mask */
	int bare;                       /* 1: its standard error is ours, and c->err is -1 */
};

/*
 * Start a child; c->command is set by the caller, c->err becomes its standard error. The kernel
 * kills it if this process dies. If the program cannot be run, the child prints that and fails.
 * Returns 0, or -1 and a message.
 */
int child_start(struct child *c, const struct child_options *s);

/* Read its standard error without blocking. With `pass`, print all lines but the last one, which
 * may explain a failure. A last line that reports a failed sequence is printed as well. */
void child_read_stderr(struct child *c, int pass);

/* Causes of a failure, from effects to reasons. A later failure replaces an earlier one only if
 * it explains more. */
enum blame {
	BLAME_NONE,
	BLAME_GONE,     /* a pipe closed, or all were interrupted */
	BLAME_UPSTREAM, /* it received an error frame */
	BLAME_CUT,      /* its input or output ended */
	BLAME_UNHEARD,  /* a link went silent or was never established */
	BLAME_OWN       /* it failed by itself */
};

struct verdict {
	enum blame blame;
	int status;                     /* exit status: FAIL_... */
	/* 1: sequences failed, as reported; with no other failure the status is FAIL_DATA */
	int failed;
	int signal;                     /* signal that ended it, and should end us; 0: none */
	char text[1024];                /* "ds-attn -l 3: killed by signal 9" */
};

/* Call with the status from waitpid: read its last output, update *v, and discard the child. */
void child_ended(struct child *c, int wstatus, struct verdict *v);

/* Discard an ended child without a verdict. */
void child_discard(struct child *c);

/* Record the stored message as the cause, unless one is known. Returns 1 if it was recorded. */
int verdict_own(struct verdict *v);

#endif
