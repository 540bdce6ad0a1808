/* ds-sample: logits in, the next token of each sequence out. */
#include <math.h>

#include "stage_main.h"

static const char help[] =
"usage: ds-sample -m MODEL [-g] [-T TEMP] [-k K] [-p P] [-S SEED] [-n N]\n"
"                 [--ring] [-i FROM] [-o TO ...] [-r FD] [-v]\n"
"\n"
"Chooses the next token of each sequence that asks for one, sends it to be\n"
"embedded, and frees the sequence behind its last token.\n"
"\n"
"  -m, --model MODEL       checkpoint folder (or DS_MODEL); it has the defaults\n"
"  -g, --greedy            greedy: always the likeliest token\n"
"  -T, --temperature TEMP  temperature; 0 is greedy\n"
"  -k, --top-k K           among the K likeliest; 0 for all\n"
"  -p, --top-p P           among the fewest with total probability P; 1 for all\n"
"  -S, --seed SEED         of the random numbers (0)\n"
"  -n, --max-tokens N      most new tokens of a sequence (to the last position)\n"
"  --ring                  pass on frames that wait for another stage\n"
"  -i, --input FROM        where logits come from (standard input)\n"
"  -o, --output TO         where tokens go; each output gets all (stdout)\n"
"  -r FD                   write a newline to descriptor FD when ready\n"
"  -v                      say at the end how many tokens were sampled\n"
"  -V, -h                  version, this text\n";

enum { RING = 256 };

static int
own(int c, const char *arg, void *to)
{
	struct stage_options *o = to;
	struct sampling_options *p = &o->sampling;

	switch (c) {
	case 'g':
		return p->greedy = 1;
	case 'T':
		return options_double("-T", arg, 0, 1000, &p->temperature);
	case 'k':
		return options_int("-k", arg, 0, INT32_MAX, &p->top_k);
	case 'p':
		return options_double("-p", arg, 0, 1, &p->top_p);
	case 'S':
		return options_int("-S", arg, 0, INT64_MAX, &p->seed);
	case 'n':
		return options_int("-n", arg, 0, UINT32_MAX, &p->max_new);
	}
	return o->ring = 1;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {SAMPLING_LONGS, {"ring", 0, NULL, RING}, {0}};
	struct stage_options given = {.sampling = SAMPLING_UNSET};

	return stage_main(&stage_programs[STAGE_SAMPLE],
	    &(struct options){.help = help, .letters = "gT:k:p:S:n:", .longs = longs, .own = own, .to = &given}, &given, argc, argv);
}
