/*
 * ds-bench: the speed of the stages, compared with the limits of the machine.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/io.h"
#include "base/memory.h"
#include "bench/host.h"
#include "bench/report.h"
#include "bench/synth.h"
#include "stage_main.h"

static const char help[] =
"usage: ds-bench [--shape SHAPE] [-m MODEL] [--weights TYPE] [-l LAYERS]\n"
"          [--stages LIST] [--decode LIST] [--prefill LIST] [--time SECONDS]\n"
"          [--memory GIB] [--limits LIMITS] [--json] [--svg FILE] [-d DEVICE]\n"
"          [--host | --write FOLDER [--sparse]] [--precision P] [--huge-pages]\n"
"          [--cache-type TYPE] [-t THREADS] [-v]\n"
"\n"
"Measures stages with synthetic weights of a shape or config.json, or real ones.\n"
"  --shape SHAPE          " SHAPE_WORDS "\n"
"  -m, --model MODEL      folder or GGUF file (or DS_MODEL), instead of a shape\n"
"  --weights TYPE         bf16, fp8, q8, q4_k ... (as the shape is published)\n"
"  -l, --layers LAYERS    layers to measure: " RANGES_SYNTAX "\n"
"  --stages LIST          stages to measure, of attn,route,expert,head (all)\n"
"  --decode LIST          decode batches: ROWS or ROWS@CONTEXT (1,2,4,8,16)\n"
"  --prefill LIST         prefill batches: ROWS (32,128,512,2048); 0: none\n"
"  --time, --memory       SECONDS per measurement (2); GIB at most (0.9 of free)\n"
"  --limits, --sparse     GB/s,GFLOP/s of the machine; weights are holes\n"
HELP_PRECISION HELP_CACHE_TYPE HELP_HUGE
"  --svg, --write         FILE of a roofline; FOLDER: only write the checkpoint\n"
"  -d, --device DEVICE    compute on cpu, cuda or cuda:N (cpu, or DS_DEVICE)\n"
"  -t, --threads THREADS  compute threads (all cores)\n"
"  --host, --json         print this machine's line for ds-plan; print JSON lines\n"
"  -V, -h, -v             print the version; print this text; print progress\n";

#define SIZES_MAX 32
#define CONTEXT 512             /* positions in the cache of a row that decodes, by default */
#define CONTEXT_MAX (1 << 24)
#define BATCH_BYTES (UINT64_C(64) << 20)        /* memory reserved for batches */

enum { SHAPE = 256, WEIGHTS, STAGES, DECODE, PREFILL, TIME, MEMORY, LIMITS, JSON, SVG, WRITE,
	SPARSE, HOST, HUGE_PAGES };

static const struct option longs[] = {{"shape", 1, NULL, SHAPE}, {"weights", 1, NULL, WEIGHTS}, {"stages", 1, NULL, STAGES},
    {"decode", 1, NULL, DECODE}, {"prefill", 1, NULL, PREFILL}, {"time", 1, NULL, TIME},
    {"memory", 1, NULL, MEMORY}, {"limits", 1, NULL, LIMITS}, {"json", 0, NULL, JSON}, {"svg", 1, NULL, SVG},
    {"write", 1, NULL, WRITE}, {"sparse", 0, NULL, SPARSE}, {"host", 0, NULL, HOST},
    {"huge-pages", 0, NULL, HUGE_PAGES}, {0}};

struct sizes {
	struct { int rows, context; } v[SIZES_MAX];
	int n;
};

static struct {
	struct options o;
	const char *shape, *svg, *write;
	const struct weight_type *type;
	unsigned parts;
	struct sizes decode, prefill;
	double seconds, memory;         /* memory: bytes, 0: all that is free */
	int json, sparse, host, huge;
	struct limit limit;             /* 0: measure it */

	struct synth synth;
	struct model model;
	struct bench bench;
	struct sweep sweep;
	struct bench_gpu gpu;
	struct record record;
	struct measured measured[2 * SIZES_MAX];
	int n;
} g = {.parts = (1u << BENCH_STAGES) - 1, .seconds = 2,
    .decode = {{{1, CONTEXT}, {2, CONTEXT}, {4, CONTEXT}, {8, CONTEXT}, {16, CONTEXT}}, 5},
    .prefill = {{{32, 0}, {128, 0}, {512, 0}, {2048, 0}}, 4}};

/* --- options --- */

