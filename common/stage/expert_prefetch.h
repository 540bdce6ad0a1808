/*
 * Experts that are not in memory: a checkpoint may be larger than that, and then its pages come from the disk
 * when they are first touched, a few at a time.  Which experts a batch needs is known before they are
 * computed, so all that they lack can be read at once.  To ask for it takes time, too: it is done only while
 * the process has had to wait for the disk, however much memory there is and whoever else needs it.
 */
#ifndef DS_EXPERT_AHEAD_H
#define DS_EXPERT_AHEAD_H

#include "stage/mlp.h"

struct expert_ahead {
	int reads;                      /* batches for which the system is still told early */
	int read;                       /* it was for some */
	long waits;                     /* for the disk, of the process so far */
	int counts;                     /* for the caller to set: look what is in memory */
	uint64_t bytes, held;           /* of the experts chosen so far: all, and what was in memory */
	uint64_t batches;
};

void expert_ahead_init(struct expert_ahead *a);

/* Parts that are about to be computed. */
void expert_ahead(struct expert_ahead *a, const struct mlp_rows *parts, int n);

#endif
