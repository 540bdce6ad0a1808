/*
 * Options of ds-run that change a plan: ds-draft is added after ds-sample, on its host, and
 * ds-embed gets --batches.
 */
#ifndef DS_PLANDRAFT_H
#define DS_PLANDRAFT_H

#include "launch/planfile.h"

/* kind: --by of ds-draft, which lives as long as p.  0, or -1 and a message: the plan has no
 * ds-sample or no ds-head, or drafts already. */
int plandraft_add(struct planfile *p, const char *kind);

/* Add --batches to ds-embed, unless it has the option or --ring, or there are several.  batches
 * lives as long as p.  0, or -1 and a message. */
int plandraft_batches(struct planfile *p, const char *batches);

#endif
