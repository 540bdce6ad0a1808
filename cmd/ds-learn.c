/* ds-learn: supervised and reinforcement learning by the pipeline of stages.  */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/io.h"
#include "launch/learn.h"
#include "launch/learn_sample.h"
#include "learning/learning.h"
#include "options.h"
#include "supervise/learn.h"

static const char help[] =
"usage: ds-learn -m MODEL [-o TO] [OPTION ...]\n"
"Trains a model on records, or by rewards for its own answers.\n"
"\n"
"  -m, --model MODEL              checkpoint folder (or DS_MODEL)\n"
"  -o, --output TO                folder of the trained model\n"
"  --sft, --records, --grpo       FILE of records; of graded answers; prompts\n"
"  --grade, --group               CMD that adds rewards; N answers a prompt (8)\n"
"  --steps, --epochs, --batch     N; or N times all (1); N records a step (32)\n"
"  --rate, --warmup, --schedule   1e-5; N steps; constant, linear or cosine\n"
"  --betas, --eps, --decay        of AdamW: B,B (0.9,0.95); 1e-8; weights (0)\n"
"  --clip-norm, --balance         largest gradient (1); RATE of router biases\n"
"  --clip, --advantage            E or E,E of the ratio (0.2); std or mean\n"
"  --beta, --reference            weight of the KL (0); MODEL (that of -m)\n"
"  -T, --temperature TEMP         temperature of answers; 0 is greedy\n"
"  -k, --top-k K                  of the K most probable tokens; 0 for all\n"
"  -p, --top-p P                  of the top tokens of total probability P\n"
"  -n, --max-tokens N             maximum new tokens per answer\n"
"  -S, --seed SEED                seed of the random numbers (0)\n"
"  --state, --save-every, --rows  DIR to go on from; N steps; N of a frame\n"
"  --dry-run, --gradients         no step: the loss; FILE of gradients\n"
"  --plan, --rsh, --manifest      FILE of ds-plan; CMD to reach hosts; FILE\n"
"  --feed, --back, -x             TO stages; FROM them; CUT fused, layer or stage\n"
"  -t, --threads THREADS          threads of each process (all cores)\n"
"  -V, -h, -s, -v                 print version; this text; script; summary\n";

enum { SFT = 256, RECORDS, GRPO, GRADE, STEPS, EPOCHS, BATCH, GROUP, RATE, WARMUP, SCHEDULE, DECAY,
	BETAS, EPS, CLIP_NORM, BALANCE, CLIP, ADVANTAGE, BETA, REFERENCE, STATE, SAVE_EVERY,
	DRY_RUN, GRADIENTS, ROWS, FEED, BACK, PLAN, RSH, MANIFEST };

static const struct option longs[] = {
	{"sft", 1, NULL, SFT}, {"records", 1, NULL, RECORDS}, {"grpo", 1, NULL, GRPO},
	{"grade", 1, NULL, GRADE}, {"steps", 1, NULL, STEPS}, {"epochs", 1, NULL, EPOCHS},
	{"batch", 1, NULL, BATCH}, {"group", 1, NULL, GROUP}, {"rate", 1, NULL, RATE},
	{"warmup", 1, NULL, WARMUP}, {"schedule", 1, NULL, SCHEDULE}, {"decay", 1, NULL, DECAY},
	{"betas", 1, NULL, BETAS}, {"eps", 1, NULL, EPS}, {"clip-norm", 1, NULL, CLIP_NORM},
	{"balance", 1, NULL, BALANCE}, {"clip", 1, NULL, CLIP}, {"advantage", 1, NULL, ADVANTAGE},
	{"beta", 1, NULL, BETA}, {"reference", 1, NULL, REFERENCE}, {"state", 1, NULL, STATE},
	{"save-every", 1, NULL, SAVE_EVERY}, {"dry-run", 0, NULL, DRY_RUN},
	{"gradients", 1, NULL, GRADIENTS}, {"rows", 1, NULL, ROWS}, {"feed", 1, NULL, FEED},
	{"back", 1, NULL, BACK}, {"plan", 1, NULL, PLAN}, {"rsh", 1, NULL, RSH},
	{"manifest", 1, NULL, MANIFEST}, {"temperature", 1, NULL, 'T'}, {"top-k", 1, NULL, 'k'},
	{"top-p", 1, NULL, 'p'}, {"max-tokens", 1, NULL, 'n'}, {"seed", 1, NULL, 'S'},
	{"output", 1, NULL, 'o'}, {"threads", 1, NULL, 't'}, {0}};

