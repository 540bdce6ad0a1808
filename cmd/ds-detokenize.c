/* ds-detokenize: frames with ids in, text or answers out as they come.  */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "filter.h"
#include "stage/replies.h"
#include "stage/failed.h"
#include "stage/detok.h"
#include "token/template.h"

static const char help[] =
"usage: ds-detokenize -m MODEL [-c [--template FILE] [--thinking HOW]] [-q]\n"
"           [-0] [--dim] [--special] [--jsonl --prompts FROM [--ordered]\n"
"           [--prompt-ids]] [-i FROM ...] [-r FD] [-v] [FROM ...]\n"
"\n"
"Prints the text of token ids as they arrive.  Sequences are printed whole, in\n"
"the order of their first frames.\n"
"\n"
"  -m, --model MODEL  checkpoint folder or GGUF file (or DS_MODEL)\n"
"  -c                 chat answers: the texts start within the reasoning\n"
"                     if the chat template opens it\n"
"  --template FILE    another template instead of the model's\n"
"  --thinking HOW     on or off: template variables thinking, enable_thinking\n"
"  -q, --quiet        print the answer without the reasoning\n"
"  -0                 end each sequence with a NUL instead of a newline\n"
"  --dim              dim the reasoning even if the output is not a terminal\n"
"  --special          print special tokens\n"
"  --jsonl            print a line of JSON for each answer to a request\n"
"  --prompts FROM     with --jsonl: second output of ds-tokenize --jsonl\n"
"  --ordered          with --jsonl: print answers in the order of the prompts\n"
"  --prompt-ids       with --jsonl: with the ids of the prompts\n"
"  -i, --input FROM   same as FROM: streams, read in order (standard input)\n"
"  -r FD              when ready, write a newline to file descriptor FD\n"
"  -v                 print a summary at the end\n"
"  -V, -h             print the version; print this text\n";

static struct {
	struct filter f;
	int chat, quiet, nul, special, dim, jsonl, ordered, prompt_ids;
	const char *prompts;            /* an endpoint, or NULL */
	int thinking;                   /* 1, 0; -1: not given */
	const char *template_file;
	struct tokenizer *t;
	struct detok d;
	struct replies replies;
	struct buf out;
} g = {.thinking = -1};

enum { SPECIAL = 256, TEMPLATE, THINKING, DIM, JSONL, PROMPTS, ORDERED, PROMPT_IDS };

static int
own(int c, const char *arg, void *to)
{
	(void)to;
	if (c == 'c')
		g.chat = 1;
	else if (c == 'q')
		g.quiet = 1;
	else if (c == '0')
		g.nul = 1;
	else if (c == SPECIAL)
		g.special = 1;
	else if (c == DIM)
		g.dim = 1;
	else if (c == JSONL)
		g.jsonl = 1;
	else if (c == PROMPTS)
		g.prompts = arg;
	else if (c == ORDERED)
		g.ordered = 1;
	else if (c == PROMPT_IDS)
		g.prompt_ids = 1;
	else if (c == THINKING)
		return options_switch("--thinking", arg, &g.thinking);
	else
		g.template_file = arg;
	return 0;
}

/* Dim the reasoning only on a terminal, and not against NO_COLOR (no-color.org).  */
static int
can_dim(void)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

	return (g.dim || isatty(1)) && term && strcmp(term, "dumb") != 0 && !(no_color && *no_color);
}

static void
print(void)
{
	if (io_write(1, g.out.p, g.out.n) < 0) {
		fail_in("standard output");
		die_failed();
	}
	g.out.n = 0;
}

static int
print_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	int r = detok_frame(&g.d, f, &g.out);

	(void)arg;
	print();
	if (f->op == OP_FAILED)
		failed_report(f, out, nout);
	return r;
}

/* Print the text of frames until the stream ends.  The exit status.  */
static int
print_text(int thinks)
{
	int r;

	detok_open(&g.d, g.t);
	g.d.rules.special = g.special;
	g.d.quiet = g.quiet;
	g.d.dim = can_dim();
	g.d.thinks = thinks;
	g.d.separator = g.nul ? 0 : '\n';
	filter_ready(&g.f);
	r = stage_run(&g.f.in[0], NULL, 0, print_frame, NULL, NULL);
	if (r < 0)
		fail_print();
	r = r < 0 ? fail_status() : 0;
	if (detok_end(&g.d, &g.out) < 0)        /* print what came, also if the stream broke */
		die_failed();
	print();
	detok_close(&g.d);
	return r;
}

/* --- answers --- */

#define UNSTARTED_MAX 4096      /* prompts are read while fewer of them have no token */

/* Receive a frame, whole or what is there.  1, 0 not yet, or -1 and a message.  */
static int
receive(struct link *l, struct frame *f, int wait)
{
	int r = wait ? link_receive(l, f) : link_try_receive(l, f);

	if (r == -2)
		return fail(FAIL_SYSTEM, "%s: ended without an end frame: " LOST_UPSTREAM, l->name);
	return r > 0 && f->op == OP_ERROR ? stage_upstream(f, l) : r;
}

/* Add a prompt, if one comes; 0 or -1 and a message.  */
static int
read_prompt(int wait)
{
	struct frame f;
	int r;

	frame_init(&f);
	r = receive(&g.f.in[1], &f, wait);
	if (r > 0 && replies_prompt(&g.replies, &f) < 0)
		r = fail_in("%s", g.f.in[1].name);
	frame_free(&f);
	return r < 0 ? -1 : 0;
}

