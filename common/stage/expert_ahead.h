/*
 * Experts that are not in memory: a checkpoint may be larger than that, and then its pages come from the disk
 * when they are first touched, a few at a time.  Which experts a batch needs is known before they are
 * computed, so all that they lack can be read at once.
 */
#ifndef DS_EXPERT_AHEAD_H
#define DS_EXPERT_AHEAD_H

#include "stage/mlp.h"

struct expert_ahead {
	int reads;                      /* there is more of them than half of the memory: tell the system early */
	int counts;                     /* for the caller to set: look what is in memory */
	uint64_t bytes, held;           /* of the experts chosen so far: all, and what was in memory */
	uint64_t batches;
};

/* total: bytes of all weights that the process may need. */
void expert_ahead_init(struct expert_ahead *a, uint64_t total);

uint64_t mlp_bytes(const struct mlp *m);

/* Parts that are about to be computed. */
void expert_ahead(struct expert_ahead *a, const struct mlp_rows *parts, int n);

#endif
