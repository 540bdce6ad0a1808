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
#include "run_options.h"
#include "supervise/agent.h"
#include "supervise/drive.h"
#include "launch/answer_file.h"
#include "launch/keep.h"
#include "launch/planfile.h"
#include "supervise/probe.h"
#include "launch/run.h"
#include "launch/script.h"
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
		warn("--precision i8 has no effect: '%s' has no weights of the types that it "
		    "multiplies, see dspipe(7): 'ds-quant -f q8' makes a copy that has",
		    common->model);
	sizes_close(&s);
}

int
main(int argc, char **argv)
{
	struct given o = {.run.plan.chat = 1, .run.began = clock_now(), .run.out = 1, .samples = 1};
	struct options common = {.help = help, .letters = RUN_LETTERS, .longs = run_longs,
	    .own = run_own, .to = &o, .operands = 1,
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
	run_check(&o);
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
