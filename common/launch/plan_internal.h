/*
 * Shared by plan.c, the pipeline of ds-run, and learn_plan.c, that of ds-learn.  p has room for the
 * commands.
 */
#ifndef DS_PLAN_INTERNAL_H
#define DS_PLAN_INTERNAL_H

#include "launch/plan.h"
#include "stage/stages.h"

/* Allocate room for the commands of a pipeline.  Returns 0, or -1 and a message. */
int plan_size(struct plan *p, const struct plan_options *o);

/* Append a program with the options that all programs have. */
struct command *plan_program(struct plan *p, const struct plan_options *o, const char *name);

/* Append the program of a stage, which computes; layer -1: on all layers. */
struct command *plan_worker(struct plan *p, const struct plan_options *o, int stage, int layer);

/* Append the programs of all layers. */
void plan_layers(struct plan *p, const struct plan_options *o);

void command_word(struct command *p, const char *word);

#endif
