/*
 * The life of a stage's program: command line, links, model, device, ready, run, close.
 */
#ifndef DS_STAGE_MAIN_H
#define DS_STAGE_MAIN_H

#include "filter.h"
#include "stage/stages.h"

/*
 * The whole main of the stage STAGE_....  o has the text of -h and the program's own options; the
 * rest comes from the table of stages. given: where o->own stores these options; NULL: there are
 * none.  Returns the exit status.
 */
int stage_main(int stage, const struct options *o, struct stage_options *given, int argc,
    char **argv);

/* Print the uses of a GPU's memory, a line for each.  */
void print_memory(const struct device *d);

#endif
