/* ds-quant: a checkpoint with matrices of another dtype.  */
#include <signal.h>
#include <string.h>
#include <stdio.h>

#include "base/fail.h"
#include "options.h"
#include "quant/quant.h"

static const char help[] =
"usage: ds-quant -f FORMAT -m MODEL [-t THREADS] [-v] [--experts] [--head]\n"
"                [--report] [OUT]\n"
"\n"
"Writes the folder OUT: a copy of MODEL with its linear layers in FORMAT.\n"
"FORMAT: q8 (8.5 bits a weight), q4 (4.5), fp8 (128x128 blocks), bf16, f16, f32.\n"
"gguf-bf16 and gguf-q8_0 (8.5 bits) write the GGUF file OUT, for llama.cpp.\n"
"\n"
"  -f FORMAT              q8, q4, fp8, bf16, f16, f32, gguf-bf16 or gguf-q8_0:\n"
"                         format of the matrices\n"
"  --experts              convert only routed and shared experts; copy the rest\n"
"  --head                 also convert the output matrix\n"
"  --report               print the error of each matrix; OUT is then optional\n"
"  -m, --model MODEL      checkpoint folder or GGUF file (or DS_MODEL)\n"
"  -t, --threads THREADS  compute threads (all cores)\n"
"  -v                     print a summary at the end\n"
"  -V, -h                 print the version; print this text\n";

enum { EXPERTS = 256, HEAD, REPORT };

static const struct option longs[] = {{"experts", no_argument, NULL, EXPERTS}, {"head", no_argument, NULL, HEAD},
    {"report", no_argument, NULL, REPORT}, {0}};

static volatile sig_atomic_t stopped;

static void
stop(int signal_number)
{
	stopped = signal_number;
}

static int
own_option(int c, const char *arg, void *to)
{
	struct quant *q = to;
	if (c == EXPERTS) {
		q->experts = 1;
	} else if (c == HEAD) {
		q->head = 1;
	} else if (c == REPORT) {
		q->report = stdout;
	} else {
		if (quant_format(q, arg) < 0)
			return fail(FAIL_USAGE, "-f '%s': give q8, q4, fp8, bf16, f16, f32, "
			    "gguf-bf16 or gguf-q8_0", arg);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	static struct model model;
	struct quant q = {.model = &model, .to = DTYPES_ALL, .stop = &stopped};
	struct options o = {.help = help, .letters = "f:", .longs = longs, .own = own_option, .to = &q, .operands = 1};
	int at = options_parse(&o, argc, argv);

	if (q.to == DTYPES_ALL)
		die(FAIL_USAGE, "no format: give -f q8, q4, fp8, bf16, f16, f32, gguf-bf16 or "
		    "gguf-q8_0");
	if (at + 1 < argc)
		die(FAIL_USAGE, "unexpected argument '%s': see %s -h", argv[at + 1], program);
	q.out = argv[at];
	if (!q.out && !q.report)
		die(FAIL_USAGE, "nothing to make: give OUT, or --report alone");
	if (q.out && !q.gguf && strlen(q.out) > 5 &&
	    strcmp(q.out + strlen(q.out) - 5, ".gguf") == 0)
		die(FAIL_USAGE, "'%s' would be a folder: a GGUF file needs -f gguf-bf16 or "
		    "gguf-q8_0", q.out);
	options_require_model(&o);
	q.k = options_kernels(&o);
	if (model_open(&model, o.model) < 0 || !(q.pool = pool_new(o.threads)))
		die_failed();
	signal(SIGINT, stop);
	signal(SIGTERM, stop);
	signal(SIGHUP, stop);
	signal(SIGPIPE, stop);          /* the report's reader exits: OUT is removed first */
	signal(SIGXFSZ, SIG_IGN);       /* a file that grows too large is a failed write */
	if (quant_run(&q) < 0) {
		if (stopped == SIGPIPE)
			end_by(SIGPIPE);
		die_failed();
	}
	output_close();
	if (o.verbose)
		warn("%llu matrices; %llu bytes became %llu", (unsigned long long)q.matrices, (unsigned long long)q.before,
		    (unsigned long long)q.after);
	pool_free(q.pool);
	model_close(&model);
	return 0;
}
