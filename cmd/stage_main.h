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

/* Options of several stages, with weights that learn and with KV caches: rows of o->longs, and what
 * o->own does with their codes, `to` being the struct stage_options.  Codes of the program's own
 * options begin at STAGE_OWN.  */
enum { LEARN = 256, STATE, CACHE_SIZE, CACHE_DIR, STAGE_OWN };
#define LEARN_LONGS {"learn", 0, NULL, LEARN}, {"state", 1, NULL, STATE}
#define CACHE_LONGS {"cache-size", 1, NULL, CACHE_SIZE}, {"cache-dir", 1, NULL, CACHE_DIR}
int stage_option(int c, const char *arg, void *to);

#define HELP_LEARN \
    "  --learn, --state       keep what backward passes need; DIR to start from\n"

/* Print the uses of a GPU's memory, a line for each.  */
void print_memory(const struct device *d);

#endif
