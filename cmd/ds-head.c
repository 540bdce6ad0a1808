/* ds-head: logits of the rows that ask for them: the final norm and the output matrix.  */
#include "stage_main.h"

static const char help[] =
    "usage: ds-head -m MODEL [--ring] [--tap NAMES] [--precision P]\n"
    "               [--manifest FILE] [--huge-pages] [--learn] [--state DIR]\n"
    "               [-i FROM] [-o TO ...] [-t THREADS] [-d DEVICE] [-r FD] [-v]\n"
    "\n"
    "Computes logits of the rows that request them.\n"
    "\n"
    HELP_MODEL
    "  --ring                 forward frames for other stages\n"
    HELP_TAP HELP_PRECISION HELP_MANIFEST HELP_HUGE HELP_LEARN HELP_FROM HELP_TO
    HELP_THREADS HELP_DEVICE HELP_REST;

enum { RING = STAGE_OWN };

static int
own(int c, const char *arg, void *to)
{
	return c == RING ? ((struct stage_options *)to)->ring = 1 : stage_option(c, arg, to);
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"ring", 0, NULL, RING}, LEARN_LONGS, {0}};
	struct stage_options given = {0};

	return stage_main(STAGE_HEAD,
	    &(struct options){.help = help, .longs = longs, .own = own, .to = &given}, &given, argc,
	    argv);
}
