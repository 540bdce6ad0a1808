/* ds-stat: tensor statistics of a stream, load of experts, and times.  */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "options.h"
#include "inspect/stat/tensor_stats.h"
#include "inspect/stat/load.h"
#include "inspect/source.h"
#include "inspect/stat/timing.h"

static const char help[] =
"usage: ds-stat [-m MODEL] [-i FROM ...] [--experts] [--outliers N] [--trace]\n"
"           [--json] [--watch] [-v] [FROM ...]\n"
"\n"
"Prints statistics of a stream: a line per tensor of each stage and layer, and\n"
"a line per router.\n"
"\n"
"  -m, --model MODEL  folder or GGUF file (or DS_MODEL), for expert counts\n"
"                     and their groups\n"
"  -i, --input FROM   same as FROM: streams, or folders of *.dsf (standard input)\n"
"  --experts          also print a line per expert\n"
"  --outliers N       outliers are channels above N times the median channel (10)\n"
"  --trace            print times of stages and links, from ds-embed --trace\n"
"  --json             print JSON, one object per line\n"
"  --watch            print the current state each second; on a terminal in place\n"
"  -v                 print a summary at the end\n"
"  -V, -h             print the version; print this text\n";

enum { EXPERTS = 256, OUTLIERS, TRACE, JSON, WATCH };

static struct {
	int experts, trace, json, watch;
	struct tensor_stats tensors;
	struct load load;
	struct timing timing;
} g = {.tensors = {.outlier = 10, .top = 4}};

static int
own(int c, const char *arg, void *to)
{
	(void)to;
	if (c == OUTLIERS)
		return options_double("--outliers", arg, 1, 1e30, &g.tensors.outlier);
	*(c == EXPERTS ? &g.experts : c == TRACE ? &g.trace : c == JSON ? &g.json : &g.watch) = 1;
	return 0;
}

static int
add_frame(struct frame *f)
{
	if (g.trace)
		return timing_frame(&g.timing, f);
	return tensor_stats_frame(&g.tensors, f) < 0 ? -1 : load_frame(&g.load, f);
}

/* now: it is not the end */
static int
report(int now)
{
	struct record r = {.to = stdout, .json = g.json};
	int screen = g.watch && isatty(1);

	if (screen)
		fputs("\033[H\033[2J", stdout);
	if (g.trace)
		timing_print(&g.timing, &r);
	else if (tensor_stats_print(&g.tensors, &r) < 0)
		return -1;
	else
		load_print(&g.load, &r, g.experts);
	if (now && !screen && !g.json)
		putchar('\n');
	return fflush(stdout) != 0 || ferror(stdout) ? fail(FAIL_SYSTEM, "cannot write:") : 0;
}

/* Read to the end: 0, or -1 and a message.  */
static int
read_all(struct source *s)
{
	struct frame f;
	double next = clock_now() + 1;
	int r;

	frame_init(&f);
	for (;;) {
		struct pollfd p = {.fd = source_fd(s), .events = POLLIN};

		if (g.watch && clock_now() >= next) {
			if (report(1) < 0)
				return -1;
			next = clock_now() + 1;
		}
		if (g.watch && poll(&p, 1, 1 + (int)(1000 * (next - clock_now()))) <= 0)
			continue;
		r = source_next(s, &f, !g.watch);
		if (r < 0) {
			frame_free(&f);
			return r == -2 ? 0 : -1;
		}
		if (r > 0)
			r = add_frame(&f);
		frame_free(&f);
		frame_init(&f);
		if (r < 0)
			return fail_in("%s: frame %llu", s->in.name,
			    (unsigned long long)s->in.frames);
	}
}

/* What was requested and did not come; NULL: it came.  */
static const char *
missing(void)
{
	if (g.trace)
		return g.timing.frames ? NULL :
		    "no frame has a trace: ds-embed --trace asks for it";
	if (!tensor_stats_any(&g.tensors))
		return "no frame has tensors with a row for each position";
	return g.experts && !load_any(&g.load) ? "--experts: no frame comes from ds-route" : NULL;
}

static void
read_model(const char *dir)
{
	struct config c;

	if (!dir)
		return;
	if (config_load(&c, dir) < 0)
		die_failed();
	g.load.experts = c.n_routed_experts;
	g.load.groups = c.n_routed_experts > 0 ? c.n_group : 0;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"experts", 0, NULL, EXPERTS},
	    {"outliers", 1, NULL, OUTLIERS},
	    {"trace", 0, NULL, TRACE}, {"json", 0, NULL, JSON}, {"watch", 0, NULL, WATCH}, {0}};
	struct options o = {.help = help, .longs = longs, .own = own, .streams = 1,
	    .max_in = LINKS_MAX};
	struct source s;
	int r, status = 0;

	options_parse(&o, argc, argv);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);         /* a screen at once */
	read_model(o.model);
	if (source_open_all(&s, o.from, (size_t)o.nfrom) < 0)
		die_failed();
	if (g.trace && s.n > 1)
		die(FAIL_USAGE, "--trace: %zu streams: give one: the last one of a run has all entries", s.n);
	r = read_all(&s);
	if (r < 0 || s.cut) {           /* print what came before it */
		warn("%s", r < 0 ? fail_text() : s.cut);
		status = r < 0 ? fail_status() : FAIL_SYSTEM;
	}
	if (report(0) < 0)
		die_failed();
	output_close();
	if (o.verbose)
		warn("%llu frames, %llu bytes; %llu tensors without a row for each position are left out",
		    (unsigned long long)s.frames, (unsigned long long)s.bytes,
		    (unsigned long long)g.tensors.odd);
	if (status == 0 && missing()) {
		warn("nothing to sum up: %s", missing());
		status = FAIL_DATA;
	}
	source_close(&s);
	tensor_stats_free(&g.tensors);
	load_free(&g.load);
	timing_free(&g.timing);
	return status;
}
