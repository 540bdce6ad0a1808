/*
 * Which layers go to which hosts, and where experts of a layer are shared among several.
 */
#ifndef DS_SPLIT_H
#define DS_SPLIT_H

#include "plan/cost.h"

struct split {
	struct group *group;            /* [n], in the order of layers and of hosts */
	int n;
};

/*
 * The best split for a batch in flight (many) and a sequence alone (one), costs of the same model and hosts, none
 * of them spare.  0, or -1 and a message that says how much memory is missing (FAIL_DATA).
 */
int split_make(struct split *o, const struct cost *many, const struct cost *one);
void split_free(struct split *o);

#endif
