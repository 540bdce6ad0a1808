/* ds-sample: logits in, the next token of each sequence out.  */
#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "stage_main.h"

static const char help[] =
"usage: ds-sample -m MODEL [-g] [-T TEMP] [-k K] [-p P] [-S SEED] [-n N]\n"
"                 [--think-min N] [--think-max N] [--stop TEXT ...] [--logprobs]\n"
"                 [--ring] [--draft] [-i FROM] [-o TO ...] [-r FD] [-v]\n"
"\n"
"Samples the next token of each sequence, and frees the sequence after its last.\n"
"\n"
"  -m, --model MODEL       folder or GGUF file (or DS_MODEL), with defaults\n"
"  -g, --greedy            always the most probable token\n"
"  -T, --temperature TEMP  temperature; 0 is greedy\n"
"  -k, --top-k K           sample from the K most probable tokens; 0 for all\n"
"  -p, --top-p P           sample from the top tokens of total probability P\n"
"  -S, --seed SEED         seed of the random numbers (0)\n"
"  -n, --max-tokens N      maximum new tokens per sequence (to last position)\n"
"  --logprobs              add the log-probability of each new token\n"
"  --think-min N           no </think> and no end before N new tokens\n"
"  --think-max N           force </think> after N new tokens without it\n"
"  --stop TEXT             end a sequence whose new text contains it; repeatable\n"
"  --ring                  forward frames for other stages\n"
"  --draft                 send frames to ds-draft\n"
"  -i, --input FROM        input: path, - or address (standard input)\n"
"  -o, --output TO         output, repeatable; each gets every frame (stdout)\n"
"  -r FD                   when ready, write a newline to file descriptor FD\n"
"  -v                      print a summary at the end\n"
"  -V, -h                  print the version; print this text\n";

enum { RING = 256, LOGPROBS, DRAFT, THINK_LEAST, THINK_MOST, STOP };

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
	case LOGPROBS:
		return p->logprobs = 1;
	case DRAFT:
		return o->draft = 1;
	case THINK_LEAST:
		return options_int("--think-min", arg, 0, THINK_MAX, &p->think_min);
	case THINK_MOST:
		return options_int("--think-max", arg, 0, THINK_MAX, &p->think_max);
	case STOP:
		return stops_add(&p->stop_text, arg, strlen(arg)) == 0 ? 0 :
		    fail(FAIL_USAGE, "--stop '%s': %s", arg, fail_text());
	}
	return o->ring = 1;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {SAMPLING_LONGS, {"ring", 0, NULL, RING},
	    {"logprobs", 0, NULL, LOGPROBS}, {"draft", 0, NULL, DRAFT},
	    {"think-min", 1, NULL, THINK_LEAST}, {"think-max", 1, NULL, THINK_MOST},
	    {"stop", 1, NULL, STOP}, {0}};
	struct stage_options given = {.sampling = SAMPLING_UNSET};

	return stage_main(STAGE_SAMPLE,
	    &(struct options){.help = help, .letters = "gT:k:p:S:n:", .longs = longs, .own = own,
	    .to = &given}, &given, argc, argv);
}
