/* ds-embed: prompts and looped-back tokens in, batches of the residual stream out. */
#include <string.h>

#include "base/fail.h"
#include "options.h"
#include "stage/embed.h"

static const char help[] =
"usage: ds-embed -m MODEL [-B ROWS] [--batches N] [--ring] [--trace]\n"
"                [--precision P] [--manifest FILE] [-i PROMPTS ... -i LOOP]\n"
"                [-o TO ...] [-r FD] [-v]\n"
"\n"
"The door of the pipeline: looks up the embedding of each token, forms batches\n"
"and cuts long prompts.  With several -i the last one is the loop, which brings\n"
"the sampled tokens back; with one there is no loop.\n"
"\n"
"  -m, --model MODEL      checkpoint folder (or DS_MODEL)\n"
"  -B ROWS                most rows, and most sequences, of a batch (512)\n"
"  --batches N            most batches on their way to be sampled at once (1)\n"
"  --ring                 frames come round for each layer: a ring\n"
"  --trace                ask all stages to write their times into the frames\n"
HELP_PRECISION HELP_MANIFEST
"  -i, --input FROM       where prompts come from; last: the loop (stdin)\n"
"  -o, --output TO        where batches go; each output gets all (stdout)\n"
"  -r FD                  write a newline to descriptor FD when ready\n"
"  -v                     say at the end what was done\n"
"  -V, -h                 version, this text\n";

enum { TRACE = 256, BATCHES, RING };

struct given {
	long batch, batches;
	int ring, trace;
};

static int
own(int c, const char *arg, void *to)
{
	struct given *g = to;

	if (c == 'B')
		return options_int("-B", arg, 1, 1 << 20, &g->batch);
	if (c == BATCHES)
		return options_int("--batches", arg, 1, EMBED_BATCHES_MAX, &g->batches);
	if (c == RING)
		return g->ring = 1;
	return g->trace = 1;
}

int
main(int argc, char **argv)
{
	static struct filter f;
	static struct embed e;
	static const struct option longs[] = {{"trace", no_argument, NULL, TRACE},
	    {"batches", required_argument, NULL, BATCHES}, {"ring", no_argument, NULL, RING}, {0}};
	struct given g = {.batch = 512, .batches = 1};

	f.o = (struct options){.help = help, .letters = "B:", .longs = longs, .own = own, .to = &g,
	    .products = 1, .weights = 1, .max_in = ENDPOINTS_MAX, .max_out = ENDPOINTS_MAX};
	options_parse(&f.o, argc, argv);
	if (g.ring && f.o.nin < 2)
		die(FAIL_USAGE, "--ring: a ring has a loop: give it as the last of two -i");
	filter_links(&f);
	filter_model(&f);
	if (embed_open(&e, &f.stage, f.in, f.o.nin, f.out, f.o.nout, (uint32_t)g.batch) < 0)
		filter_fail(&f);
	e.trace = g.trace;
	e.batches = (int)g.batches;
	e.ring = g.ring;
	filter_ready(&f);
	if (embed_run(&e) < 0)
		filter_fail(&f);
	embed_close(&e);
	return filter_close(&f, 0);
}
