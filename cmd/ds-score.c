/* ds-score: how likely the model finds a text, from logits of all its rows.  */
#include <stdio.h>

#include "base/fail.h"
#include "filter.h"
#include "stage/failed.h"
#include "inspect/score/score.h"

static const char help[] =
"usage: ds-score [-m MODEL] [--tokens] [-k K] [--json] [-i FROM ...] [-v]\n"
"           [FROM ...]\n"
"\n"
"Prints log-likelihood and perplexity of each sequence and of all, from frames\n"
"of ds-head.  ds-tokenize -a requests the logits that it needs.\n"
"\n"
"  -m, --model MODEL  folder or GGUF file (or DS_MODEL), for the text of tokens\n"
"  --tokens           also print a line per token: its log-probability, its rank,\n"
"                     and the most probable tokens at its position\n"
"  -k K               number of these most probable tokens (3)\n"
"  --json             print JSON, one object per line\n"
"  -i, --input FROM   same as FROM: streams, read in order (standard input)\n"
"  -v                 print a summary at the end\n"
"  -V, -h             print the version; print this text\n";

static struct filter g;
static struct record record;
static struct score score = {.r = &record, .top = 3};

static int
own(int c, const char *arg, void *to)
{
	long n;

	(void)to;
	if (c != 'k') {
		*(c == 256 ? &score.tokens : &record.json) = 1;
		return 0;
	}
	if (options_int("-k", arg, 0, SCORE_TOP_MAX, &n) < 0)
		return -1;
	score.top = (int)n;
	return 0;
}

static int
flush(void)
{
	return fflush(stdout) != 0 || ferror(stdout) ? fail(FAIL_SYSTEM, "cannot write:") : 0;
}

static int
score_stream(void *arg, struct frame *f, struct link *out, int nout)
{
	(void)arg;
	if (f->op == OP_FAILED)
		failed_report(f, out, nout);
	return score_frame(&score, f) < 0 ? -1 : flush();
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"tokens", 0, NULL, 256}, {"json", 0, NULL, 257}, {0}};
	struct tokenizer *t = NULL;

	g.o = (struct options){.help = help, .letters = "k:", .longs = longs, .own = own, .streams = 1, .max_in = LINKS_MAX};
	options_parse(&g.o, argc, argv);
	filter_links(&g);
	if (score.tokens && g.o.model && !(t = tokenizer_open(g.o.model)))
		die_failed();
	score.t = t;
	score.k = options_kernels(&g.o);
	record.to = stdout;
	filter_ready(&g);
	if (stage_run(&g.in[0], NULL, 0, score_stream, NULL, NULL) < 0)
		die_failed();
	score_end(&score);
	output_close();
	if (score.total.scored == 0 && score.failed == 0)
		die(FAIL_DATA, "nothing to score: no token follows a row with logits: ask for those of all rows with ds-tokenize -a");
	score_free(&score);
	if (t)
		tokenizer_close(t);
	if (g.o.verbose)
		warn("%llu frames", (unsigned long long)g.in[0].frames);
	g.o.verbose = 0;
	return filter_close(&g, 0);
}
