/* ds-plan: which programs of a pipeline on which host, and how fast that will be.  */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "link/address.h"
#include "options.h"
#include "plan/report.h"
#include "plan/write.h"
#include "stage/embed.h"

#define TEXT(n) #n
#define RATES(row, rows) TEXT(row) "," TEXT(rows)

static const char help[] =
"usage: ds-plan -m MODEL [-f FORMAT] [--shapes] [--latency] [-B ROWS]\n"
"               [--context N] [--sequences N] [--batches N] [--tokens N]\n"
"               [--net GBIT] [--gflops N] [--port N] [--sample WORDS]\n"
"               [--key FILE [--peers FILE] | --unsafe] [-v] HOSTS\n"
"\n"
"Splits a model over the hosts in a file, and predicts the speed.\n"
"\n"
"  -m, --model MODEL  folder or GGUF file (or DS_MODEL), the same on every host\n"
"  -f FORMAT          plan (for ds-run), sh, ssh, slurm (scripts) or report\n"
"  --shapes           use config.json and the index, without weights\n"
"  --latency          minimize the latency of one sequence, not the slowest host\n"
"  -B ROWS            maximum rows per prefill batch (512)\n"
"  --context N        maximum positions of a sequence; after a comma, the average\n"
"  --sequences N      concurrent sequences (1)\n"
"  --batches N        batches in flight (1)\n"
"  --tokens N         tokens per sequence over which start time is spread (100)\n"
"  --net GBIT         network bandwidth; after a comma, ms per frame (10,0.1)\n"
"  --gflops N         rates of a core, for one row and many (" RATES(CORE_ROW, CORE_ROWS)
    "; i8: " RATES(CORE_I8_ROW, CORE_I8_ROWS) ")\n"
"  --port N           first TCP port of links between hosts (5600)\n"
"  --sample WORDS     options for ds-sample, such as '-g -n 512'\n"
"  --key FILE         path of each host's own key\n"
"  --peers FILE       path of the public keys that each host allows\n"
"  --unsafe, -v       no keys; print the report to standard error too\n"
"  -V, -h             print the version; print this text\n";

enum { SHAPES = 256, LATENCY, CONTEXT, SEQUENCES, BATCHES, TOKENS, NET, GFLOPS, PORT, SAMPLE, KEY, PEERS, UNSAFE };

struct given {
	int format, shapes, verbose;    /* format -1: not given */
	struct demand demand;           /* context 0: not given */
	struct line_options lines;
	struct writing writing;
};

static int
parse_format(struct given *g, const char *arg)
{
	static const char *const names[] = {"plan", "report", "sh", "ssh", "slurm"};

	for (int i = 0; i < 5; i++)
		if (strcmp(arg, names[i]) == 0) {
			g->format = i;
			return 0;
		}
	return fail(FAIL_USAGE, "-f '%s': give plan, sh, ssh, slurm or report", arg);
}

/* X or X,Y in their ranges {min x, max x, min y, max y}; without Y, *y is unchanged.  */
static int
parse_pair(const char *option, const char *arg, const double range[4], double *x, double *y)
{
	const char *comma = strchr(arg, ',');
	char first[32];

	snprintf(first, sizeof(first), "%.*s", comma ? (int)(comma - arg) : (int)strlen(arg), arg);
	if (options_double(option, first, range[0], range[1], x) < 0)
		return -1;
	return comma ? options_double(option, comma + 1, range[2], range[3], y) : 0;
}

static int
parse_net(struct demand *d, const char *arg)
{
	double gbit, ms = d->hop * 1e3;

	if (parse_pair("--net", arg, (double[]){1e-3, 1e5, 0, 1e4}, &gbit, &ms) < 0)
		return -1;
	d->net = gbit * 1e9 / 8;
	d->hop = ms / 1e3;
	return 0;
}

static int
parse_context(struct demand *d, const char *arg)
{
	double most, at = 0;

	if (parse_pair("--context", arg, (double[]){1, 1 << 30, 1, 1 << 30}, &most, &at) < 0)
		return -1;
	d->context = (int)most;
	d->at = (int)at;
	if (d->context != most || d->at != at)
		return fail(FAIL_USAGE, "--context '%s': give whole numbers", arg);
	return d->at <= d->context ? 0 : fail(FAIL_USAGE, "--context '%s': more on average than at most", arg);
}

