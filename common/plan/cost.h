/*
 * What work costs on which host.  An item of work (the matrices of a layer's attention, its cache, its router, its
 * shared experts, its routed experts) takes as long as its weights or latents take to be read, or its multiply-adds
 * to be done, whichever is longer; items of a host follow one another.
 *
 * A product of a matrix of P numbers with T rows takes 2 P (1/row - 1/rows) + 2 P T / rows seconds: with one row as much as the
 * host's rate for one row says, and for each further one as much as that for many rows says.
 */
#ifndef DS_COST_H
#define DS_COST_H

#include "plan/hosts.h"
#include "arch/sizes.h"

#define GROUP_MAX 16                    /* hosts that share the experts of a layer */

struct demand {                         /* what the plan is for */
	int context;                    /* positions that a sequence may reach: caches have room for them */
	int at;                         /* positions that it has on average while it decodes */
	int sequences, batches;         /* at a time; sequences are spread over the batches in flight */
	int rows;                       /* of a batch of a prompt */
	double net, hop;                /* of the network: bytes/s, seconds that a frame takes besides */
	double flops, batched_flops;    /* of a core, a second, where a host has no rates of its own: with one row, and with many */
	enum precision precision;       /* that GPUs compute in, and keep their caches in */
	double tokens;                  /* of each sequence, over which the time of starting is spread */
	int latency;                    /* 1: the least time for a token of one sequence; 0: the fastest slowest stage */
};

/*
 * Hosts that follow one another in their file, with layers that follow one another.  A single host does
 * them whole; of several the first (the leader) does attention and the choice of experts, and each has some of the
 * routed experts of all these layers.
 */
struct group {
	int host, n;                    /* hosts host .. host + n-1 */
	int from, to;                   /* layers from .. to-1 */
	int experts[GROUP_MAX];         /* n > 1: how many each has of the routed ones */
	int shared;                     /* n > 1: which of them has the shared ones; -1: none */
};

/* How long a batch keeps a host busy, and by what. */
struct busy {
	double memory, compute;         /* seconds */
	double programs;                /* what a frame costs them, whatever is in it */
	double network;                 /* apart from the rest: it goes on at the same time */
	double start;                   /* until its programs are ready, weights being in memory: once, not for each batch */
};

struct item_time;

struct cost {
	const struct sizes *s;
	const struct hosts *hosts;
	const struct demand *d;
	double rows, wanted, context;
	double frame, chosen, partial;  /* bytes of a batch at attn, at expert, and with a partial sum */
	struct item_time *sum;          /* sums of times over layers */
};

/*
 * The times of a batch of that many rows, logits for `wanted` of them, `context` positions before
 * each row.  The arguments must outlive it; cost_close frees.  0, or -1 and a message.
 */
int cost_open(struct cost *c, const struct sizes *s, const struct hosts *hosts, const struct demand *d,
    double rows, double wanted, double context);
void cost_close(struct cost *c);

/* The part of one of the group's hosts.  A group with layer 0 has the embedding, that with the last one the head. */
struct busy cost_member(const struct cost *c, const struct group *g, int member);
double busy_time(const struct busy *b);         /* all but network and start */

/* What a choice goes by: the longer of both times, and this batch's share of the start. */
double busy_choice(const struct cost *c, const struct busy *b);

/* Seconds from a batch's arrival at the group to its arrival at the next, without start. */
double cost_latency(const struct cost *c, const struct group *g);

/* Bytes that a host of the group holds. */
struct held {
	uint64_t weights, caches;
};
struct held cost_held(const struct cost *c, const struct group *g, int member);

double host_room(const struct host *h);         /* bytes of its memory that are planned with */

#endif
