/* Attention of its layers, with their caches. */
#include "options.h"

#include "stage/attn.h"

static const char help[] =
    "usage: ds-attn -m MODEL [-l LAYERS] [--tap NAMES] [--precision P]\n"
    "               [--manifest FILE] [-i FROM] [-o TO ...] [-t THREADS]\n"
    "               [-d DEVICE] [-r FD] [-v]\n"
    "\n"
    "Adds attention to the residual stream, with the caches of its layers.\n"
    "\n"
    HELP_MODEL HELP_LAYERS HELP_TAP HELP_PRECISION HELP_MANIFEST HELP_FROM HELP_TO HELP_THREADS HELP_DEVICE HELP_REST;

int
main(int argc, char **argv)
{
	static struct filter f = {.o = {.help = help, .taps = TAPS_ATTN, .gpu = 1, .products = 1, .weights = 1, .max_in = 1, .max_out = ENDPOINTS_MAX}};
	struct attn a;
	int status;

	options_parse(&f.o, argc, argv);
	filter_links(&f);
	filter_model(&f);
	if (attn_open(&a, &f.stage) < 0)
		filter_fail(&f);
	filter_device(&f);
	filter_ready(&f);
	status = filter_run(&f, attn_frame, &a);
	attn_close(&a);
	device_close(f.stage.device);
	return status;
}
