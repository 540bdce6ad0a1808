/*
 * ds-diff: the first place where two runs differ, and how far they are apart.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "options.h"
#include "inspect/diff/diff.h"

static const char help[] =
"usage: ds-diff [-qv] [--tol TOL] [--common] [--partial] [--json] [--map FILE]\n"
"               [--seq N] [--hold MIB] A B\n"
"\n"
"Reports the first difference between two runs, and the size of all errors.\n"
"A and B: streams of frames (a file, a FIFO, -), folders of streams (*.dsf);\n"
"one of them may be a safetensors or npy file.\n"
"\n"
"  --tol TOL    tolerance, relative to a row's largest value (equal bits)\n"
"  --common     ignore tensors of a stage that only one side has\n"
"  --partial    exit with 0, not 4, if only a part was compared and is equal\n"
"  --json       print the report as a JSON object\n"
"  --map FILE   names of the tensors of a safetensors or npy file, in lines\n"
"               THEIR_NAME STAGE LAYER TENSOR\n"
"  --seq N      sequence that such a file belongs to (the first one)\n"
"  --hold MIB   memory for unmatched rows (256)\n"
"  -q, --quiet  print no report\n"
"  -v           print a summary at the end\n"
"  -V, -h       print the version; print this text\n";

enum { TOL = 256, COMMON, PARTIAL, JSON, MAP, SEQ, HOLD };

static const struct option longs[] = {
	{"quiet", no_argument, NULL, 'q'},
	{"tol", required_argument, NULL, TOL},
	{"common", no_argument, NULL, COMMON},
	{"partial", no_argument, NULL, PARTIAL},
	{"json", no_argument, NULL, JSON},
	{"map", required_argument, NULL, MAP},
	{"seq", required_argument, NULL, SEQ},
	{"hold", required_argument, NULL, HOLD},
	{0}
};

static struct diff d = {.tol = -1, .hold = (size_t)256 << 20};
static int json, partial, quiet;

enum { IN_PART = 4 };           /* exit status: only a part was compared, and is equal */

static int
parse_seq(const char *arg)
{
	char *end;

	errno = 0;
	d.seq = strtoull(arg, &end, 10);
	d.seq_known = 1;
	if (errno || end == arg || *end || strchr(arg, '-'))
		return fail(FAIL_USAGE, "--seq '%s': give a sequence's number", arg);
	return 0;
}

static int
own_option(int c, const char *arg, void *to)
{
	long n;

	(void)to;
	switch (c) {
	case TOL:
		return options_double("--tol", arg, 0, 1e30, &d.tol);
	case COMMON:
		d.common = 1;
		return 0;
	case PARTIAL:
		partial = 1;
		return 0;
	case JSON:
		json = 1;
		return 0;
	case MAP:
		d.map = arg;
		return 0;
	case SEQ:
		return parse_seq(arg);
	case HOLD:
		if (options_int("--hold", arg, 0, 1 << 24, &n) < 0)
			return -1;
		d.hold = (size_t)n << 20;
		return 0;
	default:
		quiet = 1;
		return 0;
	}
}

/* Exit status 1 means that the runs differ, so wrong data has another one.  */
static _Noreturn void
die_of_trouble(void)
{
	die(fail_status() == FAIL_USAGE ? FAIL_USAGE : FAIL_SYSTEM, "%s", fail_text());
}

int
main(int argc, char **argv)
{
	struct options o = {.help = help, .letters = "q", .longs = longs, .own = own_option, .operands = 1};
	int at = options_parse(&o, argc, argv), answer;

	if (argc - at != 2)
		die(FAIL_USAGE, "give two runs to compare: see %s -h", program);
	d.names[0] = argv[at];
	d.names[1] = argv[at + 1];
	answer = diff_run(&d);
	if (answer < 0)
		die_of_trouble();
	if (!quiet)
		(json ? diff_report_json : diff_report)(stdout, &d, answer);
	output_close();
	for (int i = 0; i < 2; i++)
		if (d.src[i].cut)
			warn("compared as far as it goes: %s", d.src[i].cut);
	if (o.verbose)
		warn("%llu and %llu frames, %llu and %llu bytes", (unsigned long long)d.src[0].frames,
		    (unsigned long long)d.src[1].frames, (unsigned long long)d.src[0].bytes, (unsigned long long)d.src[1].bytes);
	diff_close(&d);
	if (answer == DIFF_PART)
		return partial ? 0 : IN_PART;
	return answer == DIFF_DIFFERS ? 1 : answer == DIFF_CUT ? FAIL_SYSTEM : 0;
}
