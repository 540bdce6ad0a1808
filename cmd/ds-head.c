/* Logits of the rows that want them: the final norm and the output matrix. */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/head.h"

static const char help[] =
    "usage: ds-head -m MODEL [--tap NAMES] [-i FROM] [-o TO ...] [-t THREADS]\n"
    "               [-d DEVICE] [-r FD] [-v]\n"
    "\n"
    "Turns the rows that want them into logits.\n"
    "\n"
    HELP_MODEL
    "  --tap NAMES add inner tensors to the frames: NAME,NAME,...; '?' lists them\n"
    HELP_FROM HELP_TO HELP_REST;

static int
take(int c, const char *arg, void *to)
{
	(void)c;
	if (strcmp(arg, "?") != 0)
		return tap_parse(to, head_taps, arg);
	tap_list(head_taps);
	exit(fflush(stdout) == 0 ? 0 : FAIL_SYSTEM);
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"tap", required_argument, NULL, 256}, {0}};
	static uint64_t taps;
	static struct filter f = {.o = {.help = help, .longs = longs, .own = take, .to = &taps,
	    .max_in = 1, .max_out = ENDPOINTS_MAX}};
	struct head h;
	int status;

	options_parse(&f.o, argc, argv);
	filter_links(&f);
	filter_model(&f);
	if (head_open(&h, &f.stage, taps) < 0)
		filter_fail(&f);
	filter_ready(&f);
	status = filter_run(&f, head_frame, &h);
	head_close(&h);
	return status;
}
