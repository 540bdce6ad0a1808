/*
 * Comparison of the weights on the plan's hosts with ds-run's own model, by a manifest of what
 * programs on other hosts, or in other folders, map. Each host gets its part of it; the programs
 * there compare (weights/manifest.h).
 */
#ifndef DS_HOST_WEIGHTS_H
#define DS_HOST_WEIGHTS_H

#include "arch/config.h"
#include "weights/manifest.h"
#include "launch/planfile.h"

#define WEIGHTS_FILE "weights"          /* name of the manifest in the folder {run} */

struct host_weights {
	char *model;                    /* ds-run's own model folder, NULL: nothing is compared */
	struct config config;           /* of the model */
	struct buf text;                /* the manifest */
	int given;                    /* 1: read from a file; then local programs compare as well */
};

/*
 * Make the manifest for the plan's processes, wherever they may run, or read it from a file (NULL:
 * none). Weights that are missing here, or not read within some seconds, are no error: a line on
 * standard error lists what is not compared. Returns 0, or -1 and a message.
 */
int host_weights_open(struct host_weights *w, const struct planfile *p, const char *model, const char *manifest);
void host_weights_close(struct host_weights *w);

/* 1 if a process at that address must compare its weights: not if it maps the files of ds-run's
 * own model. */
int host_weights_apply(const struct host_weights *w, const struct plan_line *l, const char *address);

/* Append the orders for an agent (agent.h) to create the manifest for host's processes, if any
 * of them needs it. Returns 0, or -1 and a message. */
int host_weights_send(struct buf *to, const struct host_weights *w, const struct planfile *p, int host, const char *address);

#endif
