/* ds-embed: prompts and looped-back tokens in, batches of the residual stream out. */
#include <string.h>

#include "base/fail.h"
#include "options.h"
#include "stage/embed.h"

static const char help[] =
"usage: ds-embed -m MODEL [-B ROWS] [-i PROMPTS ... -i LOOP] [-o TO ...]\n"
"                [-r FD] [-v]\n"
"\n"
"The door of the pipeline: looks up the embedding of each token, forms batches\n"
"and cuts long prompts.  With several -i the last one is the loop, which brings\n"
"the sampled tokens back; with one there is no loop.\n"
"\n"
"  -m MODEL    checkpoint folder (or DS_MODEL)\n"
"  -B ROWS     most rows of a batch, most sequences sampled at a time (512)\n"
"  -i FROM     where prompts come from, and last the loop (standard input)\n"
"  -o TO       where batches go; each of several gets all (standard output)\n"
"  -r FD       write a newline to descriptor FD when ready\n"
"  -v          say at the end what was done\n"
"  -V, -h      version, this text\n";

static int
own(int c, const char *arg, void *to)
{
	return c == 'B' ? options_int("-B", arg, 1, 1 << 20, to) : -1;
}

int
main(int argc, char **argv)
{
	static struct filter f;
	static struct embed e;
	long batch = 512;

	f.o = (struct options){.help = help, .letters = "B:", .own = own, .to = &batch,
	    .max_in = ENDPOINTS_MAX, .max_out = ENDPOINTS_MAX};
	options_parse(&f.o, argc, argv);
	filter_links(&f);
	filter_model(&f);
	if (embed_open(&e, &f.stage, f.in, f.o.nin, f.out, f.o.nout, (uint32_t)batch) < 0)
		filter_fail(&f);
	filter_ready(&f);
	if (embed_run(&e) < 0)
		filter_fail(&f);
	embed_close(&e);
	return filter_close(&f, 0);
}
