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
#include "arch/sizes.h"
#include "options.h"
#include "supervise/agent.h"
#include "supervise/drive.h"
#include "launch/answer_file.h"
#include "launch/keep.h"
#include "launch/planfile.h"
#include "supervise/probe.h"
#include "launch/run.h"
#include "launch/script.h"
#include "stage/draft.h"
#include "stage/embed.h"
#include "stage/request.h"
#include "stage/stages.h"
#include "token/template.h"

static const char help[] =
"usage: ds-run -m MODEL [OPTION ...] [PROMPT ...]\n"
"Answers each PROMPT; without one, each line typed, or all of standard input.\n"
"\n"
"  -m, --model MODEL                  checkpoint folder or GGUF file (DS_MODEL)\n"
"  -0, --lines, --messages, --jsonl   FILE of texts, lines, chats or requests\n"
"  --out, --resume, --logprobs        FILE of answers; go on at its end; of each\n"
"  --samples, --early, --huge-pages   N for each prompt; HOW to vote; of weights\n"
"  -c, -w, --completion               chat (default); a PROMPT is to be continued\n"
"  --ordered, --template, --thinking  in order; FILE of template; HOW on or off\n"
"  --think-min, --think-max           N tokens of thinking at least; N at most\n"
"  --plan, -x, --rsh, --manifest      FILE; CUT fused, layer or stage; CMD; FILE\n"
"  -g, --greedy                       always the most probable token\n"
"  -q, --quiet                        print the answer without the reasoning\n"
"  -T, --temperature TEMP             temperature; 0 is greedy\n"
"  -k, --top-k K                      of the K most probable tokens; 0 for all\n"
"  -p, --top-p P                      of the top tokens of total probability P\n"
"  -n, --max-tokens N                 maximum new tokens per answer\n"
"  -S, --seed SEED                    seed of the random numbers (0)\n"
"  --precision, --cache-type          " PRECISION_WORDS "; KV cache f32 or bf16\n"
"  --batches, --draft, --prompt-ids   N in flight; mtp, prompt; of the prompt\n"
"  --keep, --cache-dir, --cache-size  DIR of streams; DIR of prefixes; bytes\n"
"  -t, --threads THREADS              threads of each process (all cores)\n"
"  -d, --device DEVICE                cpu, cuda or cuda:N (cpu, or DS_DEVICE)\n"
"  -V, -h, -s, -v                     print version; this text; script; summary\n";

enum { TEMPLATE = 256, KEEP, BATCHES, PLAN, RSH, MANIFEST, AGENT, LINES, MESSAGES, THINKING, PROBE,
	JSONL, OUT, RESUME, ORDERED, LOGPROBS, SAMPLES, CACHE_BYTES, CACHE_DIR, DRAFT, EARLY,
	PROMPT_IDS, HUGE_PAGES };

struct given {
	struct run_options run;
	int script, agent;
	const char *probe;              /* seconds, NULL: not given */
	const char *plan, *rsh, *manifest;      /* NULL: not given */
	long samples;                   /* answers to each prompt */
	const char *prompts;            /* a file of them, or NULL */
	const char *cut;                /* an option that excludes --plan, or NULL */
	const char *worker;             /* likewise; programs in the lines of a plan have it */
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

static int
own(int c, const char *arg, void *to)
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
	o->plan.out = whole_path(o->plan.out);
	o->plan.cache_dir = whole_path(o->plan.cache_dir);
	o->plan.loop_in = "loop";
	o->plan.copy_in = o->plan.copy_out = "prompts";
	o->plan.votes_in = o->plan.votes_out = "votes";
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
	struct drive_options d = {.run = o->run, .plan = o->plan, .rsh = o->rsh ? o->rsh : rsh &&
	    *rsh ? rsh : "ssh",
	    .manifest = o->manifest};

