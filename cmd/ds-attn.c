/* ds-attn: attention of its layers, with their KV caches.  */
#include "stage_main.h"

static const char help[] =
    "usage: ds-attn -m MODEL [-l LAYERS] [--tap NAMES] [--precision P]\n"
    "               [--manifest FILE] [--huge-pages] [--learn] [--state DIR]\n"
    "               [--cache-dir DIR] [--cache-size SIZE] [--cache-type TYPE]\n"
    "               [-i FROM] [-o TO ...] [-t THREADS] [-d DEVICE] [-r FD] [-v]\n"
    "\n"
    "Computes attention of its layers, and holds their KV cache.\n"
    "\n"
    HELP_MODEL HELP_LAYERS HELP_TAP HELP_PRECISION HELP_MANIFEST HELP_HUGE HELP_LEARN
    HELP_CACHE_DIR HELP_CACHE HELP_CACHE_TYPE HELP_FROM HELP_TO HELP_THREADS HELP_DEVICE
    HELP_REST;

int
main(int argc, char **argv)
{
	static const struct option longs[] = {LEARN_LONGS, CACHE_LONGS, {0}};
	struct stage_options given = {0};

	return stage_main(STAGE_ATTN,
	    &(struct options){.help = help, .longs = longs, .own = stage_option, .to = &given},
	    &given, argc, argv);
}
