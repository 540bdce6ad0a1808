/*
 * The weights of a plan's hosts against those of ds-run's own model: a manifest of what the
 * programs on other hosts, or in other folders, map.  Each host gets its part of it; the programs
 * there compare (weights/manifest.h).
 */
#ifndef DS_HOST_WEIGHTS_H
#define DS_HOST_WEIGHTS_H

#include "weights/manifest.h"
#include "plan/planfile.h"

#define WEIGHTS_FILE "weights"          /* its name in the folder {run} */

struct host_weights {
	char *model;                    /* ds-run's own folder, NULL: there is nothing to compare */
	int layers;                     /* of the model */
	struct buf text;                /* the manifest */
	int given;                      /* it was given as a file: what is mapped here is compared, too */
};

/*
 * Make the manifest that the plan's lines need, wherever they may run, or take it from a file
 * (NULL: none).  Weights that are not all here, or that are not read within some seconds, are no
 * error: one line on standard error says what is not compared.  0, or -1 and a message.
 */
int host_weights_open(struct host_weights *w, const struct planfile *p, const char *model, const char *manifest);
void host_weights_close(struct host_weights *w);

/* Is a line at that address to compare its weights?  Not where it maps the very files of
 * ds-run's own model. */
int host_weights_apply(const struct host_weights *w, const struct plan_line *l, const char *address);

/* Append the orders for an agent (agent.h) to make the file of host's lines, if one of them is
 * concerned.  0, or -1 and a message. */
int host_weights_send(struct buf *to, const struct host_weights *w, const struct planfile *p, int host, const char *address);

/* Can only this machine be meant by an address? */
int address_is_here(const char *address);

#endif
