/* ds-grade: rewards for answers, by rules.  */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "options.h"
#include "inspect/grade/grade.h"

static const char help[] =
"usage: ds-grade [--expect KEY] [--with FILE] [--number] [--boxed] [--regex RE]\n"
"           [--format HOW] [--length MAX] [--command CMD] [-j N]\n"
"           [--timeout S] [--weights LIST] [-v] [FILE ...]\n"
"\n"
"Adds a reward to answer lines, JSON objects with id, and text or answer: the sum\n"
"of these rules.  FILE may be - (stdin).\n"
"\n"
"  --expect KEY      1 if the answer is the value of this key of the line\n"
"  --with FILE       or of the line with the same id in FILE, e.g. of requests\n"
"  --number          compare the last number of both: 1,702.0 is 1702\n"
"  --boxed           compare what the last \\boxed{...} contains, as LaTeX\n"
"  --regex RE        compare what the first group of this expression matches\n"
"  --format HOW      think: 1 if the text is reasoning, </think> and an answer\n"
"  --length MAX      1 if it has at most MAX tokens\n"
"  --command CMD     what a shell command answers to the line: a number\n"
"  -j N              processes of this command (1)\n"
"  --timeout S       seconds that it has for a line (10)\n"
"  --weights LIST    factors of the rules, W,W, in the order of their options (1)\n"
"  -v                print a summary at the end\n"
"  -V, -h            print the version; print this text\n";

static struct grade grade = {.workers.timeout = 10};
static const char *weights;
static long processes;

enum { EXPECT = 256, WITH, NUMBER, BOXED, REGEX, FORMAT, LENGTH, COMMAND, TIMEOUT, WEIGHTS };

static const struct option longs[] = {{"expect", 1, NULL, EXPECT}, {"with", 1, NULL, WITH},
    {"number", 0, NULL, NUMBER}, {"boxed", 0, NULL, BOXED}, {"regex", 1, NULL, REGEX},
    {"format", 1, NULL, FORMAT}, {"length", 1, NULL, LENGTH}, {"command", 1, NULL, COMMAND},
    {"timeout", 1, NULL, TIMEOUT}, {"weights", 1, NULL, WEIGHTS}, {0}};

static int
add_rule(enum rule r)
{
	for (int i = 0; i < grade.nrules; i++)
		if (grade.rules[i] == r)
			return fail(FAIL_USAGE, "--%s appears twice", rule_name(r));
	grade.rules[grade.nrules++] = r;
	return 0;
}

static int
own_option(int c, const char *arg, void *to)
{
	(void)to;
	switch (c) {
	case EXPECT:
		grade.expect = arg;
		return add_rule(RULE_EXPECT);
	case WITH:
		grade.with = arg;
		return 0;
	case NUMBER:
	case BOXED:
		*(c == NUMBER ? &grade.extract.number : &grade.extract.boxed) = 1;
		return 0;
	case REGEX:
		extract_close(&grade.extract);
		return extract_open(&grade.extract, arg);
	case FORMAT:
		if (strcmp(arg, "think") != 0)
			return fail(FAIL_USAGE, "--format '%s': give think", arg);
		return add_rule(RULE_FORMAT);
	case LENGTH:
		return options_int("--length", arg, 0, 1 << 30, &grade.length) < 0 ? -1 :
		    add_rule(RULE_LENGTH);
	case COMMAND:
		grade.workers.command = arg;
		return add_rule(RULE_COMMAND);
	case TIMEOUT:
		return options_double("--timeout", arg, 0.01, 1e6, &grade.workers.timeout);
	case WEIGHTS:
		weights = arg;
		return 0;
	default:
		return options_int("-j", arg, 1, GRADE_WORKERS_MAX, &processes);
	}
}

/* The factors W,W,... of the rules.  */
static int
parse_weights(void)
{
	const char *s = weights;
	char *end;

	for (int i = 0; i < grade.nrules; i++) {
		grade.weights[i] = s ? strtod(s, &end) : 1;
		if (s && (end == s || *end != (i + 1 < grade.nrules ? ',' : 0) ||
		    !(grade.weights[i] >= -1e9 && grade.weights[i] <= 1e9)))
			return fail(FAIL_USAGE,
			    "--weights '%s': give %d numbers, one for each rule", weights,
			    grade.nrules);
		s = s ? end + 1 : NULL;
	}
	return 0;
}

static int
check_options(void)
{
	struct extract *e = &grade.extract;

	if (grade.nrules == 0)
		return fail(FAIL_USAGE, "no rule: give --expect, --format, --length or --command");
	if (e->regex && e->boxed)
		return fail(FAIL_USAGE, "--regex and --boxed do not go together: give one");
	if ((e->regex || e->boxed || e->number) && !grade.expect)
		return fail(FAIL_USAGE, "--number, --boxed and --regex need --expect");
	if (grade.expect && strcmp(grade.expect, "answer") == 0 && !grade.with)
		return fail(FAIL_USAGE,
		    "--expect answer: this key of the line is the answer itself: give --with FILE");
	if (grade.with && !grade.expect && !grade.workers.command)
		return fail(FAIL_USAGE, "--with needs --expect or --command");
	if (processes > 0 && !grade.workers.command)
		return fail(FAIL_USAGE, "-j needs --command");
	grade.nworkers = !grade.workers.command ? 0 : processes > 0 ? (int)processes : 1;
	return parse_weights();
}

int
main(int argc, char **argv)
{
	static const char *const input[] = {"-"};
	struct options o = {.help = help, .letters = "j:", .longs = longs, .own = own_option,
	    .operands = 1};
	int i = options_parse(&o, argc, argv), status;

	if (check_options() < 0)
		die_failed();
	if (grade_run(&grade, i < argc ? (const char *const *)argv + i : input, i < argc ?
	    argc - i : 1) < 0)
		die_failed();
	status = refused_end(&grade.refused);
	if (grade.failed > 0) {
		warn("%llu of %llu lines have no reward", (unsigned long long)grade.failed,
		    (unsigned long long)grade.lines);
		status = FAIL_DATA;
	}
	if (o.verbose && grade.lines > grade.failed)
		warn("%llu lines, mean reward %.6g",
		    (unsigned long long)(grade.lines - grade.failed),
		    grade.sum / (double)(grade.lines - grade.failed));
	grade_free(&grade);
	output_close();
	return status;
}