/* With many rows a core is twice as fast by default.  */
static int
parse_gflops(struct demand *d, const char *arg)
{
	double single, batched = 0;

	if (parse_pair("--gflops", arg, (double[]){1e-3, 1e6, 1e-3, 1e6}, &single, &batched) < 0)
		return -1;
	d->core = (struct rates){single * 1e9, (batched > 0 ? batched : 2 * single) * 1e9};
	d->coded = d->core;
	return d->core.rows >= d->core.row ? 0 : fail(FAIL_USAGE, "--gflops '%s': less with many rows than with one", arg);
}

static int
parse_int(const char *option, const char *arg, long max, int *out)
{
	long n;

	if (options_int(option, arg, 1, max, &n) < 0)
		return -1;
	*out = (int)n;
	return 0;
}

static int
own(int c, const char *arg, void *to)
{
	struct given *g = to;
	struct demand *d = &g->demand;

	switch (c) {
	case 'f':
		return parse_format(g, arg);
	case SHAPES:
		return g->shapes = 1;
	case LATENCY:
		return d->latency = 1;
	case 'B':
		return parse_int("-B", arg, 1 << 20, &d->rows);
	case CONTEXT:
		return parse_context(d, arg);
	case SEQUENCES:
		return parse_int("--sequences", arg, 1 << 20, &d->sequences);
	case BATCHES:
		return parse_int("--batches", arg, EMBED_BATCHES_MAX, &d->batches);
	case TOKENS:
		return options_double("--tokens", arg, 1, 1e12, &d->tokens);
	case NET:
		return parse_net(d, arg);
	case GFLOPS:
		return parse_gflops(d, arg);
	case PORT:
		return parse_int("--port", arg, 65535, &g->lines.port);
	case SAMPLE:
		g->lines.sample = arg;
		return 0;
	case KEY:
		g->writing.key = arg;
		return 0;
	case PEERS:
		g->writing.peers = arg;
		return 0;
	case UNSAFE:
		return g->writing.unsafe = 1;
	}
	return -1;
}

/* Check the options together, and set defaults.  */
static void
check(struct given *g, const struct config *c)
{
	struct demand *d = &g->demand;

	if (g->format < 0)
		g->format = g->shapes ? FORMAT_REPORT : FORMAT_PLAN;
	if (d->core.row == 0) {
		d->core = (struct rates){CORE_ROW * 1e9, CORE_ROWS * 1e9};
		d->coded = d->precision != PRECISION_I8 ? d->core :
		    (struct rates){CORE_I8_ROW * 1e9, CORE_I8_ROWS * 1e9};
	}
	if (d->context == 0)
		d->context = c->max_position < 4096 ? c->max_position : 4096;
	if (d->context > c->max_position)
		die(FAIL_USAGE, "--context %d: the model knows %d positions", d->context, c->max_position);
	if (d->at == 0)
		d->at = (d->context + 1) / 2;
	if (d->batches > d->sequences)
		die(FAIL_USAGE, "--batches %d: more than the sequences, --sequences %d", d->batches, d->sequences);
	if (g->writing.unsafe && (g->writing.key || g->writing.peers))
		die(FAIL_USAGE, "--unsafe is without keys: it does not go with --key and --peers");
	if (g->writing.peers && !g->writing.key)
		die(FAIL_USAGE, "--peers requires --key FILE");
}

/* Frames that leave a host need keys, or --unsafe.  */
static void
check_keys(const struct given *g, const struct lines *o, const struct hosts *hosts)
{
	if (g->format == FORMAT_REPORT || g->writing.key || g->writing.unsafe)
		return;
	for (int i = 0; i < o->nwires; i++)
		if (o->wire[i].port > 0)
			for (int h = 0; h < hosts->n + hosts->spares; h++)
				if (!address_is_local(hosts->h[h].address))
					die(FAIL_USAGE, "programs meet over the network: give --key FILE (ds-keygen makes one), or --unsafe");
}

