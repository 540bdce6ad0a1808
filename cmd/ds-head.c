/* Logits of the rows that want them: the final norm and the output matrix. */
#include "options.h"

#include "stage/head.h"

static const char help[] =
    "usage: ds-head -m MODEL [--ring] [--tap NAMES] [--precision P]\n"
    "               [--manifest FILE] [-i FROM] [-o TO ...] [-t THREADS] [-d DEVICE]\n"
    "               [-r FD] [-v]\n"
    "\n"
    "Turns the rows that want them into logits.\n"
    "\n"
    HELP_MODEL
    "  --ring                 pass on frames that wait for another stage\n"
    HELP_TAP HELP_PRECISION HELP_MANIFEST HELP_FROM HELP_TO HELP_THREADS HELP_DEVICE
    HELP_REST;

static const struct option longs[] = {{"ring", no_argument, NULL, 256}, {0}};

static int
own(int c, const char *arg, void *to)
{
	(void)c, (void)arg;
	*(int *)to = 1;
	return 0;
}

int
main(int argc, char **argv)
{
	static struct filter f = {.o = {.help = help, .longs = longs, .own = own, .taps = TAPS_HEAD,
	    .gpu = 1, .products = 1, .weights = 1, .max_in = 1, .max_out = ENDPOINTS_MAX}};
	struct head h;
	int status, ring = 0;

	f.o.to = &ring;
	options_parse(&f.o, argc, argv);
	filter_links(&f);
	filter_model(&f);
	if (head_open(&h, &f.stage) < 0)
		filter_fail(&f);
	h.ring = ring;
	filter_device(&f);
	filter_ready(&f);
	status = filter_run(&f, head_frame, &h);
	head_close(&h);
	device_close(f.stage.device);
	return status;
}
