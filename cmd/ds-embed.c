/* ds-embed: prompts and looped-back tokens in, batches of the residual stream out. */
#include <string.h>

#include "base/fail.h"
#include "options.h"
#include "stage/embed.h"

static const char help[] =
"usage: ds-embed -m MODEL [-B ROWS] [--trace] [-i PROMPTS ... -i LOOP]\n"
"                [-o TO ...] [-r FD] [-v]\n"
"\n"
"The door of the pipeline: looks up the embedding of each token, forms batches\n"
"and cuts long prompts.  With several -i the last one is the loop, which brings\n"
"the sampled tokens back; with one there is no loop.\n"
"\n"
"  -m MODEL    checkpoint folder (or DS_MODEL)\n"
"  -B ROWS     most rows of a batch, most sequences sampled at a time (512)\n"
"  --trace     ask all stages to write into the frames how long they take\n"
"  -i FROM     where prompts come from, and last the loop (standard input)\n"
"  -o TO       where batches go; each of several gets all (standard output)\n"
"  -r FD       write a newline to descriptor FD when ready\n"
"  -v          say at the end what was done\n"
"  -V, -h      version, this text\n";

struct given {
	long batch;
	int trace;
};

static int
own(int c, const char *arg, void *to)
{
	struct given *g = to;

	if (c == 'B')
		return options_int("-B", arg, 1, 1 << 20, &g->batch);
	return g->trace = 1;
}

int
main(int argc, char **argv)
{
	static struct filter f;
	static struct embed e;
	static const struct option longs[] = {{"trace", no_argument, NULL, 256}, {0}};
	struct given g = {.batch = 512};

	f.o = (struct options){.help = help, .letters = "B:", .longs = longs, .own = own, .to = &g,
	    .max_in = ENDPOINTS_MAX, .max_out = ENDPOINTS_MAX};
	options_parse(&f.o, argc, argv);
	filter_links(&f);
	filter_model(&f);
	if (embed_open(&e, &f.stage, f.in, f.o.nin, f.out, f.o.nout, (uint32_t)g.batch) < 0)
		filter_fail(&f);
	e.trace = g.trace;
	filter_ready(&f);
	if (embed_run(&e) < 0)
		filter_fail(&f);
	embed_close(&e);
	return filter_close(&f, 0);
}
