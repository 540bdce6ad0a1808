/* The experts of its layers, all or a part of them. */
#include "options.h"

#include "base/fail.h"
#include "stage/expert.h"

static const char help[] =
    "usage: ds-expert -m MODEL [-l LAYERS] [-e SET] [--tap NAMES]\n"
    "                 [--precision P] [--manifest FILE] [-i FROM] [-o TO ...]\n"
    "                 [-t THREADS] [-d DEVICE] [-r FD] [-v]\n"
    "\n"
    "Adds what its experts contribute to the residual stream, in its layers.\n"
    "\n"
    HELP_MODEL HELP_LAYERS
    "  -e SET                 experts to compute, s: shared ones: 0-7,s (all others)\n"
    HELP_TAP HELP_PRECISION HELP_MANIFEST HELP_FROM HELP_TO HELP_THREADS HELP_DEVICE HELP_REST;

static int
take(int c, const char *arg, void *to)
{
	const char **set = to;

	(void)c;
	*set = arg;
	return 0;
}

int
main(int argc, char **argv)
{
	static const char *set;
	static struct filter f = {.o = {.help = help, .letters = "e:", .own = take, .to = &set,
	    .taps = TAPS_EXPERT, .gpu = 1, .products = 1, .weights = 1, .max_in = 1, .max_out = ENDPOINTS_MAX}};
	struct prefetch *p;
	struct expert x;
	int status;

	options_parse(&f.o, argc, argv);
	filter_links(&f);
	filter_model(&f);
	if (expert_open(&x, &f.stage, set) < 0)
		filter_fail(&f);
	filter_device(&f);
	p = &f.stage.device->prefetch;
	p->counts = f.o.verbose;
	filter_ready(&f);
	status = filter_run(&f, expert_frame, &x);
	if (f.o.verbose && status == 0 && !f.stage.gpu)
		warn("%llu batches, %.1f of %.1f MB of the experts they chose were in memory%s", (unsigned long long)p->batches,
		    (double)p->held * 1e-6, (double)p->bytes * 1e-6, p->asked ? "; the rest was read ahead" : "");
	expert_close(&x);
	device_close(f.stage.device);
	return status;
}
