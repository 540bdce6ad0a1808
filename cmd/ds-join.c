/* The exact sum of experts that ran side by side. */
#include "options.h"

#include "base/fail.h"
#include "stage/join.h"

static const char help[] =
    "usage: ds-join -m MODEL -i FROM -i FROM ... [--tap NAMES] [-o TO ...]\n"
    "               [-t THREADS] [-r FD] [-v]\n"
    "\n"
    "Sums the experts of processes that ran side by side: one frame of each input\n"
    "in turn.\n"
    "\n"
    HELP_MODEL
    "  -i, --input FROM       where the frames of one process come from; two or more\n"
    HELP_TAP HELP_TO HELP_THREADS HELP_REST;

int
main(int argc, char **argv)
{
	static struct filter f = {.o = {.help = help, .taps = TAP_BIT(TAP_EXPERT_OUT),
	    .min_in = 2, .max_in = ENDPOINTS_MAX, .max_out = ENDPOINTS_MAX}};

	options_parse(&f.o, argc, argv);
	filter_links(&f);
	filter_model(&f);
	filter_ready(&f);
	if (join_run(&f.stage, f.in, f.o.nin, f.out, f.o.nout) == 0)
		return filter_close(&f, 0);
	fail_print();
	return filter_close(&f, fail_status());
}