struct given {
	struct learning_options o;
	struct learn_launch launch;
	int script;
	long threads;                   /* 0: not given */
	const char *plan, *rsh, *manifest;      /* NULL: not given */
	const char *local;              /* an option that excludes --plan, or NULL */
	const char *policy, *sampled;   /* an option for rewards; for --grpo alone; or NULL */
};

/* One or two numbers: A or A,B.  */
static int
parse_pair(const char *option, const char *text, double max, double to[2])
{
	const char *last = text;
	char *end;

	to[0] = to[1] = strtod(text, &end);
	if (end != text && *end == ',') {
		last = end + 1;
		to[1] = strtod(last, &end);
	}
	if (end == last || *end || !(to[0] >= 0 && to[0] <= max && to[1] >= 0 && to[1] <= max))
		return fail(FAIL_USAGE, "%s '%s': give N or N,N, from 0 to %.9g", option, text,
		    max);
	return 0;
}

static int
set_data(struct learning_options *o, enum learning_data data, const char *arg)
{
	if (o->data != LEARNING_NONE)
		return fail(FAIL_USAGE, "--sft, --records and --grpo: give one of them, once");
	o->data = data;
	o->file = arg;
	return 0;
}

/* Options of the optimizer.  -2: it is none of them.  */
static int
own_step(struct learning_options *o, int c, const char *arg)
{
	double beta[2];
	int n, r;

	switch (c) {
	case RATE:
		return options_double("--rate", arg, 0, 1e6, &o->rate);
	case WARMUP:
		return options_int("--warmup", arg, 0, INT_MAX, &o->warmup);
	case SCHEDULE:
		r = options_word("--schedule", arg, learning_schedules, &n);
		o->schedule = (enum learning_schedule)n;
		return r;
	case DECAY:
		return options_double("--decay", arg, 0, 1e6, &o->decay);
	case BETAS:
		if (!strchr(arg, ','))
			return fail(FAIL_USAGE, "--betas '%s': give both, as 0.9,0.95", arg);
		r = parse_pair("--betas", arg, 0.999999999, beta);
		o->beta1 = beta[0];
		o->beta2 = beta[1];
		return r;
	case EPS:
		return options_double("--eps", arg, 1e-30, 1, &o->eps);
	case CLIP_NORM:
		return options_double("--clip-norm", arg, 0, 1e30, &o->clip_norm);
	case BALANCE:
		return options_double("--balance", arg, 0, 1e6, &o->balance);
	}
	return -2;
}

/* Options of policy gradients.  -2: it is none of them.  */
static int
own_policy(struct learning_options *o, int c, const char *arg)
{
	struct sampling_options *p = &o->sampling;
	int n, r;

	switch (c) {
	case GRADE:
		o->grade = arg;
		return 0;
	case GROUP:
		return options_int("--group", arg, 1, 65536, &o->group);
	case CLIP:
		return parse_pair("--clip", arg, 1e6, o->clip);
	case ADVANTAGE:
		r = options_word("--advantage", arg, advantage_names, &n);
		o->advantage = (enum advantage)n;
		return r;
	case BETA:
		return options_double("--beta", arg, 0, 1e6, &o->beta);
	case REFERENCE:
		o->reference = arg;
		return 0;
	case 'T':
		return options_double("-T", arg, 0, 1000, &p->temperature);
	case 'k':
		return options_int("-k", arg, 0, INT32_MAX, &p->top_k);
	case 'p':
		return options_double("-p", arg, 0, 1, &p->top_p);
	case 'n':
		return options_int("-n", arg, 1, UINT32_MAX, &p->max_new);
	}
	return -2;
}

