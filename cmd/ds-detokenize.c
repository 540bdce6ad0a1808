/* ds-detokenize: frames with ids in, text out as it comes.  */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "filter.h"
#include "stage/failed.h"
#include "stage/detok.h"
#include "token/template.h"

static const char help[] =
"usage: ds-detokenize -m MODEL [-c [--template FILE] [--thinking HOW]] [-q]\n"
"           [-0] [--dim] [--special] [-i FROM ...] [-r FD] [-v] [FROM ...]\n"
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
"  -i, --input FROM   same as FROM: streams, read in order (standard input)\n"
"  -r FD              when ready, write a newline to file descriptor FD\n"
"  -v                 print a summary at the end\n"
"  -V, -h             print the version; print this text\n";

static struct {
	struct filter f;
	int chat, quiet, nul, special, dim;
	int thinking;                   /* 1, 0; -1: not given */
	const char *template_file;
	struct tokenizer *t;
	struct detok d;
	struct buf out;
} g = {.thinking = -1};

enum { SPECIAL = 256, TEMPLATE, THINKING, DIM };

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

int
main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"quiet", no_argument, NULL, 'q'}, {"special", no_argument, NULL, SPECIAL}, {"template", required_argument, NULL, TEMPLATE},
		{"thinking", required_argument, NULL, THINKING},
		{"dim", no_argument, NULL, DIM}, {0}
	};
	struct options *o = &g.f.o;
	struct template template = {0};
	int r, thinks = 0;

	*o = (struct options){.help = help, .letters = "cq0", .longs = longs, .own = own,
	    .streams = 1, .max_in = LINKS_MAX};
	options_parse(o, argc, argv);
	options_require_model(o);
	if ((g.template_file || g.thinking >= 0) && !g.chat)
		die(FAIL_USAGE, "%s is for a chat: give -c with it", g.template_file ? "--template" : "--thinking");
	filter_links(&g.f);
	g.t = tokenizer_open(o->model);
	if (!g.t || (g.chat && (template_open(&template, o->model, g.template_file, g.thinking) < 0 ||
	    (thinks = template_thinks(&template)) < 0)))
		die_failed();
	template_close(&template);
	detok_open(&g.d, g.t);
	g.d.special = g.special;
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
	if (close(1) < 0)
		die(FAIL_SYSTEM, "standard output: cannot write:");
	if (o->verbose && r == 0)
		warn("%llu frames in", (unsigned long long)g.f.in[0].frames);
	detok_close(&g.d);
	buf_free(&g.out);
	return filter_close(&g.f, r);
}
