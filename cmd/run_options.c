#include "run_options.h"

#include <string.h>

#include "base/fail.h"
#include "stage/draft.h"
#include "stage/embed.h"
#include "stage/request.h"

enum { TEMPLATE = 256, KEEP, BATCHES, PLAN, RSH, MANIFEST, AGENT, LINES, MESSAGES, THINKING, PROBE,
	JSONL, OUT, RESUME, ORDERED, LOGPROBS, SAMPLES, CACHE_BYTES, CACHE_DIR, DRAFT, EARLY,
	PROMPT_IDS, HUGE_PAGES };

const struct option run_longs[] = {
	SAMPLING_LONGS,
	{"quiet", 0, NULL, 'q'}, {"completion", 0, NULL, 'w'},
	{"template", 1, NULL, TEMPLATE}, {"keep", 1, NULL, KEEP},
	{"batches", 1, NULL, BATCHES}, {"draft", 1, NULL, DRAFT}, {"early", 1, NULL, EARLY},
	{"plan", 1, NULL, PLAN}, {"rsh", 1, NULL, RSH}, {"manifest", 1, NULL, MANIFEST},
	{"agent", 0, NULL, AGENT}, {"lines", 1, NULL, LINES},
	{"messages", 1, NULL, MESSAGES}, {"jsonl", 1, NULL, JSONL}, {"out", 1, NULL, OUT},
	{"resume", 0, NULL, RESUME}, {"ordered", 0, NULL, ORDERED},
	{"logprobs", 0, NULL, LOGPROBS}, {"prompt-ids", 0, NULL, PROMPT_IDS},
	{"huge-pages", 0, NULL, HUGE_PAGES},
	{"samples", 1, NULL, SAMPLES},
	{"cache-size", 1, NULL, CACHE_BYTES}, {"cache-dir", 1, NULL, CACHE_DIR},
	{"think-min", 1, NULL, PLAN_THINK_MIN}, {"think-max", 1, NULL, PLAN_THINK_MAX},
	{"thinking", 1, NULL, THINKING}, {"probe", 1, NULL, PROBE},
	{0}
};

/* An option for ds-sample: its value is checked here, and passed unchanged.  */
static int
pass(struct plan_options *p, int c, const char *arg)
{
	const struct sampling_option *s = sampling_options;
	double x;
	long n;

	while (s->c != c)
		s++;
	p->sampling[s - sampling_options] = arg;
	if (s->real)
		return options_double(s->word, arg, 0, (double)s->max, &x);
	return options_int(s->word, arg, 0, s->max, &n);
}

static int
parse_cut(struct plan_options *p, const char *arg)
{
	int n, r = options_word("-x", arg, cut_names, &n);

	p->cut = (enum cut)n;
	return r;
}

static int
parse_early(struct given *o, const char *arg)
{
	o->cut = "--early";
	o->run.plan.early = arg;
	return strcmp(arg, "text") == 0 || strcmp(arg, "number") == 0 || strcmp(arg,
	    "boxed") == 0 ||
	    strncmp(arg, PLAN_EARLY_REGEX, strlen(PLAN_EARLY_REGEX)) == 0 ? 0 :
	    fail(FAIL_USAGE, "--early '%s': give text, number, boxed or regex=RE", arg);
}

/* Options about many answers. */
static int
own_answers(struct given *o, int c, const char *arg)
{
	struct plan_options *p = &o->run.plan;
	uint64_t bytes;

	switch (c) {
	case OUT:
		p->out = strcmp(arg, "-") == 0 ? NULL : arg;
		return 0;
	case RESUME:
		return p->resume = 1;
	case ORDERED:
		return p->ordered = 1;
	case LOGPROBS:
		return p->logprobs = 1;
	case PROMPT_IDS:
		return p->prompt_ids = 1;
	case EARLY:
		return parse_early(o, arg);
	case SAMPLES:
		p->samples = arg;
		return options_int("--samples", arg, 1, REQUEST_PATHS_MAX, &o->samples);
	case CACHE_BYTES:
		p->cache_size = arg;
		return options_size("--cache-size", arg, &bytes);
	case CACHE_DIR:
		o->worker = "--cache-dir";
		p->cache_dir = arg;
		return 0;
	}
	return -1;
}

