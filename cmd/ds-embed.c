/* ds-embed: the scheduler: prompts and sampled tokens in, batches of the residual stream out.  */
#include <string.h>

#include "base/fail.h"
#include "stage/embed.h"
#include "stage_main.h"

static const char help[] =
"usage: ds-embed -m MODEL [-B ROWS] [--batches N] [--cache-size SIZE]\n"
"                [--cache-dir DIR] [--cache-type TYPE] [--ring] [--trace]\n"
"                [--precision P] [--manifest FILE] [--learn] [--state DIR]\n"
"                [-i PROMPTS ... -i LOOP] [-o TO ...] [-r FD] [-v]\n"
"\n"
"The scheduler: forms batches of prompts and sampled tokens, and looks up their\n"
"embeddings.  The last of several -i is the loop; with one -i there is none.\n"
"\n"
HELP_MODEL
"  -B ROWS                maximum rows, and sequences, per batch (512)\n"
"  --batches N            maximum batches in flight (1), or auto\n"
"  --cache-size SIZE      bytes of KV caches per process (4G); share prefixes\n"
HELP_CACHE_DIR HELP_CACHE_TYPE
"  --ring, --trace        a ring, traversed once per layer; times of all stages\n"
HELP_PRECISION HELP_MANIFEST HELP_LEARN
"  -i, --input FROM       prompts; the last of several is the loop (stdin)\n"
HELP_TO HELP_REST;

enum { TRACE = STAGE_OWN, BATCHES, RING };

static int
own(int c, const char *arg, void *to)
{
	struct stage_options *o = to;

	switch (c) {
	case 'B':
		return options_int("-B", arg, 1, 1 << 20, &o->rows);
	case BATCHES:
		o->batches = 0;
		return strcmp(arg, "auto") == 0 ? 0 :
		    options_int("--batches", arg, 1, EMBED_BATCHES_MAX, &o->batches);
	case TRACE:
		return o->trace = 1;
	case RING:
		return o->ring = 1;
	}
	return stage_option(c, arg, to);
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"trace", 0, NULL, TRACE},
	    {"batches", 1, NULL, BATCHES}, {"ring", 0, NULL, RING}, LEARN_LONGS,
	    CACHE_LONGS, {0}};
	struct stage_options given = {.rows = 512, .batches = 1};

	return stage_main(STAGE_EMBED,
	    &(struct options){.help = help, .letters = "B:", .longs = longs, .own = own,
	    .to = &given}, &given, argc, argv);
}
