/*
 * Assignment of layers to hosts, and of experts within groups of hosts.
 */
#ifndef DS_SPLIT_H
#define DS_SPLIT_H

#include "plan/cost.h"

struct split {
	struct group *group;            /* [n] in order of layers and hosts */
	int n;
};

/*
 * Find the best split for a batch in flight (batched) and a sequence alone (single): costs of the
 * same model and hosts, without spares. Returns 0, or -1 and a message with the missing memory
 * (FAIL_DATA); call split_free in either case.
 */
int split_make(struct split *o, const struct cost *batched, const struct cost *single);
void split_free(struct split *o);

#endif