/* Options of the run.  -2: it is none of them.  */
static int
own_run(struct learning_options *o, int c, const char *arg)
{
	switch (c) {
	case SFT:
	case RECORDS:
	case GRPO:
		return set_data(o, c == SFT ? LEARNING_SFT : c == GRPO ? LEARNING_GRPO :
		    LEARNING_RECORDS, arg);
	case STEPS:
		return options_int("--steps", arg, 1, INT_MAX, &o->steps);
	case EPOCHS:
		return options_int("--epochs", arg, 1, INT_MAX, &o->epochs);
	case BATCH:
		return options_int("--batch", arg, 1, INT_MAX, &o->batch);
	case ROWS:
		return options_int("--rows", arg, 1, INT_MAX, &o->rows);
	case SAVE_EVERY:
		return options_int("--save-every", arg, 1, INT_MAX, &o->save_every);
	case 'S':
		return options_int("-S", arg, 0, INT64_MAX, &o->sampling.seed);
	case 'o':
		o->out = arg;
		return 0;
	case STATE:
		o->state = arg;
		return 0;
	case DRY_RUN:
		return o->dry_run = 1;
	case GRADIENTS:
		o->gradients = arg;
		return 0;
	case FEED:
		o->feed = arg;
		return 0;
	case BACK:
		o->back = arg;
		return 0;
	}
	return -2;
}

/* Options of the processes.  -2: it is none of them.  */
static int
own_launch(struct given *g, int c, const char *arg)
{
	int n, r;

	switch (c) {
	case 'x':
		g->local = "-x";
		r = options_word("-x", arg, cut_names, &n);
		g->launch.plan.cut = (enum cut)n;
		return r;
	case 't':
		g->local = "-t";
		return options_int("-t", arg, 1, 1024, &g->threads);
	case 's':
		g->local = "-s";
		return g->script = 1;
	case PLAN:
		g->plan = arg;
		return 0;
	case RSH:
		g->rsh = arg;
		return 0;
	case MANIFEST:
		g->manifest = arg;
		return 0;
	}
	return -2;
}

/* Remember an option that does not go with all kinds of records. */
static void
note_policy(struct given *g, int c)
{
	const struct option *l = longs;

	while (l->val != c)
		l++;
	if (c == CLIP || c == ADVANTAGE)
		g->policy = l->name;
	else if (c != GRADE && c != BETA && c != REFERENCE)
		g->sampled = l->name;
}

static int
own(int c, const char *arg, void *to)
{
	struct given *g = to;
	int r = own_launch(g, c, arg);

	if (r != -2)
		return r;
	if ((r = own_policy(&g->o, c, arg)) != -2)
		note_policy(g, c);
	else if ((r = own_step(&g->o, c, arg)) == -2)
		r = own_run(&g->o, c, arg);
	return r < 0 ? -1 : learn_pass(&g->launch, longs, c, arg);
}

static void
check_data(const struct given *g)
{
	const struct learning_options *o = &g->o;
	int grpo = o->data == LEARNING_GRPO;

	if (o->data == LEARNING_NONE)
		die(FAIL_USAGE, "nothing to learn from: give --sft, --records or --grpo");
	if (grpo != (o->grade != NULL))
		die(FAIL_USAGE, grpo ? "--grpo needs rewards: give --grade" :
		    "--grade is for --grpo");
	if (o->steps && o->epochs)
		die(FAIL_USAGE, "--steps and --epochs: give one of them");
	if (o->reference && o->beta == 0)
		die(FAIL_USAGE, "--reference is for the KL: give --beta");
	if (o->data == LEARNING_SFT && o->beta > 0)
		die(FAIL_USAGE, "--beta is for policy gradients, not for --sft");
	if (o->data == LEARNING_SFT && g->policy)
		die(FAIL_USAGE, "--%s is for policy gradients, not for --sft", g->policy);
	if (!grpo && g->sampled)
		die(FAIL_USAGE, "--%s is for --grpo", g->sampled);
	if (grpo && o->group == 1)
		die(FAIL_USAGE, "--group 1: the advantage of a lone answer is 0: give 2 or more");
	if (grpo && (o->sampling.temperature == 0 || o->sampling.top_k == 1))
		die(FAIL_USAGE, "%s: all answers to a prompt are the same, and teach nothing",
		    o->sampling.temperature == 0 ? "-T 0" : "-k 1");
}

