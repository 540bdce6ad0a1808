/* ds-embed: prompts and looped-back tokens in, batches of the residual stream out. */
#include "base/fail.h"
#include "stage/embed.h"
#include "stage_main.h"

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

static int
own(int c, const char *arg, void *to)
{
	struct stage_options *o = to;

	switch (c) {
	case 'B':
		return options_int("-B", arg, 1, 1 << 20, &o->rows);
	case BATCHES:
		return options_int("--batches", arg, 1, EMBED_BATCHES_MAX, &o->batches);
	case RING:
		return o->ring = 1;
	}
	return o->trace = 1;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"trace", 0, NULL, TRACE}, {"batches", 1, NULL, BATCHES}, {"ring", 0, NULL, RING}, {0}};
	struct stage_options given = {.rows = 512, .batches = 1};

	return stage_main(&stage_programs[STAGE_EMBED],
	    &(struct options){.help = help, .letters = "B:", .longs = longs, .own = own, .to = &given}, &given, argc, argv);
}