/* N, or N@CONTEXT. */
static int
parse_size(const char *option, char *word, struct sizes *s)
{
	char *at = strchr(word, '@');
	long rows, context = CONTEXT;

	if (at)
		*at = 0;
	if (options_int(option, word, 1, FRAME_SPANS_MAX, &rows) < 0 ||
	    (at && options_int(option, at + 1, 0, CONTEXT_MAX, &context) < 0))
		return -1;
	if (at && s == &g.prefill)
		return fail(FAIL_USAGE, "%s '%s@%s': a prompt begins at position 0", option, word, at + 1);
	s->v[s->n].rows = (int)rows;
	s->v[s->n++].context = (int)context;
	return 0;
}

static int
parse_sizes(const char *option, const char *text, struct sizes *s)
{
	char *copy = strdup(text), *word, *rest = copy;
	int r = copy ? 0 : fail(FAIL_SYSTEM, "no memory for an option");

	s->n = 0;
	while (r == 0 && (word = strsep(&rest, ","))) {
		if (strcmp(text, "0") == 0)
			break;
		if (s->n == SIZES_MAX)
			r = fail(FAIL_USAGE, "%s '%s': at most %d numbers", option, text, SIZES_MAX);
		else
			r = parse_size(option, word, s);
	}
	free(copy);
	return r;
}

static int
parse_stages(const char *text)
{
	size_t n;

	g.parts = 0;
	for (const char *s = text; ; s += n + 1) {
		enum at at;

		n = strcspn(s, ",");
		at = at_parse(s, n);
		if (at < AT_ATTN || at > AT_HEAD)
			return fail(FAIL_USAGE, "--stages '%s': give some of attn,route,expert,head", text);
		g.parts |= 1u << (at - AT_ATTN);
		if (!s[n])
			return 0;
	}
}

static int
parse_limits(const char *text)
{
	char end;

	if (sscanf(text, "%lf,%lf%c", &g.limit.read, &g.limit.fma, &end) != 2 || !(g.limit.read > 0 && g.limit.read < 1e9) ||
	    !(g.limit.fma > 0 && g.limit.fma < 1e9))
		return fail(FAIL_USAGE, "--limits '%s': give GB/s and GFLOP/s, like 20,150", text);
	g.limit.read *= 1e9;
	g.limit.fma *= 1e9;
	return 0;
}

static int
own(int c, const char *arg, void *to)
{
	(void)to;
	switch (c) {
	case WEIGHTS:
		return (g.type = weight_type_find(arg)) ? 0 : -1;
	case STAGES:
		return parse_stages(arg);
	case DECODE:
		return parse_sizes("--decode", arg, &g.decode);
	case PREFILL:
		return parse_sizes("--prefill", arg, &g.prefill);
	case TIME:
		return options_double("--time", arg, 0, 3600, &g.seconds);
	case MEMORY:
		if (options_double("--memory", arg, 0.001, 1e6, &g.memory) < 0)
			return -1;
		g.memory *= 0x1p30;
		return 0;
	case LIMITS:
		return parse_limits(arg);
	case JSON:
	case SPARSE:
	case HOST:
	case HUGE_PAGES:
		*(c == JSON ? &g.json : c == HOST ? &g.host : c == SPARSE ? &g.sparse : &g.huge) = 1;
		return 0;
	}
	*(c == SHAPE ? &g.shape : c == SVG ? &g.svg : &g.write) = arg;
	return 0;
}

static void
check_options(void)
{
	if (!g.shape && (g.write || g.sparse || g.type))
		die(FAIL_USAGE, "%s generates weights: give their --shape",
		    g.write ? "--write" : g.sparse ? "--sparse" : "--weights");
	if (g.shape && g.o.model && g.o.model != getenv("DS_MODEL"))
		die(FAIL_USAGE, "--shape generates weights, -m reads them: give one of both");
	if (!g.shape && !g.o.model)
		die(FAIL_USAGE, "nothing to measure: give --shape SHAPE or -m MODEL");
	if (g.sparse && !g.write)
		die(FAIL_USAGE, "--sparse is for --write: zeros that take no memory are not read at its speed");
	if (g.host && (g.json || g.svg || g.write || g.parts != (1u << BENCH_STAGES) - 1 || g.o.ordinal >= 0))
		die(FAIL_USAGE,
		    "--host measures all stages on the CPU and prints one line: it excludes "
		    "--json, --svg, --write, --stages and -d cuda");
	if (g.huge && g.o.ordinal >= 0)
		die(FAIL_USAGE, "--huge-pages: the weights are in the GPU's memory: leave it out");
	if (g.decode.n + g.prefill.n == 0)
		die(FAIL_USAGE, "--decode 0 --prefill 0: nothing is left to be measured");
}

/* --- the model --- */

/* Remove the folder that was made, and exit with the message that fail() keeps.  */
_Noreturn static void
end_failed(void)
{
	g.synth.temporary = 1;
	synth_close(&g.synth);
	die_failed();
}

