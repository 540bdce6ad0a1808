/* The exact sum of experts that ran side by side. */
#include "stage_main.h"

static const char help[] =
    "usage: ds-join -m MODEL -i FROM -i FROM ... [--tap NAMES] [-o TO ...]\n"
    "               [-t THREADS] [-r FD] [-v]\n"
    "\n"
    "Sums the experts of processes that ran side by side: one frame of each input\n"
    "in turn.\n"
    "\n"
    HELP_MODEL
    "  -i, --input FROM       where the frames of one process come from; two or more\n"
    HELP_TAP HELP_TO HELP_THREADS HELP_REST;

int
main(int argc, char **argv)
{
	return stage_main(&stage_programs[STAGE_JOIN], &(struct options){.help = help}, NULL, argc, argv);
}