/* Split the model, make the commands, write them.  */
static int
plan(struct given *g, const char *given_model, const struct sizes *s, const struct hosts *hosts, struct buf *out)
{
	struct demand *d = &g->demand;
	int rows = (d->sequences + d->batches - 1) / d->batches;
	struct cost batched, single, prompt;
	struct split split;
	struct lines lines;
	struct report r = {given_model, &split, &lines, &batched, &single, &prompt};
	struct buf text = {0};

	g->lines.threads = g->format != FORMAT_SH;
	g->lines.together = g->format == FORMAT_SH || (g->format == FORMAT_SLURM && hosts->n == 1);
	if (cost_open(&batched, s, hosts, d, rows, rows, d->at) < 0 ||
	    cost_open(&single, s, hosts, d, 1, 1, d->at) < 0 ||
	    cost_open(&prompt, s, hosts, d, d->rows, 0, d->at / 2.0) < 0 ||
	    split_make(&split, &batched, &single) < 0 || lines_make(&lines, &split, &batched, &g->lines) < 0)
		return -1;
	check_keys(g, &lines, hosts);
	g->writing.lines = &lines;
	g->writing.sample = g->lines.sample;
	g->writing.hosts = hosts;
	if (report_write(&text, &r, g->format == FORMAT_REPORT ? "" : "# ") < 0 || buf_addc(&text, 0) < 0)
		return -1;
	if (g->verbose)
		fputs((char *)text.p, stderr);
	if (g->format == FORMAT_REPORT ? buf_addf(out, "%s", (char *)text.p) < 0 :
	    g->format == FORMAT_PLAN ? write_plan(out, &g->writing, (char *)text.p) < 0 :
	    write_script(out, &g->writing, (enum format)g->format, (char *)text.p) < 0)
		return -1;
	buf_free(&text);
	lines_free(&lines);
	split_free(&split);
	cost_close(&batched);
	cost_close(&single);
	cost_close(&prompt);
	return 0;
}

/* That of the programs, if DS_PRECISION is as it is now when the scripts run.  */
static enum precision
precision_of_scripts(void)
{
	const char *given = getenv("DS_PRECISION");
	int p = given && *given ? precision_parse(given) : PRECISION_F32;

	if (p < 0)
		die(FAIL_USAGE, "DS_PRECISION '%s': give " PRECISION_WORDS, given);
	return (enum precision)p;
}

/* Likewise. */
static enum dtype
cache_type_of_scripts(enum precision p)
{
	const char *given = getenv("DS_CACHE_TYPE");
	int t = given && *given ? cache_type_parse(given) : (int)cache_type_default(p);

	if (t < 0)
		die(FAIL_USAGE, "DS_CACHE_TYPE '%s': give f32 or bf16", given);
	return (enum dtype)t;
}

int
main(int argc, char **argv)
{
	struct given g = {.format = -1, .lines = {.sample = "", .port = 5600},
	    .demand = {.sequences = 1, .batches = 1, .rows = 512, .net = 10e9 / 8, .hop = 1e-4,
	    .tokens = 100}};
	static const struct option longs[] = {{"shapes", 0, NULL, SHAPES}, {"latency", 0, NULL, LATENCY},
	    {"context", 1, NULL, CONTEXT}, {"sequences", 1, NULL, SEQUENCES}, {"batches", 1, NULL, BATCHES},
	    {"tokens", 1, NULL, TOKENS}, {"net", 1, NULL, NET}, {"gflops", 1, NULL, GFLOPS}, {"port", 1, NULL, PORT}, {"sample", 1, NULL, SAMPLE},
	    {"key", 1, NULL, KEY}, {"peers", 1, NULL, PEERS}, {"unsafe", 0, NULL, UNSAFE}, {0}};
	struct options o = {.help = help, .letters = "f:B:", .longs = longs, .own = own, .to = &g, .operands = 1};
	int i = options_parse(&o, argc, argv);
	struct sizes sizes;
	struct hosts hosts;
	struct buf out = {0};
	char *model;

	options_require_model(&o);
	if (argc - i != 1)
		die(FAIL_USAGE, "give one file of HOSTS: see %s -h", program);
	if (sizes_open(&sizes, o.model, g.shapes) < 0 || hosts_open(&hosts, argv[i]) < 0)
		die_failed();
	g.verbose = o.verbose;
	g.demand.precision = precision_of_scripts();
	g.demand.cache_type = cache_type_of_scripts(g.demand.precision);
	check(&g, &sizes.config);
	if (!(model = realpath(o.model, NULL)))
		die(FAIL_SYSTEM, "cannot find the model's folder:");
	g.lines.model = g.writing.model = model;
	g.writing.programs = program_folder();
	if (plan(&g, o.model, &sizes, &hosts, &out) < 0)
		die_failed();
	output_print(&out);
	free(model);
	hosts_close(&hosts);
	sizes_close(&sizes);
	return 0;
}