int
run_own(int c, const char *arg, void *to)
{
	struct given *o = to;
	struct plan_options *p = &o->run.plan;
	int on;
	long n;
	enum draft_by by;

	switch (c) {
	case '0':
	case LINES:
	case MESSAGES:
	case JSONL:
		if (o->prompts)
			return fail(FAIL_USAGE,
			    "-0, --lines, --messages and --jsonl: give one file of prompts");
		o->prompts = arg;
		*(c == '0' ? &p->texts : c == LINES ? &p->lines :
		    c == JSONL ? &p->jsonl : &p->messages) = 1;
		return 0;
	case 'c':
	case 'w':
		p->chat = c == 'c';
		return 0;
	case 'x':
		o->cut = "-x";
		return parse_cut(p, arg);
	case 'g':
		return p->greedy = 1;
	case 'T':
	case 'k':
	case 'p':
	case 'S':
	case 'n':
	case PLAN_THINK_MIN:
	case PLAN_THINK_MAX:
		return pass(p, c, arg);
	case OUT:
	case RESUME:
	case ORDERED:
	case LOGPROBS:
	case PROMPT_IDS:
	case SAMPLES:
	case EARLY:
	case CACHE_BYTES:
	case CACHE_DIR:
		return own_answers(o, c, arg);
	case TEMPLATE:
		p->template = arg;
		return 0;
	case THINKING:
		p->thinking = arg;
		return options_switch("--thinking", arg, &on);
	case KEEP:
		o->cut = "--keep";
		p->keep = arg;
		return 0;
	case HUGE_PAGES:
		o->worker = "--huge-pages";
		return p->huge_pages = 1;
	case BATCHES:
		o->worker = "--batches";
		p->batches = arg;
		return strcmp(arg, "auto") == 0 ? 0 :
		    options_int("--batches", arg, 1, EMBED_BATCHES_MAX, &n);
	case DRAFT:
		p->draft = strcmp(arg, "none") == 0 ? NULL : arg;
		return !p->draft || draft_by_name(arg, &by) == 0 ? 0 :
		    fail(FAIL_USAGE, "--draft '%s': give mtp, prompt or none", arg);
	case PLAN:
		o->plan = arg;
		return 0;
	case RSH:
		o->rsh = arg;
		return 0;
	case MANIFEST:
		o->manifest = arg;
		return 0;
	case AGENT:
		return o->agent = 1;
	case PROBE:
		o->probe = arg;
		return 0;
	case 'q':
		return p->quiet = 1;
	case 's':
		o->cut = "-s";
		return o->script = 1;
	case 't':
		o->worker = "-t";
		if (options_int("-t", arg, 1, 1024, &n) < 0)
			return -1;
		p->threads = (int)n;
		return 0;
	}
	return -1;
}

void
run_check(const struct given *o)
{
	const struct plan_options *p = &o->run.plan;

	if ((p->template || p->thinking || p->messages) && !p->chat)
		die(FAIL_USAGE, "%s is for a chat: it does not go with -w",
		    p->template ? "--template" : p->thinking ? "--thinking" : "--messages");
	if ((o->rsh || o->manifest) && !o->plan)
		die(FAIL_USAGE, "%s is for the hosts of a plan: give --plan with it",
		    o->rsh ? "--rsh" : "--manifest");
	if ((p->out || p->ordered || p->logprobs || p->prompt_ids) && !p->jsonl)
		die(FAIL_USAGE, "%s is for answers in JSON: give --jsonl with it",
		    p->out ? "--out" : p->ordered ? "--ordered" : p->logprobs ? "--logprobs" :
		    "--prompt-ids");
	if (p->early && !p->jsonl)
		die(FAIL_USAGE, "--early counts answers in JSON: give --jsonl with it");
	if (p->resume && !p->out)
		die(FAIL_USAGE, "--resume goes on with a file of answers: give --out with it");
	if (p->jsonl && p->quiet)
		die(FAIL_USAGE, "-q does not go with --jsonl: 'answer' has no reasoning");
}
