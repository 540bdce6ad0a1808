/* Whole layers in one process: attention, router and experts. */
#include "options.h"

#include "base/fail.h"
#include "stage/block.h"

static const char help[] =
    "usage: ds-block -m MODEL [-l LAYERS] [--tap NAMES] [--precision P]\n"
    "                [--manifest FILE] [-i FROM] [-o TO ...] [-t THREADS]\n"
    "                [-d DEVICE] [-r FD] [-v]\n"
    "\n"
    "Runs whole layers in one process: attention, router and experts.\n"
    "\n"
    HELP_MODEL HELP_LAYERS HELP_TAP HELP_PRECISION HELP_MANIFEST HELP_FROM HELP_TO HELP_THREADS HELP_DEVICE HELP_REST;

int
main(int argc, char **argv)
{
	static struct filter f = {.o = {.help = help, .taps = TAPS_BLOCK, .gpu = 1, .products = 1, .weights = 1, .max_in = 1, .max_out = ENDPOINTS_MAX}};
	struct block b;
	int status;

	options_parse(&f.o, argc, argv);
	filter_links(&f);
	filter_model(&f);
	if (block_open(&b, &f.stage) < 0)
		filter_fail(&f);
	filter_device(&f);
	filter_ready(&f);
	status = filter_run(&f, block_frame, &b);
	if (f.o.verbose && status == 0 && f.stage.gpu)
		warn("%llu batches, %llu of them replayed, of %llu graphs", (unsigned long long)b.gpu.batches,
		    (unsigned long long)b.gpu.replayed, (unsigned long long)b.gpu.recorded);
	block_close(&b);
	device_close(f.stage.device);
	return status;
}
