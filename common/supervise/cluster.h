/*
 * The hosts of a plan, as their supervisor sees them: an agent (agent.h) on each that runs something,
 * the lines of the plan given to the agents, and which spare has taken whose place.  Nothing here waits.
 *
 * A machine is one of the hosts that the plan lists; `at` says on which one the lines of each host run now.
 */
#ifndef DS_CLUSTER_H
#define DS_CLUSTER_H

#include <poll.h>

#include "launch/child.h"
#include "supervise/reach.h"
#include "supervise/host_weights.h"

struct machine {
	struct child shell;             /* what reaches the agent: a remote shell, or the agent itself */
	struct command command;               /* its command line */
	char target[300];               /* memory of a word of it */
	int in, out;                    /* to and from the agent, -1: closed */
	struct buf send, got;
	enum { MACHINE_OFF, MACHINE_CONTACTED, MACHINE_READY, MACHINE_RUNS, MACHINE_STOPS, MACHINE_DEAD } state;
	double last_heard, last_ping;  /* when it last spoke, when it was last asked to */
	double quiet;                   /* seconds of silence that it is granted now */
	double output_ended;            /* when its output ended, 0: it hasn't */
	int alive;                      /* processes there */
	int host;                       /* whose lines it runs, -1: none */
	int deaths;                     /* how often its lines had to go, or to be started again for its sake */
	int known;                      /* it has answered once */
	int unfit;                      /* nothing can be started there */
	int cut_off;                    /* its neighbours do not reach it, or it them, although its agent answers */
	double failed;                  /* when its lines had to go last, 0: never */
};

struct cluster {
	const struct planfile *plan;
	const struct host_weights *weights;  /* what those of the hosts have to be */
	const char *rsh;                /* a command of sh */
	const char *dir;                /* where programs are looked for first, for agents that are started directly */
	double timeout;
	const char *precision;          /* of the lines that do not say */
	int verbose;                    /* each program says what it did */
	const sigset_t *mask;
	struct machine *m;              /* [plan->nhosts] */
	int *at;                        /* [plan->nhosts] machine, -1: a spare, or nothing runs there */
	const char **address;           /* [plan->nhosts] in whose place it is now, for {NAME} */
	struct verdict verdict;         /* what went wrong since cluster_start */
	char error_text[1024];          /* what a program that failed told the others, until it has ended */
	struct buf reports;             /* what programs that failed said, each with its NUL */
	int culprit;                    /* the machine where it did, -1: none */
	int starting;                   /* the lines are to be sent */
	struct reach reach;             /* the links between hosts, and what is wrong with them */
	struct child probe;             /* tries those of ours */
	struct command probe_command;         /* its command line */
	char probe_words[3][320];       /* memory of that */
	int probing;                    /* what runs are probes */
	char *script;                   /* rsh with the words behind it */
	double seen;                    /* when cluster_step was called last */
};

/* plan, weights, rsh, dir, timeout, precision, verbose and mask are set.  0, or -1 and a message. */
int cluster_open(struct cluster *c);
void cluster_close(struct cluster *c);  /* the agents have gone, or are killed */

/* Begin to call the agents that are missing; the lines are sent once all are there (cluster_up).  0, or -1 and a message. */
int cluster_start(struct cluster *c);
int cluster_up(const struct cluster *c);
int cluster_unfit(const struct cluster *c);             /* 1: on a host of the lines nothing can be started */
int cluster_running(const struct cluster *c);           /* how many processes there are */

/* Kill all processes; over when cluster_stopped: then none is left on a machine that can be reached.
 * cluster_abandon: wait no longer, those that have not said so are dead. */
void cluster_stop(struct cluster *c);
int cluster_stopped(const struct cluster *c);
void cluster_abandon(struct cluster *c);

/* A link of ours broke, fail() keeps how. */
void cluster_link_failed(struct cluster *c);

/*
 * Once all have stopped: try each link of the plan between hosts, for at most PROBE_SECONDS.  Over when cluster_probed;
 * cluster_judge then marks the hosts that are cut off, which makes them the cause of the failure.  again: there was a
 * failure before this one without a new token between them, so that what programs said of links counts, too.
 * 0, or -1 and a message.
 */
#define PROBE_SECONDS 2
int cluster_probe(struct cluster *c);
int cluster_probed(const struct cluster *c);
void cluster_judge(struct cluster *c, int again);

/*
 * Find a machine for the lines of those that have died or are cut off, and of machine `tired` (-1: none): one that never
 * failed, or the one that did least often and not just now, which may be the same.  What was done is appended: "; gamma takes
 * beta's place".  Returns how many were moved to machines that had not been tried, or -1 and a message.
 */
int cluster_reassign(struct cluster *c, int tired, struct buf *what);

/* An error came down the line: the program that sent it is about to end, and says why. */
void cluster_note_error(struct cluster *c, const char *text);

/* Ask all for a sign of life; cluster_answered: every one that is not dead has given one since then. */
void cluster_ping(struct cluster *c);
int cluster_answered(const struct cluster *c, double since);

/* Let the agents go, which kill what is left; cluster_gone: all have.  sig not 0: kill those. */
void cluster_release(struct cluster *c);
int cluster_gone(const struct cluster *c);
void cluster_kill(struct cluster *c);

/* 3 descriptors to poll for each host of the plan; then do what can be done, at least every timeout / 8
 * seconds.  0, or -1 and a message. */
void cluster_wait(struct cluster *c, struct pollfd *p);
int cluster_step(struct cluster *c, const struct pollfd *p);

/* A process of ours has ended: was it one of these?  1, or 0. */
int cluster_reap(struct cluster *c, pid_t pid, int wstatus);

#endif
