/*
 * Options of ds-run that change a plan: ds-draft is added after ds-sample, on its host, and
 * ds-embed gets --batches and --cache-size.
 */
#ifndef DS_PLANDRAFT_H
#define DS_PLANDRAFT_H

#include "launch/planfile.h"

/* kind: --by of ds-draft, which lives as long as p.  0, or -1 and a message: the plan has no
 * ds-sample or no ds-head, or drafts already. */
int plandraft_add(struct planfile *p, const char *kind);

/* Add an option of the scheduler to ds-embed, unless its line has it or --ring, or there are
 * several ds-embed.  option and value live as long as p.  1 it was added, 0 it was not, or -1 and
 * a message. */
int plandraft_embed(struct planfile *p, const char *option, const char *value);

#endif
