/*
 * Times of the items of a model on hosts: the matrices of a layer's attention, its KV cache, its
 * router, its shared experts, its routed experts.  An item takes the time to read its weights or
 * rows, or the time of its operations, whichever is longer.  The items of a host run one after
 * another.
 *
 * A product of a matrix of P numbers with T rows takes 2 P (1/row - 1/rows) + 2 P T / rows seconds:
 * the first row at the host's rate for one row, each further row at its rate for many rows.
 */
#ifndef DS_COST_H
#define DS_COST_H

#include "plan/hosts.h"
#include "arch/sizes.h"

#define GROUP_MAX 16                    /* hosts that share the experts of a layer */

/* GFLOP/s of a core by default: one row, many rows; in i8 with weights that have products in it. */
#define CORE_ROW 30
#define CORE_ROWS 60
#define CORE_I8_ROW 100
#define CORE_I8_ROWS 140

struct rates {
	double row, rows;               /* operations/s, with one row and with many */
};

struct demand {                         /* what the plan is for */
	int context;                    /* positions of a sequence at most: the size of its cache */
	int at;                         /* positions on average while it decodes */
	int sequences, batches;         /* at a time; sequences are spread over the batches */
	int rows;                       /* of a batch of a prompt */
	double net, hop;                /* of the network: bytes/s; seconds of latency a frame */
	struct rates core, coded;       /* of a core by default; with weights that are coded */
	enum precision precision;       /* of the products, and of caches on GPUs */
	enum dtype cache_type;          /* of caches on CPUs */
	double tokens;                  /* of each sequence, which share the time of starting */
	int latency;                    /* 1: least time for a token of one sequence; 0: fastest
	                                   slowest stage */
};

/*
 * Consecutive hosts of the hosts file with consecutive layers.  A single host computes them whole.
 * Of several, the first (the leader) computes attention and routers, and each has some of the
 * routed experts of all these layers.
 */
struct group {
	int host, n;                    /* hosts host .. host + n-1 */
	int from, to;                   /* layers from .. to-1 */
	int experts[GROUP_MAX];         /* n > 1: how many each has of the routed ones */
	int shared;                     /* n > 1: which of them has the shared ones; -1: none */
};

/* Seconds that a batch keeps a host busy, by cause. */
struct busy {
	double memory, compute;
	double programs;                /* for each frame, whatever its contents */
	double network;                 /* at the same time as the rest */
	double start;                   /* once: until its programs are ready, weights in memory */
};

struct item_time;

struct cost {
	const struct sizes *s;
	const struct hosts *hosts;
	const struct demand *d;
	double rows, wanted, context;
	double frame, chosen, partial;  /* bytes of a batch: at attn, at expert, with a partial sum */
	struct item_time *sum;          /* sums of times over layers */
};

/*
 * The times of a batch of that many rows, logits for `wanted` of them, `context` positions before
 * each row.  The arguments must outlive it; cost_close frees.  0, or -1 and a message.
 */
int cost_open(struct cost *c, const struct sizes *s, const struct hosts *hosts,
    const struct demand *d, double rows, double wanted, double context);
void cost_close(struct cost *c);

/* The share of one of the group's hosts.  A group with layer 0 has the embedding, one with the last
 * layer the head. */
struct busy cost_member(const struct cost *c, const struct group *g, int member);
double busy_time(const struct busy *b);         /* all but network and start */

/* The measure of a choice: the longer of both times, and this batch's share of the start. */
double busy_choice(const struct cost *c, const struct busy *b);

/* Seconds from a batch's arrival at the group to its arrival at the next, without start. */
double cost_latency(const struct cost *c, const struct group *g);

/* Bytes that a host of the group holds. */
struct held {
	uint64_t weights, caches;
};
struct held cost_held(const struct cost *c, const struct group *g, int member);

double host_room(const struct host *h);         /* bytes of its memory that a plan may use */

#endif
