/* ds-run: the whole pipeline from one command: started, fed, watched, cleaned up.  */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/io.h"
#include "arch/config.h"
#include "options.h"
#include "supervise/agent.h"
#include "supervise/drive.h"
#include "launch/keep.h"
#include "supervise/probe.h"
#include "launch/run.h"
#include "launch/script.h"
#include "stage/embed.h"
#include "stage/stages.h"
#include "token/template.h"

static const char help[] =
"usage: ds-run -m MODEL [OPTION ...] [PROMPT ...]\n"
"Answers each PROMPT; without one, each line typed, or all of standard input.\n"
"\n"
"  -m, --model MODEL       checkpoint folder or GGUF file (or DS_MODEL)\n"
"  -0, --lines FILE        prompts, each ended by a NUL or a newline (-: stdin)\n"
"  -c, -w, --completion    a PROMPT is a question (default), or text to continue\n"
"  --messages FILE         conversations in JSON, one answer each\n"
"  --template, --thinking  FILE of the chat template; its thinking: on or off\n"
"  -x CUT                  processes: fused (one for all layers), layer or stage\n"
"  --plan FILE             run the processes of a plan on its hosts (see ds-plan)\n"
"  --rsh, --manifest       command to reach a host (ssh, DS_RSH); FILE of weights\n"
"  -g, --greedy            always the most probable token\n"
"  -q, --quiet             print the answer without the reasoning\n"
"  -T, --temperature TEMP  temperature; 0 is greedy\n"
"  -k, --top-k K           sample from the K most probable tokens; 0 for all\n"
"  -p, --top-p P           sample from the top tokens of total probability P\n"
"  -n, --max-tokens N      maximum new tokens per answer\n"
"  -S, --seed SEED         seed of the random numbers (0)\n"
"  --precision P           products in f32, bf16 or fp8 (f32, or DS_PRECISION)\n"
"  --keep, --batches       DIR to keep all streams in; N batches in flight (1)\n"
"  -t, --threads THREADS   threads of each process (all cores)\n"
"  -d, --device DEVICE     compute on cpu, cuda or cuda:N (cpu, or DS_DEVICE)\n"
"  -s, -v                  print a script; print a summary, -vv: of each program\n"
"  -V, -h                  print the version; print this text\n";

enum { TEMPLATE = 256, KEEP, BATCHES, PLAN, RSH, MANIFEST, AGENT, LINES, MESSAGES, THINKING, PROBE };

struct given {
	struct run_options run;
	int script, agent;
	const char *probe;              /* seconds, NULL: not given */
	const char *plan, *rsh, *manifest;      /* NULL: not given */
	const char *prompts;            /* a file of them, or NULL */
	const char *cut;                /* an option that excludes --plan, or NULL */
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
	static const char *const names[] = {"fused", "layer", "stage"};

	for (int i = 0; i < 3; i++)
		if (strcmp(arg, names[i]) == 0) {
			p->cut = (enum cut)i;
			return 0;
		}
	return fail(FAIL_USAGE, "-x '%s': give fused, layer or stage", arg);
}

static int
own(int c, const char *arg, void *to)
{
	struct given *o = to;
	struct plan_options *p = &o->run.plan;
	int on;
	long n;

	switch (c) {
	case '0':
	case LINES:
	case MESSAGES:
		if (o->prompts)
			return fail(FAIL_USAGE, "-0, --lines and --messages: give one file of prompts");
		o->prompts = arg;
		*(c == '0' ? &p->texts : c == LINES ? &p->lines : &p->messages) = 1;
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
		return pass(p, c, arg);
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
	case BATCHES:
		o->cut = "--batches";
		p->batches = arg;
		return options_int("--batches", arg, 1, EMBED_BATCHES_MAX, &n);
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
		o->cut = "-t";
		if (options_int("-t", arg, 1, 1024, &n) < 0)
			return -1;
		p->threads = (int)n;
		return 0;
	}
	return -1;
}

/* The absolute path, also of a file that does not exist yet.  */
static const char *
whole_path(const char *path)
{
	char *here, *whole;

	if (!path || *path == '/')
		return path;
	if (!(here = getcwd(NULL, 0)) || asprintf(&whole, "%s/%s", here, path) < 0)
		die(FAIL_SYSTEM, "cannot find the current folder, for '%s':", path);
	free(here);
	return whole;
}

static _Noreturn void
write_script(struct run_options *o, const char *prompts)
{
	struct plan plan;
	struct buf text = {0};

	o->plan.model = realpath(o->plan.model, NULL);
	if (!o->plan.model)
		die(FAIL_SYSTEM, "cannot find the model's folder:");
	if (o->plan.template && !(o->plan.template = realpath(o->plan.template, NULL)))
		die(FAIL_SYSTEM, "cannot find the file of --template:");
	o->plan.keep = whole_path(o->plan.keep);
	o->plan.loop_in = "loop";
	if (plan_make(&plan, &o->plan) < 0 ||
	    script_write(&text, &plan, &o->plan, o->dir, prompts, o->texts, o->ntexts) < 0)
		die_failed();
	signal(SIGPIPE, SIG_DFL);
	output_print(&text);
	plan_free(&plan);
	exit(0);
}