static void
write_checkpoint(void)
{
	struct pool *pool;

	if (synth_open(&g.synth, g.shape, g.type, g.o.layers, g.write) < 0 || synth_tensors(&g.synth, 1, 1) < 0 ||
	    !(pool = pool_new(g.o.threads)) || synth_write(&g.synth, g.sparse, pool) < 0)
		end_failed();
	if (g.o.verbose)
		warn("%s: %.2f GB of weights", g.write, (double)synth_bytes(&g.synth) * 1e-9);
	synth_close(&g.synth);
	pool_free(pool);
}

/* Bytes of the caches at the largest context of each sequence.  */
static uint64_t
cache_bytes(const struct config *c, int layers)
{
	uint64_t bytes = 0;

	for (int seq = 0; seq < FRAME_SPANS_MAX; seq++) {
		int most = -1;

		for (int i = 0; i < g.decode.n; i++)
			if (g.decode.v[i].rows > seq && g.decode.v[i].context > most)
				most = g.decode.v[i].context;
		bytes += most < 0 ? 0 : bench_cache_bytes(&g.bench.stage, c, layers, most);
	}
	return bytes;
}

/* Choose the weights to generate, in the memory that caches and batches leave.  */
static void
plan_shape(uint64_t memory)
{
	struct synth *s = &g.synth;
	uint64_t others;

	if (synth_open(s, g.shape, g.type, g.o.layers, NULL) < 0 ||
	    synth_tensors(s, (g.parts & 1u << BENCH_HEAD) != 0, 0) < 0)
		end_failed();
	others = (device_is_gpu(g.bench.stage.device) ? 0 : cache_bytes(&s->config, s->nlayers)) + BATCH_BYTES;
	memory = memory > others ? memory - others : 0;
	if (synth_fit(s, g.huge ? memory / 2 : memory) < 0)
		end_failed();
	if (g.huge && s->present < s->config.n_routed_experts) {
		fail(FAIL_SYSTEM, "--huge-pages: memory does not hold the weights twice: choose "
		    "fewer layers (-l) or smaller weights (--weights)");
		end_failed();
	}
	if (s->present < s->config.n_routed_experts)
		warn("memory holds %d of the %d experts of a layer: batches that choose more read these again",
		    s->present, s->config.n_routed_experts);
}

static void
open_shape(void)
{
	struct synth *s = &g.synth;

	if (g.o.verbose)
		warn("making %.2f GB of weights", (double)synth_bytes(s) * 1e-9);
	if (synth_memory(s, &g.model, g.bench.stage.pool) < 0)
		end_failed();
	g.bench.stage.layers = s->layers;
	g.bench.present = s->present;
}

static void
open_checkpoint(uint64_t memory)
{
	uint64_t caches;

	if (model_open(&g.model, g.o.model) < 0 ||
	    layers_parse(&g.bench.stage.layers, g.o.layers, g.model.config.num_layers) < 0)
		die_failed();
	g.bench.present = g.model.config.n_routed_experts;
	caches = cache_bytes(&g.model.config, bench_layers(&g.bench));
	if (!device_is_gpu(g.bench.stage.device) && caches > memory)
		die(FAIL_SYSTEM,
		    "the KV caches need %.1f GiB of memory, %.1f GiB are available: use "
		    "--decode with fewer rows or less context",
		    (double)caches / 0x1p30, (double)memory / 0x1p30);
}

/* Copy the weights to the GPU and measure its limits.  */
static void
open_gpu(void)
{
	struct bench *b = &g.bench;
	struct device *d = b->stage.device;
	int measured = g.limit.read == 0;

	d->expected += cache_bytes(&g.model.config, bench_layers(b));
	if (device_start(d) < 0)
		end_failed();
	if (g.o.verbose)
		print_memory(d);
	bench_gpu_open(&g.gpu, d);
	if (measured && bench_gpu_limit(&g.gpu, b->stage.k->precision, &g.limit) < 0)
		end_failed();
	if (!bench_gpu_real(d))
		warn("this GPU is emulated: its figures say nothing about any card");
	b->gpu = &g.gpu;
	b->gpu_sweep = measured && bench_layers(b) < g.model.config.num_layers;
}

