/*
 * Drafts in a plan file: ds-draft is added after ds-sample, on its host.
 */
#ifndef DS_PLANDRAFT_H
#define DS_PLANDRAFT_H

#include "launch/planfile.h"

/* kind: --by of ds-draft, which lives as long as p.  report: 1: its -v.  0, or -1 and a message:
 * the plan has no ds-sample or no ds-head, or drafts already. */
int plandraft_add(struct planfile *p, const char *kind, int report);

#endif
