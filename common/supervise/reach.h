/*
 * Which hosts of a plan can reach each other: the links between hosts, which of them are broken,
 * and which host is to blame. The driver, which feeds the pipeline, counts as host number
 * plan->nhosts.
 */
#ifndef DS_REACH_H
#define DS_REACH_H

#include "launch/planfile.h"

struct reach_link {
	int from, to;                   /* host that connects; host that binds */
	int from_line, to_line;         /* their processes, -1: the driver */
	const char *connects, *waits;   /* endpoints as in the plan, without "nccl:" */
	int broken;                     /* 1: a probe failed */
	int accused;             /* 1: a program reported that its peer is silent or did not come */
};

struct reach {
	const struct planfile *plan;
	struct reach_link *l;           /* [n] */
	int n;
	size_t cap;
};

/* Find the plan's tcp:// links between two hosts. Returns 0, or -1 and a message. */
int reach_open(struct reach *r, const struct planfile *plan);
void reach_close(struct reach *r);
void reach_reset(struct reach *r);              /* clears broken and accused */

/* A process (line; -1: the driver) ended with this message. If it is about a link, mark that
 * link as accused. */
void reach_accuse(struct reach *r, int line, const char *text, const char *const *address);

/*
 * The host most implicated by broken (or accused) links, or -1 if there are none: first a host that
 * no neighbour reaches, then the one that most do not reach. *peers, unless NULL, is their number;
 * text lists them: "alpha, beta and this host".
 */
int reach_culprit(const struct reach *r, int accused, int *peers, char *text, size_t size);

/* Ignore the links of that host, so that another culprit can be found. */
void reach_excuse(struct reach *r, int host);

#endif
