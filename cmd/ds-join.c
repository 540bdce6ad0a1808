/* ds-join: the exact sum of experts that ran side by side.  */
#include "stage_main.h"

static const char help[] =
    "usage: ds-join -m MODEL -i FROM -i FROM ... [--tap NAMES] [-o TO ...]\n"
    "               [-t THREADS] [-r FD] [-v]\n"
    "\n"
    "Sums the experts of processes that ran in parallel: one frame of each input.\n"
    "\n"
    HELP_MODEL
    "  -i, --input FROM       input: path, - or address; two or more\n"
    HELP_TAP HELP_TO HELP_THREADS HELP_REST;

int
main(int argc, char **argv)
{
	return stage_main(STAGE_JOIN, &(struct options){.help = help}, NULL, argc, argv);
}