/* Run the processes of a plan, here and on other hosts: 0, or -1 and a message.  */
static int
run_plan(struct given *o, struct tally *tally, int *sig)
{
	const char *rsh = getenv("DS_RSH");
	struct drive_options d = {.run = o->run, .plan = o->plan, .rsh = o->rsh ? o->rsh : rsh && *rsh ? rsh : "ssh",
	    .manifest = o->manifest};

	if (o->cut)
		return fail(FAIL_USAGE, "%s does not go with --plan, which says what runs and how", o->cut);
	return drive_plan(&d, tally, sig);
}

/* End by a signal, so that the parent sees it.  */
static _Noreturn void
end_by(int sig)
{
	sigset_t set;

	signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(sig);
	_exit(FAIL_SYSTEM);
}

/* The descriptor of the file of prompts, or -1: there is none.  */
static int
open_prompts(const struct given *o)
{
	struct stat st;
	int fd;

	if (!o->prompts)
		return -1;
	if (o->run.ntexts > 0)
		die(FAIL_USAGE, "'%s' has the prompts: give no PROMPT with it", o->prompts);
	if (strcmp(o->prompts, "-") == 0)
		return 0;
	fd = open(o->prompts, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		die(FAIL_SYSTEM, "cannot open '%s':", o->prompts);
	if (S_ISDIR(st.st_mode))
		die(FAIL_SYSTEM, "'%s' is a folder: give a file of prompts", o->prompts);
	return fd;
}

int
main(int argc, char **argv)
{
	struct given o = {.run.plan.chat = 1, .run.began = clock_now()};
	static const struct option longs[] = {
		SAMPLING_LONGS,
		{"quiet", no_argument, NULL, 'q'},
		{"completion", no_argument, NULL, 'w'},
		{"template", required_argument, NULL, TEMPLATE},
		{"keep", required_argument, NULL, KEEP},
		{"batches", required_argument, NULL, BATCHES},
		{"plan", required_argument, NULL, PLAN},
		{"rsh", required_argument, NULL, RSH},
		{"manifest", required_argument, NULL, MANIFEST},
		{"agent", no_argument, NULL, AGENT},
		{"lines", required_argument, NULL, LINES},
		{"messages", required_argument, NULL, MESSAGES},
		{"thinking", required_argument, NULL, THINKING},
		{"probe", required_argument, NULL, PROBE},
		{0}
	};
	struct options common = {.help = help, .letters = "0:cwx:gT:k:p:S:n:qst:", .longs = longs, .own = own, .to = &o, .operands = 1,
	    .gpu = GPU_OPTION, .products = 1, .links = 1};
	struct config config;
	struct dialog dialog = {0};
	struct tally tally;
	char text[128], device[16];
	int i = options_parse(&common, argc, argv), sig = 0, status;

	if (o.agent)
		return agent_run(program_folder());
	if (o.probe && probe_run(o.probe, argv + i, argc - i) < 0)
		die_failed();
	if (o.probe)
		return 0;
	options_require_model(&common);
	if ((o.run.plan.template || o.run.plan.thinking || o.run.plan.messages) && !o.run.plan.chat)
		die(FAIL_USAGE, "%s is for a chat: it does not go with -w", o.run.plan.template ? "--template" :
		    o.run.plan.thinking ? "--thinking" : "--messages");
	if (o.rsh && !o.plan)
		die(FAIL_USAGE, "--rsh is for the hosts of a plan: give --plan with it");
	if (o.manifest && !o.plan)
		die(FAIL_USAGE, "--manifest is for the hosts of a plan: give --plan with it");
	if (!o.plan && config_load(&config, common.model) < 0)
		die_failed();
	o.run.plan.model = common.model;
	o.run.plan.layers = o.plan ? 0 : config.num_layers;
	o.run.plan.precision = common.precision < 0 ? NULL : precision_name((enum precision)common.precision);
	if (common.device) {
		snprintf(device, sizeof(device), common.ordinal < 0 ? "cpu" : "cuda:%d", common.ordinal);
		o.run.plan.device = device;
		o.cut = "-d";
	}
	o.run.plan.verbose = common.verbose > 1;
	o.run.dir = program_folder();
	o.run.texts = argv + i;
	o.run.ntexts = argc - i;
	o.run.prompts = open_prompts(&o);
	if (o.script && !o.plan)
		write_script(&o.run, o.run.prompts > 0 ? whole_path(o.prompts) : NULL);
	if (o.run.plan.keep && !o.plan && keep_open(o.run.plan.keep) < 0)
		die_failed();
	o.run.ask = o.run.ntexts == 0 && o.run.prompts < 0 && isatty(0);
	if (o.run.ask && o.run.plan.chat && template_is_multi_turn(o.run.plan.template)) {
		if (dialog_open(&dialog, common.model) < 0)
			die_failed();
		o.run.dialog = &dialog;
	}
	o.run.count = common.verbose > 0;
	status = o.plan ? run_plan(&o, &tally, &sig) : run_pipeline(&o.run, &tally, &sig);
	dialog_close(&dialog);
	if (status < 0)
		die_failed();
	if (sig)
		end_by(sig);
	if (o.run.count)
		warn("%s", tally_text(&tally, text, sizeof(text)));
	return status ? FAIL_DATA : 0;
}