static void
open_all(void)
{
	struct bench *b = &g.bench;
	uint64_t memory = g.memory > 0 ? (uint64_t)g.memory : memory_free() / 10 * 9;
	size_t sweep = 0;

	b->parts = g.parts;
	b->seconds = g.seconds;
	b->stage.model = &g.model;
	b->stage.k = options_kernels(&g.o);
	if (!(b->stage.pool = pool_new(g.o.threads)) ||
	    !(b->stage.device = device_new(g.o.ordinal, b->stage.pool, b->stage.k)))
		die_failed();
	options_cache_type(&g.o, b->stage.device);
	if (g.limit.read == 0 && !device_is_gpu(b->stage.device))
		memory -= sweep = sweep_size(memory / 4);
	if (g.shape)
		plan_shape(memory);
	else
		open_checkpoint(memory);
	if (sweep > 0) {
		if (sweep_open(&g.sweep, sweep, g.huge) < 0)
			end_failed();
		limit_measure(&g.limit, &g.sweep, b->stage.k, b->stage.pool, 1, b->fastest && g.o.threads == 1 ? clock_thread : clock_now);
	}
	if (g.shape)
		open_shape();
	/* only some layers are measured; with all of them no cache would keep weights from step to
	 * step */
	if (bench_layers(b) < g.model.config.num_layers && g.sweep.p)
		b->sweep = &g.sweep;
	b->stage.device->huge_pages = g.huge;
	if (bench_open(b) < 0 || (!device_is_gpu(b->stage.device) && bench_touch(b) < 0) ||
	    (g.huge && device_start(b->stage.device) < 0))
		end_failed();
	if (device_is_gpu(b->stage.device))
		open_gpu();
}

/* --- the report --- */

static void
measure(int prefill, const struct sizes *s)
{
	for (int i = 0; i < s->n; i++) {
		struct measured *m = &g.measured[g.n];

		if (g.o.verbose)
			warn("%s, %d rows", prefill ? "prefill" : "decode", s->v[i].rows);
		if (bench_run(&g.bench, prefill, s->v[i].rows, s->v[i].context, m) < 0)
			end_failed();
		g.n++;
		report_measured(&g.record, &g.bench, &g.limit, m);
		fflush(stdout);
	}
}

static void
draw(void)
{
	FILE *to = fopen(g.svg, "we");
	const struct device *d = g.bench.stage.device;
	char title[128], about[256], on[192];

	if (!to)
		die(FAIL_SYSTEM, "cannot open '%s':", g.svg);
	snprintf(title, sizeof(title), "Roofline: %.80s%s%s", g.shape ? g.shape : g.o.model, g.shape ? ", " : "",
	    g.shape ? g.synth.type->name : "");
	if (device_is_gpu(d))
		snprintf(on, sizeof(on), "%s (%s)", d->about.name, d->lib->kind);
	else
		snprintf(on, sizeof(on), "%d threads, %s", g.o.threads, g.bench.stage.k->name);
	snprintf(about, sizeof(about), "%d of %d layers, %s, products of %s", bench_layers(&g.bench),
	    g.model.config.num_layers, on, precision_name(g.bench.stage.k->precision));
	bench_draw(to, &g.limit, g.measured, g.n, title, about);
	if (fclose(to) != 0)
		die(FAIL_SYSTEM, "cannot write '%s':", g.svg);
}

static void
print_host(void)
{
	struct host_rates r;
	struct buf line = {0};

	if (host_measure(&g.bench, &r) < 0 || host_line(&line, &g.bench, &g.limit, &r, g.shape ? g.shape : g.o.model) < 0)
		end_failed();
	if (io_write(1, line.p, line.n) < 0)
		die(FAIL_SYSTEM, "cannot write:");
	buf_free(&line);
}

static void
print_all(void)
{
	g.record = (struct record){.to = stdout, .json = g.json};
	report_machine(&g.record, &g.bench, &g.limit, g.shape ? g.synth.type->name : "");
	measure(0, &g.decode);
	measure(1, &g.prefill);
	if (fflush(stdout) != 0 || ferror(stdout))
		die(FAIL_SYSTEM, "cannot write:");
	if (g.svg)
		draw();
}

int
main(int argc, char **argv)
{
	g.o = (struct options){.help = help, .longs = longs, .own = own, .products = 1, .caches = 1,
	    .gpu = GPU_COMPUTES};
	options_parse(&g.o, argc, argv);
	check_options();
	if (g.write) {
		write_checkpoint();
		return 0;
	}
	if (g.host) {           /* one sequence's cache */
		g.decode = (struct sizes){{{1, 1024}}, 1};
		g.bench.fastest = 1;
	}
	open_all();
	if (g.host)
		print_host();
	else
		print_all();
	bench_close(&g.bench);
	bench_gpu_close(&g.gpu);
	device_close(g.bench.stage.device);
	model_close(&g.model);
	synth_close(&g.synth);
	sweep_close(&g.sweep);
	pool_free(g.bench.stage.pool);
	return 0;
}
