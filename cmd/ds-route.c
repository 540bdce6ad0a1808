/* Which experts the rows of a batch go to, in its layers. */
#include "options.h"

#include "stage/route.h"

static const char help[] =
    "usage: ds-route -m MODEL [-l LAYERS] [--tap NAMES] [--precision P]\n"
    "                [--manifest FILE] [-i FROM] [-o TO ...] [-t THREADS]\n"
    "                [-d DEVICE] [-r FD] [-v]\n"
    "\n"
    "Chooses the experts that each row goes to, in its layers.\n"
    "\n"
    HELP_MODEL HELP_LAYERS HELP_TAP HELP_PRECISION HELP_MANIFEST HELP_FROM HELP_TO HELP_THREADS HELP_DEVICE HELP_REST;

int
main(int argc, char **argv)
{
	static struct filter f = {.o = {.help = help, .taps = TAPS_ROUTE, .gpu = 1, .products = 1, .weights = 1, .max_in = 1, .max_out = ENDPOINTS_MAX}};
	struct route r;
	int status;

	options_parse(&f.o, argc, argv);
	filter_links(&f);
	filter_model(&f);
	if (route_open(&r, &f.stage) < 0)
		filter_fail(&f);
	filter_device(&f);
	filter_ready(&f);
	status = filter_run(&f, route_frame, &r);
	route_close(&r);
	device_close(f.stage.device);
	return status;
}
