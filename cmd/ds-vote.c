/* ds-vote: the majority of several answers to one question.  */
#include <stdio.h>

#include "base/fail.h"
#include "filter.h"
#include "inspect/vote/early.h"
#include "inspect/vote/vote.h"

static const char help[] =
"usage: ds-vote [--number] [--boxed] [--regex RE] [--of N] [-v] [FILE ...]\n"
"           [--early -m MODEL --prompts FROM [-i FROM] [-o TO ...] [-r FD]]\n"
"\n"
"Reads answer lines, JSON objects with id, index, and text or answer.  Writes for\n"
"each id the answer that most of its lines agree on.  FILE may be - (stdin).\n"
"\n"
"  --number           compare the last number of each answer: 1,702.0 is 1702\n"
"  --boxed            compare what the last \\boxed{...} contains, as LaTeX\n"
"  --regex RE         compare what the first group of this expression matches\n"
"  --of N             there are N answers for each id: write each result at once\n"
"  --early            read frames of ds-sample, and stop the paths of a question\n"
"                     once its majority is certain\n"
"  -m, --model MODEL  checkpoint folder or GGUF file (or DS_MODEL)\n"
"  --prompts FROM     with --early: second output of ds-tokenize --jsonl\n"
"  -i, --input FROM   input: path, - or address (standard input)\n"
"  -o, --output TO    output, repeatable; each gets every frame (stdout)\n"
"  -r FD              when ready, write a newline to file descriptor FD\n"
"  -v                 print a summary at the end\n"
"  -V, -h             print the version; print this text\n";

static struct vote vote;
static struct filter filter;
static const char *prompts;
static int early;

enum { NUMBER = 256, BOXED, REGEX, OF, EARLY, PROMPTS };

static int
own_option(int c, const char *arg, void *to)
{
	long n;

	(void)to;
	if (c == REGEX) {
		extract_close(&vote.extract);
		return extract_open(&vote.extract, arg);
	}
	if (c == PROMPTS) {
		prompts = arg;
		return 0;
	}
	if (c == OF) {
		if (options_int("--of", arg, 1, 1 << 30, &n) < 0)
			return -1;
		vote.of = (uint64_t)n;
		return 0;
	}
	*(c == NUMBER ? &vote.extract.number : c == BOXED ? &vote.extract.boxed : &early) = 1;
	return 0;
}

static void
check_options(int operands)
{
	const struct options *o = &filter.o;

	if (vote.extract.regex && vote.extract.boxed)
		die(FAIL_USAGE, "--regex and --boxed do not go together: give one");
	if (early && (operands > 0 || vote.of > 0))
		die(FAIL_USAGE, "--early reads frames: give no %s with it", vote.of > 0 ? "--of" :
		    "FILE");
	if (early && !prompts)
		die(FAIL_USAGE, "--early requires --prompts");
	if (!early && (prompts || o->nin > 0 || o->nout > 0))
		die(FAIL_USAGE, "%s is for --early", prompts ? "--prompts" : o->nin > 0 ? "-i" :
		    "-o");
}

/* Stop paths in a pipeline.  The exit status.  */
static int
run_early(void)
{
	struct tokenizer *t;
	struct early e;
	int r;

	options_require_model(&filter.o);
	filter_links(&filter);
	if (link_open(&filter.in[1], prompts, LINK_IN) < 0 || !(t = tokenizer_open(filter.o.model)))
		die_failed();
	filter.o.nin = 2;
	early_open(&e, t, &vote.extract, &filter.in[1]);
	filter_ready(&filter);
	r = filter_run(&filter, early_frame, &e);
	if (filter.o.verbose && r != FAIL_SYSTEM)
		warn("%llu questions decided early, %llu paths stopped",
		    (unsigned long long)e.decided, (unsigned long long)e.stopped);
	early_close(&e);
	tokenizer_close(t);
	return r;
}

/* Vote on lines.  The exit status.  */
static int
run_vote(const char *const *paths, int n)
{
	if (vote_run(&vote, paths, n) < 0)
		die_failed();
	if (filter.o.verbose)
		warn("%llu lines, %llu questions", (unsigned long long)vote.lines,
		    (unsigned long long)vote.questions);
	output_close();
	return refused_end(&vote.refused);
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"number", 0, NULL, NUMBER},
	    {"boxed", 0, NULL, BOXED},
	    {"regex", 1, NULL, REGEX}, {"of", 1, NULL, OF}, {"early", 0, NULL, EARLY},
	    {"prompts", 1, NULL, PROMPTS}, {0}};
	static const char *const input[] = {"-"};
	int i, status;

	filter.o = (struct options){.help = help, .longs = longs, .own = own_option, .operands = 1,
	    .max_in = 1, .max_out = LINKS_MAX};
	i = options_parse(&filter.o, argc, argv);
	check_options(argc - i);
	if (early)
		status = run_early();
	else
		status = run_vote(i < argc ? (const char *const *)argv + i : input,
		    i < argc ? argc - i : 1);
	vote_free(&vote);
	return status;
}
