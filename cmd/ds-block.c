/* Whole layers in one process: attention, router and experts. */
#include "options.h"

#include "stage/block.h"

static const char help[] =
    "usage: ds-block -m MODEL [-l LAYERS] [--tap NAMES] [--precision P]\n"
    "                [-i FROM] [-o TO ...] [-t THREADS] [-d DEVICE] [-r FD] [-v]\n"
    "\n"
    "Runs whole layers in one process: attention, router and experts.\n"
    "\n"
    HELP_MODEL HELP_LAYERS HELP_TAP HELP_PRECISION HELP_FROM HELP_TO HELP_REST;

int
main(int argc, char **argv)
{
	static struct filter f = {.o = {.help = help, .taps = TAPS_BLOCK, .products = 1, .max_in = 1, .max_out = ENDPOINTS_MAX}};
	struct block b;
	int status;

	options_parse(&f.o, argc, argv);
	filter_links(&f);
	filter_model(&f);
	if (block_open(&b, &f.stage) < 0)
		filter_fail(&f);
	filter_ready(&f);
	status = filter_run(&f, block_frame, &b);
	block_close(&b);
	return status;
}
