/* ds-sample: logits in, the next token of each sequence out. */
#include <string.h>

#include "base/fail.h"
#include "options.h"
#include "stage/sample.h"

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

/* What the command line says, laid over the checkpoint's defaults later. */
struct given {
	int greedy, has_temperature, has_top_k, has_top_p, has_max;
	int ring;
	double temperature, top_p;
	long top_k, seed, max;
};

static int
own(int c, const char *arg, void *to)
{
	struct given *g = to;

	switch (c) {
	case RING:
		return g->ring = 1;
	case 'g':
		return g->greedy = 1;
	case 'T':
		g->has_temperature = 1;
		return options_double("-T", arg, 0, 1000, &g->temperature);
	case 'k':
		g->has_top_k = 1;
		return options_int("-k", arg, 0, INT32_MAX, &g->top_k);
	case 'p':
		g->has_top_p = 1;
		return options_double("-p", arg, 0, 1, &g->top_p);
	case 'S':
		return options_int("-S", arg, 0, INT64_MAX, &g->seed);
	case 'n':
		g->has_max = 1;
		return options_int("-n", arg, 0, UINT32_MAX, &g->max);
	}
	return -1;
}

static struct sampling
lay_over(struct sampling p, const struct given *g)
{
	if (g->has_temperature) {
		p.temperature = g->temperature;
		p.greedy = g->temperature == 0;
	}
	if (g->has_top_k)
		p.top_k = (int)g->top_k;
	if (g->has_top_p)
		p.top_p = g->top_p;
	if (g->has_max)
		p.max_new = (uint32_t)g->max;
	if (g->greedy)
		p.greedy = 1;
	p.seed = (uint64_t)g->seed;
	return p;
}

int
main(int argc, char **argv)
{
	static struct filter f;
	static struct sample s;
	static const struct option longs[] = {SAMPLING_LONGS, {"ring", no_argument, NULL, RING}, {0}};
	struct given g = {0};
	struct sampling p;
	int status;

	f.o = (struct options){.help = help, .letters = "gT:k:p:S:n:", .longs = longs, .own = own, .to = &g,
	    .max_in = 1, .max_out = ENDPOINTS_MAX};
	options_parse(&f.o, argc, argv);
	filter_links(&f);
	filter_model(&f);
	p = lay_over(sampling_defaults(&f.model.config), &g);
	if (sample_open(&s, &f.stage, &p) < 0)
		filter_fail(&f);
	s.ring = g.ring;
	filter_ready(&f);
	status = filter_run(&f, sample_frame, &s);
	if (f.o.verbose && status == 0)
		warn("%llu tokens", (unsigned long long)s.tokens);
	sample_close(&s);
	return status;
}