static void
check_given(const struct given *g)
{
	const struct learning_options *o = &g->o;

	check_data(g);
	if (!o->dry_run && !o->out)
		die(FAIL_USAGE, "no folder for the result: give -o");
	if (o->gradients && !o->dry_run)
		die(FAIL_USAGE, "--gradients is for one batch: give --dry-run");
	if (!o->feed != !o->back)
		die(FAIL_USAGE, "--feed and --back are both ends of a pipeline: give both");
	if (o->feed && (g->local || g->plan))
		die(FAIL_USAGE, "%s does not go with --feed: the pipeline runs",
		    g->plan ? "--plan" : g->local);
	if (g->plan && g->local)
		die(FAIL_USAGE, "%s does not go with --plan, which says what runs and how",
		    g->local);
	if ((g->rsh || g->manifest) && !g->plan)
		die(FAIL_USAGE, "%s is for the hosts of a plan: give --plan with it",
		    g->rsh ? "--rsh" : "--manifest");
}

/* Where a run that was interrupted can go on.  */
static void
report_state(const struct learning_options *o)
{
	char state[PATH_MAX];

	if (o->dry_run)
		return;
	if (learning_newest(o, state, sizeof(state)) < 0 || !*state)
		warn("interrupted: no state is saved%s", o->state ? "" : " without --state");
	else
		warn("interrupted: '%s' is saved, and the same command goes on from it", state);
}

static int
drive(const struct learning_options *o, int *sig)
{
	return learning_run(o, learn_sample_open, learn_reference_open, sig);
}

/* Run the processes of a plan, here and on other hosts.  */
static int
run_plan(const struct given *g, int *sig)
{
	const char *rsh = getenv("DS_RSH");
	const struct learn_hosts hosts = {.launch = &g->launch, .plan = g->plan,
	    .manifest = g->manifest, .rsh = g->rsh ? g->rsh : rsh && *rsh ? rsh : "ssh"};

	return learn_hosts_run(&hosts, sig);
}

/* Start the pipeline, or print a script that does.  */
static int
launch(struct given *g, const char *model, int *sig)
{
	struct learn_launch *l = &g->launch;
	char state[PATH_MAX];
	struct buf text = {0};
	struct config c;

	if (config_load(&c, model) < 0)
		return -1;
	l->plan.model = model;
	l->plan.layers = c.num_layers;
	l->plan.threads = (int)g->threads;
	l->plan.verbose = g->o.verbose;
	l->dir = program_folder();
	l->samples = g->o.data == LEARNING_GRPO;
	if (g->script) {
		if (learn_script(&text, l, g->o.state) < 0)
			return -1;
		output_print(&text);
		return 0;
	}
	if (learning_newest(&g->o, state, sizeof(state)) < 0)
		return -1;
	l->state = *state && !g->o.dry_run ? state : NULL;
	return g->plan ? run_plan(g, sig) : learn_launch_run(l, sig);
}

int
main(int argc, char **argv)
{
	static struct given g = {.o = {.rows = 2048, .save_every = 100, .group = 8, .rate = 1e-5,
	    .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .clip_norm = 1, .clip = {0.2, 0.2},
	    .sampling = SAMPLING_UNSET}};
	struct options o = {.help = help, .letters = "T:k:p:S:n:o:x:t:s", .longs = longs,
	    .own = own, .to = &g, .links = 1};
	int sig = 0, r, i = options_parse(&o, argc, argv);

	if (i < argc)
		die(FAIL_USAGE, "unexpected operand '%s': see ds-learn -h", argv[i]);
	options_require_model(&o);
	g.o.model = o.model;
	g.o.verbose = o.verbose;
	check_given(&g);
	r = g.o.feed ? drive(&g.o, &sig) : launch(&g, o.model, &sig);
	learn_launch_free(&g.launch);
	if (sig) {
		report_state(&g.o);
		end_by(sig);
	}
	if (r < 0)
		die_failed();
	return 0;
}
