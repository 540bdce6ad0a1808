/* ds-route: the experts of each row, in its layers.  */
#include "stage_main.h"

static const char help[] =
    "usage: ds-route -m MODEL [-l LAYERS] [--tap NAMES] [--precision P]\n"
    "                [--manifest FILE] [--huge-pages] [--learn] [--state DIR]\n"
    "                [-i FROM] [-o TO ...] [-t THREADS] [-d DEVICE] [-r FD] [-v]\n"
    "\n"
    "Selects the experts of each row, in its layers.\n"
    "\n"
    HELP_MODEL HELP_LAYERS HELP_TAP HELP_PRECISION HELP_MANIFEST HELP_HUGE HELP_LEARN HELP_FROM
    HELP_TO HELP_THREADS HELP_DEVICE HELP_REST;

int
main(int argc, char **argv)
{
	static const struct option longs[] = {LEARN_LONGS, {0}};
	struct stage_options given = {0};

	return stage_main(STAGE_ROUTE,
	    &(struct options){.help = help, .longs = longs, .own = stage_option, .to = &given},
	    &given, argc, argv);
}
