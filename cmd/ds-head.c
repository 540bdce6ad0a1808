/* ds-head: logits of the rows that ask for them: the final norm and the output matrix.  */
#include "stage_main.h"

static const char help[] =
    "usage: ds-head -m MODEL [--ring] [--tap NAMES] [--precision P]\n"
    "               [--manifest FILE] [-i FROM] [-o TO ...] [-t THREADS] [-d DEVICE]\n"
    "               [-r FD] [-v]\n"
    "\n"
    "Computes logits of the rows that request them.\n"
    "\n"
    HELP_MODEL
    "  --ring                 forward frames for other stages\n"
    HELP_TAP HELP_PRECISION HELP_MANIFEST HELP_FROM HELP_TO HELP_THREADS HELP_DEVICE
    HELP_REST;

static int
own(int c, const char *arg, void *to)
{
	(void)c, (void)arg;
	return ((struct stage_options *)to)->ring = 1;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"ring", 0, NULL, 256}, {0}};
	struct stage_options given = {0};

	return stage_main(STAGE_HEAD,
	    &(struct options){.help = help, .longs = longs, .own = own, .to = &given}, &given, argc,
	    argv);
}
