/* ds-verify: checks on this machine that a model's results do not depend on how it is split.  */
#include <stdio.h>

#include "base/fail.h"
#include "base/io.h"
#include "options.h"
#include "launch/verify.h"

static const char help[] =
"usage: ds-verify -m MODEL [--precision P] [--cache-type TYPE] [-t THREADS]\n"
"                 [-v] [TEXT]\n"
"\n"
"Runs TEXT in many configurations: splits into processes, chunks, batches,\n"
"threads and instruction sets.  It compares all logits bit by bit and prints a\n"
"line per configuration.\n"
"\n"
HELP_MODEL
HELP_PRECISION HELP_CACHE_TYPE
"  -t, --threads THREADS  maximum number of threads (all cores, at least 2)\n"
"  -v                     print the shell line of each configuration\n"
"  -V, -h                 print the version; print this text\n";

int
main(int argc, char **argv)
{
	static struct model model;
	struct options o = {.help = help, .operands = 1, .products = 1, .caches = 1};
	struct verify v = {.model = &model, .to = stdout, .text = "A pipeline gives the same bits, however it is cut: 37 * 46 = 1702."};
	int first = options_parse(&o, argc, argv);

	if (argc - first > 1)
		die(FAIL_USAGE, "unexpected argument '%s': see %s -h", argv[first + 1], program);
	if (argc > first)
		v.text = argv[first];
	options_require_model(&o);
	v.programs = program_folder();
	v.precision = o.precision < 0 ? NULL : precision_name((enum precision)o.precision);
	v.cache_type = o.cache_type < 0 ? NULL : cache_type_name((enum dtype)o.cache_type);
	v.threads = o.threads > 1 ? o.threads : 2;
	v.verbose = o.verbose;
	if (model_open(&model, o.model) < 0 || verify_run(&v) < 0)
		die(fail_status() == FAIL_DATA ? FAIL_SYSTEM : fail_status(), "%s", fail_text());
	model_close(&model);
	output_close();
	if (v.failed > 0)
		die(1, "%ld of %ld configurations differ from the first", v.failed, v.ways);
	return 0;
}
