/* ds-expert: the experts of its layers, all or some of them.  */
#include "stage_main.h"

static const char help[] =
    "usage: ds-expert -m MODEL [-l LAYERS] [-e SET] [--tap NAMES]\n"
    "                 [--precision P] [--manifest FILE] [--huge-pages] [--learn]\n"
    "                 [--state DIR] [-i FROM] [-o TO ...] [-t THREADS] [-d DEVICE]\n"
    "                 [-r FD] [-v]\n"
    "\n"
    "Adds the experts of its layers to the residual stream, all or a subset.\n"
    "\n"
    HELP_MODEL HELP_LAYERS
    "  -e SET                 experts to compute, s for shared: 0-7,s (all others)\n"
    HELP_TAP HELP_PRECISION HELP_MANIFEST HELP_HUGE HELP_LEARN HELP_FROM HELP_TO HELP_THREADS
    HELP_DEVICE HELP_REST;

static int
own(int c, const char *arg, void *to)
{
	if (c != 'e')
		return stage_option(c, arg, to);
	((struct stage_options *)to)->experts = arg;
	return 0;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {LEARN_LONGS, {0}};
	struct stage_options given = {0};

	return stage_main(STAGE_EXPERT,
	    &(struct options){.help = help, .letters = "e:", .longs = longs, .own = own,
	    .to = &given}, &given, argc, argv);
}