	if (o->cut)
		return fail(FAIL_USAGE, "%s does not go with --plan, which says what runs and how",
		    o->cut);
	if (o->worker)
		return fail(FAIL_USAGE, "%s does not go with --plan: give it to programs in the "
		    "'run' lines of '%s'", o->worker, o->plan);
	return drive_plan(&d, tally, sig);
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

static void
check_given(const struct given *o)
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

static void
set_defaults(struct given *o)
{
	struct plan_options *p = &o->run.plan;

	if (!p->cache_size && !o->plan && (p->cache_dir || p->jsonl || p->samples || o->run.ask))
		p->cache_size = plan_cache_size(p->cut, p->layers);
	if (!p->batches && !p->keep)
		p->batches = "auto";
	if (o->run.ask && p->samples)
		die(FAIL_USAGE, "--samples needs prompts: a terminal gets one answer to each line");
}

/* Lines typed at a terminal are a conversation, if the chat template has turns. */
static void
open_dialog(struct given *o, struct dialog *dialog)
{
	if (!o->run.ask || !o->run.plan.chat || !template_is_multi_turn(o->run.plan.template))
		return;
	if (dialog_open(dialog, o->run.plan.model) < 0)
		die_failed();
	o->run.dialog = dialog;
}

/* Requests are not overwritten by their answers. */
static void
check_out(const struct given *o)
{
	struct stat in, out;

	if (fstat(o->run.prompts, &in) == 0 && stat(o->run.plan.out, &out) == 0 &&
	    S_ISREG(in.st_mode) && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
		die(FAIL_USAGE, "--out '%s' has the requests: give another file", o->run.plan.out);
}

/* What answers depend on: the options of the plan, or else of this run. */
static const char *
precision_of(const struct plan_options *o, const struct planfile *plan)
{
	const char *precision = planfile_option(plan, "--precision"),
	    *type = planfile_option(plan, "--cache-type");
	int p, t;

	precision = precision ? precision : o->precision;
	type = type ? type : o->cache_type;
	p = precision ? precision_parse(precision) : PRECISION_F32;
	t = type ? cache_type_parse(type) : -1;
	return p < 0 ? precision : precision_text((enum precision)p, t == BF16 ? BF16 : F32);
}

/* Open the file of answers, or read the ones that exist: those of another model or precision are
 * an error, because they are not what this run would write. */
static void
open_answers(struct given *o, struct progress *progress)
{
	struct plan_options *p = &o->run.plan;
	struct planfile plan = {0};

	if (!p->out)
		return;
	check_out(o);
	if ((o->run.out = answer_file_open(p->out, p->resume)) < 0)
		die_failed();
	if (!p->resume)
		return;
	if (o->plan && planfile_read(&plan, o->plan) < 0)
		die_failed();
	if (answer_file_count(p->out, p->model, precision_of(p, &plan), &progress->before) < 0)
		die_failed();
	planfile_free(&plan);
	answer_file_trim(o->run.out);
}

/* Show progress on a terminal, unless answers are printed there. */
static void
open_progress(struct given *o, struct progress *progress)
{
	if (!o->run.plan.jsonl || !isatty(2) || isatty(o->run.out))
		return;
	if (strcmp(o->prompts, "-") != 0)
		progress->total = progress_count(o->prompts, (uint64_t)o->samples);
	o->run.progress = progress;
	o->run.count = 1;
}

/* The options that all programs share.  `device` keeps a text of the plan. */
static void
set_common(struct given *o, const struct options *common, char device[16])
{
	struct plan_options *p = &o->run.plan;

	p->model = common->model;
	p->precision = common->precision < 0 ? NULL :
	    precision_name((enum precision)common->precision);
	p->cache_type = common->cache_type < 0 ? NULL :
	    cache_type_name((enum dtype)common->cache_type);
	if (common->device) {
		snprintf(device, 16, common->ordinal < 0 ? "cpu" : "cuda:%d", common->ordinal);
		p->device = device;
		o->worker = "-d";
	}
	p->verbose = common->verbose > 1;
}

/* A model whose files are incomplete is reported by the programs. */
static void
warn_of_precision(const struct given *o, const struct options *common)
{
	struct sizes s;

	if (common->precision != PRECISION_I8 || o->plan)
		return;
	if (sizes_open(&s, common->model, 0) == 0 && !sizes_have_codes(&s))
		warn("--precision i8: products are those of f32, since no weights of '%s' are "
		    "integers times a scale: 'ds-quant -f q8' makes such a copy", common->model);
	sizes_close(&s);
}

static const struct option longs[] = {
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

int
main(int argc, char **argv)
{
	struct given o = {.run.plan.chat = 1, .run.began = clock_now(), .run.out = 1, .samples = 1};
	struct options common = {.help = help, .letters = "0:cwx:gT:k:p:S:n:qst:", .longs = longs,
	    .own = own, .to = &o, .operands = 1,
	    .gpu = GPU_OPTION, .products = 1, .caches = 1, .links = 1};
	struct config config;
	struct dialog dialog = {0};
	struct progress progress = {0};
	struct tally tally;
	char text[256], device[16];
	int i = options_parse(&common, argc, argv), sig = 0, status;

	if (o.agent)
		return agent_run(program_folder());
	if (o.probe && probe_run(o.probe, argv + i, argc - i) < 0)
		die_failed();
	if (o.probe)
		return 0;
	options_require_model(&common);
	check_given(&o);
	if (!o.plan && config_load(&config, common.model) < 0)
		die_failed();
	set_common(&o, &common, device);
	o.run.plan.layers = o.plan ? 0 : config.num_layers;
	o.run.dir = program_folder();
	o.run.texts = argv + i;
	o.run.ntexts = argc - i;
	o.run.prompts = open_prompts(&o);
	o.run.ask = o.run.ntexts == 0 && o.run.prompts < 0 && isatty(0) && !o.script;
	o.run.count = common.verbose > 0;
	set_defaults(&o);
	if (o.script && !o.plan)
		write_script(&o.run, o.run.prompts > 0 ? whole_path(o.prompts) : NULL);
	if (o.run.plan.keep && !o.plan && keep_open(o.run.plan.keep) < 0)
		die_failed();
	warn_of_precision(&o, &common);
	open_dialog(&o, &dialog);
	open_answers(&o, &progress);
	open_progress(&o, &progress);
	status = o.plan ? run_plan(&o, &tally, &sig) : run_pipeline(&o.run, &tally, &sig);
	dialog_close(&dialog);
	if (o.run.out != 1)
		answer_file_trim(o.run.out);
	if (status < 0)
		die_failed();
	if (sig)
		end_by(sig);
	if (common.verbose > 0 && o.run.plan.jsonl)
		warn("%llu answers, %s", (unsigned long long)tally.answers,
		    tally_text(&tally, text, sizeof(text)));
	else if (common.verbose > 0)
		warn("%s", tally_text(&tally, text, sizeof(text)));
	return status ? FAIL_DATA : 0;
}
