/*
 * ds-hash: the tensors of a run as lines of hashes, and a check of them.
 */
#include <stdio.h>

#include "base/fail.h"
#include "options.h"
#include "inspect/hash/hash.h"

static const char help[] =
"usage: ds-hash [--check TRACE] [-i FROM ...] [-v] [FROM ...]\n"
"\n"
"Prints a trace of a run: a line with the hash of each tensor.\n"
"\n"
"  -i, --input FROM  same as FROM: streams or folders of *.dsf of one run (stdin)\n"
"  --check TRACE     compare the run with this file; print lines that differ\n"
"  -v                print a summary at the end\n"
"  -V, -h            print the version; print this text\n";

static const struct option longs[] = {{"check", required_argument, NULL, 256}, {0}};

static int
own_option(int c, const char *arg, void *to)
{
	(void)c;
	*(const char **)to = arg;
	return 0;
}

/* Exit status 1 means that a check failed, so wrong data has another one.  */
static _Noreturn void
die_of_trouble(void)
{
	die(fail_status() == FAIL_USAGE ? FAIL_USAGE : FAIL_SYSTEM, "%s", fail_text());
}

int
main(int argc, char **argv)
{
	const char *check = NULL;
	struct options o = {.help = help, .longs = longs, .own = own_option, .to = &check,
	    .streams = 1, .max_in = LINKS_MAX};
	struct hashes t = {0};
	long bad = 0, total = 0, more = 0;

	options_parse(&o, argc, argv);
	for (int i = 0; i < o.nfrom; i++)
		if (hash_read(&t, o.from[i]) < 0)
			die_of_trouble();
	if (check)
		bad = hash_check(stdout, &t, check, &total, &more);
	else
		bad = hash_print(stdout, &t, &total);
	if (bad < 0)
		die_of_trouble();
	output_close();
	if (!check && total == 0)
		die(FAIL_SYSTEM, "nothing to hash: no frame has tensors with a row for each position");
	if (t.odd > 0)
		warn("%llu tensors have no row for each position: left out", (unsigned long long)t.odd);
	if (bad > 0)
		warn("%ld of %ld lines differ from '%s'", bad, total, check);
	else if (o.verbose && check)
		warn("%ld lines match '%s'", total, check);
	else if (o.verbose)
		warn("%ld lines", total);
	if (more > 0)
		warn("'%s' asks for no row, or not for all, of %ld tensor%s of the run", check,
		    more, more > 1 ? "s" : "");
	hash_free(&t);
	return bad > 0;
}
