/* ds-vote: the majority of several answers to one question.  */
#include <stdio.h>

#include "base/fail.h"
#include "options.h"
#include "inspect/vote/vote.h"

static const char help[] =
"usage: ds-vote [--number] [--boxed] [--regex RE] [--of N] [-v] [FILE ...]\n"
"\n"
"Reads answer lines, JSON objects with id, index, and text or answer.  Writes for\n"
"each id the answer that most of its lines agree on.  FILE may be - (stdin).\n"
"\n"
"  --number    compare the last number of each answer: 1,702.0 is 1702\n"
"  --boxed     compare what the last \\boxed{...} contains, as LaTeX\n"
"  --regex RE  compare the first group of this regular expression, or its match\n"
"  --of N      there are N answers for each id: write each result at once\n"
"  -v          print a summary at the end\n"
"  -V, -h      print the version; print this text\n";

static struct vote vote;

enum { NUMBER = 256, BOXED, REGEX, OF };

static const struct option longs[] = {{"number", no_argument, NULL, NUMBER},
    {"boxed", no_argument, NULL, BOXED}, {"regex", required_argument, NULL, REGEX},
    {"of", required_argument, NULL, OF}, {0}};

static int
own_option(int c, const char *arg, void *to)
{
	long n;

	(void)to;
	if (c == REGEX) {
		extract_close(&vote.extract);
		return extract_open(&vote.extract, arg);
	}
	if (c == OF) {
		if (options_int("--of", arg, 1, 1 << 30, &n) < 0)
			return -1;
		vote.of = (uint64_t)n;
		return 0;
	}
	*(c == NUMBER ? &vote.extract.number : &vote.extract.boxed) = 1;
	return 0;
}

int
main(int argc, char **argv)
{
	static const char *const input[] = {"-"};
	struct options o = {.help = help, .longs = longs, .own = own_option, .operands = 1};
	int i = options_parse(&o, argc, argv), status;

	if (vote.extract.regex && vote.extract.boxed)
		die(FAIL_USAGE, "--regex and --boxed do not go together: give one");
	if (vote_run(&vote, i < argc ? (const char *const *)argv + i : input, i < argc ? argc - i :
	    1) < 0)
		die_failed();
	status = refused_end(&vote.refused);
	if (o.verbose)
		warn("%llu lines, %llu questions", (unsigned long long)vote.lines,
		    (unsigned long long)vote.questions);
	vote_free(&vote);
	output_close();
	return status;
}
