/*
 * The hosts of a plan as seen by the supervisor: an agent (agent.h) on each host in use, the
 * processes assigned to it, and the replacement of failed hosts by spares. Nothing here blocks.
 *
 * A machine is one of the plan's hosts; `at` maps each host of the plan to the machine that runs
 * its processes now.
 */
#ifndef DS_CLUSTER_H
#define DS_CLUSTER_H

#include <poll.h>

#include "launch/child.h"
#include "supervise/reach.h"
#include "supervise/host_weights.h"

struct machine {
	struct child shell;             /* the remote shell to the agent, or the agent itself */
	struct command command;               /* its command line */
	char target[300];               /* memory of one of its words */
	int in, out;                    /* to and from the agent, -1: closed */
	struct buf send, got;
	enum { MACHINE_OFF, MACHINE_CONTACTED, MACHINE_READY, MACHINE_RUNS, MACHINE_STOPS, MACHINE_DEAD } state;
	double last_heard, last_ping;  /* when it last answered; when it was last pinged */
	double quiet;                   /* seconds of silence allowed now */
	double output_ended;            /* when its output ended, 0: open */
	int alive;                      /* number of running processes */
	int host;                       /* the plan's host whose processes it runs, -1: none */
	int deaths;              /* how often its processes were moved or restarted because of it */
	int known;                      /* 1: it has answered before */
	int unfit;                      /* 1: nothing can be started there */
	int cut_off;             /* 1: its neighbours cannot reach it, although its agent answers */
	double failed;                  /* when its processes were last moved, 0: never */
};

struct cluster {
	const struct planfile *plan;
	const struct host_weights *weights;  /* expected weights of the hosts */
	const char *rsh;                /* remote shell, a command for sh */
	const char *dir;                /* folder searched first for programs of local agents */
	double timeout;
	const char *precision;          /* default precision of processes */
	const char *cache_type;         /* and type of KV caches; NULL: that of the precision */
	int verbose;                    /* 1: programs report what they did */
	const sigset_t *mask;
	struct machine *m;              /* [plan->nhosts] */
	int *at;                        /* [plan->nhosts] machine, -1: a spare, or unused */
	const char **address;           /* [plan->nhosts] current address of {NAME} */
	struct verdict verdict;         /* cause of the failure since cluster_start */
	char error_text[1024];          /* error frame from a program that has not ended yet */
	struct buf reports;             /* messages of failed programs, NUL after each */
	int culprit;                    /* machine of the cause, -1: none */
	int starting;                   /* 1: processes are still to be started */
	struct reach reach;             /* state of the links between hosts */
	struct child probe;             /* tries our own links */
	struct command probe_command;         /* its command line */
	char probe_words[3][320];       /* memory of its words */
	int probing;                    /* 1: the running processes are probes */
	char *script;                   /* rsh followed by "$@" */
	double seen;                    /* time of the last cluster_step */
};

/* Open a cluster. The caller sets plan, weights, rsh, dir, timeout, precision, verbose and mask.
 * Returns 0, or -1 and a message; call cluster_close in either case. */
int cluster_open(struct cluster *c);
void cluster_close(struct cluster *c);  /* after the agents have ended or were killed */

/* Contact missing agents and, once all are ready, start the processes; cluster_up returns 1 when
 * they run. Returns 0, or -1 and a message. */
int cluster_start(struct cluster *c);
int cluster_up(const struct cluster *c);
int cluster_unfit(const struct cluster *c);            /* 1: a host in use cannot start processes */
int cluster_running(const struct cluster *c);           /* number of processes */

/* Kill all processes. cluster_stopped returns 1 once none is left on a reachable machine.
 * cluster_abandon stops waiting: machines that did not answer count as dead. */
void cluster_stop(struct cluster *c);
int cluster_stopped(const struct cluster *c);
void cluster_abandon(struct cluster *c);

/* Record that a link of ours broke, for the stored message. */
void cluster_link_failed(struct cluster *c);

/*
 * After all processes have stopped, probe each link between hosts for at most PROBE_SECONDS: 0, or
 * -1 and a message. Once cluster_probed returns 1, cluster_judge marks unreachable hosts as the
 * cause of the failure. again: the previous failure was followed by this one without a new token,
 * so that messages about links count as well.
 */
#define PROBE_SECONDS 2
int cluster_probe(struct cluster *c);
int cluster_probed(const struct cluster *c);
void cluster_judge(struct cluster *c, int again);

/*
 * Choose a machine for the processes of dead and unreachable machines, and of machine `tired` (-1:
 * none): one that never failed, or the one with the fewest failures and no recent one, which may be
 * the same. Appends "; gamma replaces beta" for each change. Returns how many moved to
 * machines not tried before, or -1 and a message.
 */
int cluster_reassign(struct cluster *c, int tired, struct buf *what);

/* An error frame arrived: the program that sent it is about to end and report the reason. */
void cluster_note_error(struct cluster *c, const char *text);

/* Ping all agents. cluster_answered returns 1 if every machine that is not dead has answered
 * since. */
void cluster_ping(struct cluster *c);
int cluster_answered(const struct cluster *c, double since);

/* Release the agents, which kill what is left. cluster_gone returns 1 when all have ended.
 * cluster_kill kills them. */
void cluster_release(struct cluster *c);
int cluster_gone(const struct cluster *c);
void cluster_kill(struct cluster *c);

/* Fill in three descriptors to poll for each host of the plan; then act on them, at least every
 * timeout / 8 seconds: 0, or -1 and a message. */
void cluster_wait(struct cluster *c, struct pollfd *p);
int cluster_step(struct cluster *c, const struct pollfd *p);

/* Handle the end of a child process. Returns 1 if it belongs to the cluster, else 0. */
int cluster_reap(struct cluster *c, pid_t pid, int wstatus);

#endif