/* Report a sequence that failed, under the id of its request. */
static void
report(const struct frame *f)
{
	uint64_t paths;

	failed_report_request(f, replies_request(&g.replies, f->seq, &paths));
}

/* 1: the tokens have ended; 0, or -1 and a message.  */
static int
read_tokens(void)
{
	struct frame f;
	int r;

	frame_init(&f);
	r = receive(&g.f.in[0], &f, 0);
	while (r > 0 && !g.f.in[1].ended && replies_lacks(&g.replies, &f))
		if (read_prompt(1) < 0)
			r = -1;
	if (r > 0) {
		if (f.op == OP_FAILED)
			report(&f);
		r = replies_frame(&g.replies, &f, &g.out) < 0 ? -1 : f.op == OP_END;
	}
	frame_free(&f);
	return r;
}

/* Until the tokens end, then the prompts.  Prompts are also read while no token comes, so that
 * ds-tokenize does not wait.  */
static int
read_both(void)
{
	struct link *tokens = &g.f.in[0], *prompts = &g.f.in[1];
	int r = 0;

	while (r == 0) {
		struct pollfd p[2] = {link_poll(tokens), {.fd = -1}};

		if (!prompts->ended && g.replies.unstarted < UNSTARTED_MAX)
			p[1] = link_poll(prompts);
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents)
			r = read_prompt(0);
		if (r == 0 && p[0].revents)
			r = read_tokens();
		print();
	}
	while (r > 0 && !prompts->ended)
		if (read_prompt(1) < 0)
			r = -1;
	return r < 0 ? -1 : 0;
}

/* Print a line for each answer.  The exit status.  If the stream breaks, unfinished answers have no
 * line.  */
static int
print_answers(void)
{
	int64_t lost = 0;
	int r;

	if (link_open(&g.f.in[1], g.prompts, LINK_IN) < 0)
		die_failed();
	g.f.o.nin = 2;
	replies_open(&g.replies, g.t);
	g.replies.rules.special = g.special;
	g.replies.ordered = g.ordered;
	g.replies.prompt_ids = g.prompt_ids;
	filter_ready(&g.f);
	r = read_both();
	if (r == 0)
		r = (lost = replies_end(&g.replies, &g.out)) < 0 ? -1 : 0;
	if (r < 0)
		fail_print();
	r = r < 0 ? fail_status() : 0;
	print();
	if (lost > 0)
		warn("the stream ended before %lld sequences", (long long)lost);
	if (g.f.o.verbose && r == 0)
		warn("%llu answers", (unsigned long long)g.replies.lines);
	replies_close(&g.replies);
	return r == 0 && lost > 0 ? FAIL_DATA : r;
}

static void
check_options(void)
{
	if ((g.template_file || g.thinking >= 0) && !g.chat)
		die(FAIL_USAGE, "%s is for a chat: give -c with it",
		    g.template_file ? "--template" : "--thinking");
	if (g.jsonl != (g.prompts != NULL))
		die(FAIL_USAGE,
		    g.jsonl ? "--jsonl requires --prompts" : "--prompts is for --jsonl");
	if ((g.ordered || g.prompt_ids) && !g.jsonl)
		die(FAIL_USAGE, "%s is for --jsonl", g.ordered ? "--ordered" : "--prompt-ids");
	if (g.jsonl && (g.chat || g.quiet || g.nul || g.dim))
		die(FAIL_USAGE, "%s does not go with --jsonl",
		    g.chat ? "-c" : g.quiet ? "-q" : g.nul ? "-0" : "--dim");
	if (g.jsonl && g.f.o.nfrom > 1)
		die(FAIL_USAGE, "--jsonl reads one stream of tokens");
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"quiet", 0, NULL, 'q'}, {"special", 0, NULL, SPECIAL},
		{"template", 1, NULL, TEMPLATE}, {"thinking", 1, NULL, THINKING},
		{"dim", 0, NULL, DIM}, {"jsonl", 0, NULL, JSONL},
		{"prompts", 1, NULL, PROMPTS}, {"ordered", 0, NULL, ORDERED},
		{"prompt-ids", 0, NULL, PROMPT_IDS}, {0}
	};
	struct options *o = &g.f.o;
	struct template template = {0};
	int r, thinks = 0;

	*o = (struct options){.help = help, .letters = "cq0", .longs = longs, .own = own,
	    .streams = 1, .max_in = LINKS_MAX};
	options_parse(o, argc, argv);
	options_require_model(o);
	check_options();
	filter_links(&g.f);
	g.t = tokenizer_open(o->model);
	if (!g.t || (g.chat && (template_open(&template, o->model, g.template_file, g.thinking) < 0 ||
	    (thinks = template_thinks(&template)) < 0)))
		die_failed();
	template_close(&template);
	r = g.jsonl ? print_answers() : print_text(thinks);
	if (close(1) < 0)
		die(FAIL_SYSTEM, "standard output: cannot write:");
	if (o->verbose && r == 0)
		warn("%llu frames in", (unsigned long long)g.f.in[0].frames);
	buf_free(&g.out);
	return filter_close(&g.f, r);
}
