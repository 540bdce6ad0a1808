/*
 * Shared by cluster.c (state, answers of agents), cluster_start.c (agents, processes) and
 * cluster_probe.c (links between hosts).
 */
#ifndef DS_CLUSTER_INTERNAL_H
#define DS_CLUSTER_INTERNAL_H

#include "supervise/cluster.h"

/* The machine's name in the plan. */
const char *cluster_name(const struct cluster *c, const struct machine *m);

/* Contact missing agents; once all are ready, send them their processes. Returns 0, or -1 and a
 * message. */
int cluster_start_lines(struct cluster *c);

/* Append a blank and a word of the plan, filled in and quoted, to the orders for m. Returns 0, or
 * -1 and a message. */
int cluster_add_word(struct cluster *c, struct machine *m, const char *word);

/* Evaluate the message of a probe of a host (nhosts: of ours), which lists the ends that met no
 * peer. */
void cluster_on_unreachable(struct cluster *c, int host, const char *text);

#endif
