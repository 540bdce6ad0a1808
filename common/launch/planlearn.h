/*
 * What ds-learn changes of a plan: its stages learn, and ds-loss follows ds-head on its host.
 */
#ifndef DS_PLANLEARN_H
#define DS_PLANLEARN_H

#include "launch/planfile.h"

/* state: --state of the stages, or NULL; it lives as long as p.  0, or -1 and a message. */
int planlearn(struct planfile *p, const char *state);

#endif
