#include "options.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "weights/manifest.h"
#include "stage/failed.h"

int
options_int(const char *option, const char *text, long min, long max, long *out)
{
	char *end;

	errno = 0;
	*out = strtol(text, &end, 10);
	if (errno || end == text || *end || *out < min || *out > max)
		return fail(FAIL_USAGE, "%s '%s': give an integer from %ld to %ld", option, text, min, max);
	return 0;
}

int
options_double(const char *option, const char *text, double min, double max, double *out)
{
	char *end;

	*out = strtod(text, &end);
	if (end == text || *end || !(*out >= min && *out <= max))
		return fail(FAIL_USAGE, "%s '%s': give a number from %g to %g", option, text, min, max);
	return 0;
}

int
options_switch(const char *option, const char *text, int *out)
{
	*out = strcmp(text, "on") == 0;
	return *out || strcmp(text, "off") == 0 ? 0 : fail(FAIL_USAGE, "%s '%s': give on or off", option, text);
}

static int
default_threads(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return n > 0 ? n : 1;
}

/* What was asked for is printed: the end, if standard output took it. */
static void
answered(void)
{
	if (fflush(stdout) != 0)
		die(FAIL_SYSTEM, "standard output: cannot write:");
	exit(0);
}

static void
answer_help(const struct options *o)
{
	fputs(o->help, stdout);
	answered();
}

static void
answer_version(void)
{
	printf("%s (dspipe) %s\n", program, DS_VERSION);
	answered();
}

static void
add_endpoint(const char **to, int *n, int max, int letter, const char *arg)
{
	if (max == 0)
		die(FAIL_USAGE, "unknown option '-%c': see %s -h", letter, program);
	if (*n >= max)
		die(FAIL_USAGE, "-%c '%s': at most %d of them", letter, arg, max);
	to[(*n)++] = arg;
}

static void
take_device(struct options *o, const char *option, const char *arg)
{
	if (device_parse(arg, &o->ordinal) < 0)
		die(FAIL_USAGE, "%s %s", option, fail_text());
	o->device = 1;
}

/* One of the options that all programs share. */
static void
take_common(struct options *o, int c, const char *arg)
{
	long n;

	switch (c) {
	case 'm':
		o->model = arg;
		break;
	case 'l':
		o->layers = arg;
		break;
	case 'i':
		add_endpoint(o->in, &o->nin, o->max_in, c, arg);
		break;
	case 'o':
		add_endpoint(o->out, &o->nout, o->max_out, c, arg);
		break;
	case 't':
		if (options_int("-t", arg, 1, 1024, &n) < 0)
			die_failed();
		o->threads = (int)n;
		break;
	case 'd':
		take_device(o, "-d", arg);
		if (o->ordinal >= 0 && !o->gpu)
			die(FAIL_USAGE, "-d '%s': this program computes on the CPU only", arg);
		break;
	case 'r':
		if (options_int("-r", arg, 0, 1 << 20, &n) < 0)
			die_failed();
		o->ready = (int)n;
		break;
	case 'v':
		o->verbose++;
		break;
	}
}

#define LONGS_MAX 48
enum { LONG_TAP = 1000, LONG_PRECISION, LONG_MANIFEST, LONG_TIMEOUT, LONG_KEY, LONG_PEERS, LONG_UNSAFE };

/* Words for the letters that programs share; other words stand beside the letters of their programs. */
static const struct option words[] = {{"help", 0, NULL, 'h'}, {"version", 0, NULL, 'V'}, {"model", 1, NULL, 'm'},
    {"layers", 1, NULL, 'l'}, {"input", 1, NULL, 'i'}, {"output", 1, NULL, 'o'}, {"threads", 1, NULL, 't'},
    {"device", 1, NULL, 'd'}, {0}};

/* The long options: the program's own, the words of its letters, --tap, --precision, --manifest, and those of endpoints. */
static void
long_options(const struct options *o, const char *letters, struct option *to)
{
	static const struct option endpoints[] = {{"timeout", 1, NULL, LONG_TIMEOUT}, {"key", 1, NULL, LONG_KEY},
	    {"peers", 1, NULL, LONG_PEERS}, {"unsafe", 0, NULL, LONG_UNSAFE}};
	int n = 0;

	while (o->longs && o->longs[n].name && n < LONGS_MAX - 16) {
		to[n] = o->longs[n];
		n++;
	}
	for (const struct option *w = words; w->name; w++)
		if (strchr(letters, w->val))
			to[n++] = *w;
	if (o->taps)
		to[n++] = (struct option){"tap", required_argument, NULL, LONG_TAP};
	if (o->products)
		to[n++] = (struct option){"precision", required_argument, NULL, LONG_PRECISION};
	if (o->weights)
		to[n++] = (struct option){"manifest", required_argument, NULL, LONG_MANIFEST};
	for (int i = 0; i < 4 && o->max_in + o->max_out + o->links > 0; i++)
		to[n++] = endpoints[i];
	to[n] = (struct option){0};
}

static void
take_taps(struct options *o, const char *arg)
{
	if (strcmp(arg, "?") == 0) {
		tap_list(o->taps);
		answered();
	}
	if (tap_parse(&o->tapped, o->taps, arg) < 0)
		die_failed();
}

static const char *
from_env(const char *name)
{
	const char *s = getenv(name);

	return s && *s ? s : NULL;
}

static void
take_precision(struct options *o, const char *option, const char *arg)
{
	if ((o->precision = precision_parse(arg)) < 0)
		die(FAIL_USAGE, "%s '%s': give f32, bf16 or fp8", option, arg);
}

/* Who starts both ends of a link knows when the other one should have come. */
static void
take_wait(void)
{
	const char *text = from_env("DS_WAIT");

	if (text && options_double("DS_WAIT", text, 0.1, 1e6, &link_settings.wait) < 0)
		die_failed();
}

/* As many -v: the programs of a plan are started by an agent, which has no command line of its own to add to. */
static void
take_verbose(struct options *o)
{
	const char *text = from_env("DS_VERBOSE");
	long n = 0;

	if (text && options_int("DS_VERBOSE", text, 0, 9, &n) < 0)
		die_failed();
	o->verbose = (int)n;
}

/* What holds for endpoints on a network. */
static void
take_link(int c, const char *arg)
{
	struct link_settings *s = &link_settings;

	if (c == LONG_UNSAFE)
		s->unsafe = 1;
	else if (c == LONG_KEY)
		s->key = arg;
	else if (c == LONG_PEERS)
		s->peers = arg;
	else if (options_double("--timeout", arg, 0.1, 3600, &s->timeout) < 0)
		die_failed();
}

/* Whether the text, up to a '=', is the beginning of an option's name. */
static int
begins_some(const struct option *longs, const char *text)
{
	size_t n = strcspn(text, "=");

	while (longs->name && strncmp(longs->name, text, n) != 0)
		longs++;
	return longs->name != NULL;
}

static const char **streams;    /* until the process ends */

static void
free_streams(void)
{
	free(streams);
}

/* Inputs of -i and operands, in the order in which they are read. */
static void
list_streams(struct options *o, int n, char **operands)
{
	streams = mem_new((size_t)(o->nin + n + 1), sizeof(*streams));
	if (!streams || atexit(free_streams) != 0)
		die_failed();
	o->from = streams;
	for (int i = 0; i < o->nin; i++)
		o->from[o->nfrom++] = o->in[i];
	for (int i = 0; i < n; i++)
		o->from[o->nfrom++] = operands[i];
	if (o->nfrom == 0)
		o->from[o->nfrom++] = "-";
}

int
options_parse(struct options *o, int argc, char **argv)
{
	struct option longs[LONGS_MAX];
	const char *own = o->letters ? o->letters : "";
	const char *slash = strrchr(argv[0] ? argv[0] : "ds", '/');
	char letters[128] = ":hVv";
	int c;

	program = slash ? slash + 1 : argv[0];
	mem_retain_freed();
	file_guard();
	signal(SIGPIPE, SIG_DFL);       /* a reader that went away ends us quietly, whatever our parent ignored */
	for (const char *s = "mliotdr"; *s; s++) {
		size_t n = strlen(letters);

		if (!strchr(own, *s) && (*s != 'i' || o->max_in > 0) && (*s != 'o' || o->max_out > 0))
			snprintf(letters + n, sizeof(letters) - n, "%c:", *s);
	}
	strncat(letters, own, sizeof(letters) - strlen(letters) - 1);
	o->model = from_env("DS_MODEL");
	link_settings.key = from_env("DS_KEY");
	link_settings.peers = from_env("DS_PEERS");
	take_wait();
	take_verbose(o);
	o->ready = o->precision = o->ordinal = -1;
	o->threads = default_threads();
	opterr = 0;
	long_options(o, letters, longs);
	while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (c == '?' && optopt && optopt < 256 && (optopt == ':' || !strchr(letters, optopt)))
			die(FAIL_USAGE, "unknown option '-%c': see %s -h", optopt, program);
		else if (c == '?' && optopt)
			die(FAIL_USAGE, "option '%s' takes no value: see %s -h", argv[optind - 1], program);
		else if (c == '?' && begins_some(longs, argv[optind - 1] + 2))
			die(FAIL_USAGE, "option '%s' is ambiguous: see %s -h", argv[optind - 1], program);
		else if (c == '?')
			die(FAIL_USAGE, "unknown option '%s': see %s -h", argv[optind - 1], program);
		else if (c == ':')
			die(FAIL_USAGE, "option '%s' needs a value: see %s -h", argv[optind - 1], program);
		else if (c == 'h')
			answer_help(o);
		else if (c == 'V')
			answer_version();
		else if (c == LONG_TAP)
			take_taps(o, optarg);
		else if (c == LONG_PRECISION)
			take_precision(o, "--precision", optarg);
		else if (c == LONG_MANIFEST)
			o->manifest = optarg;
		else if (c > LONG_MANIFEST)
			take_link(c, optarg);
		else if (c < 256 && !strchr(own, c))
			take_common(o, c, optarg);
		else if (o->own(c, optarg, o->to) < 0)
			die_failed();
	}
	if (o->precision < 0 && o->products && from_env("DS_PRECISION"))
		take_precision(o, "DS_PRECISION", from_env("DS_PRECISION"));
	if (!o->device && o->gpu == 1 && from_env("DS_DEVICE"))
		take_device(o, "DS_DEVICE", from_env("DS_DEVICE"));
	if (optind < argc && !o->operands && !o->streams)
		die(FAIL_USAGE, "unexpected argument '%s': see %s -h", argv[optind], program);
	if (o->nin < o->min_in)
		die(FAIL_USAGE, "give at least %d -i: see %s -h", o->min_in, program);
	if (o->streams)
		list_streams(o, argc - optind, argv + optind);
	return optind;
}

const struct kernels *
options_kernels(const struct options *o)
{
	const struct kernels *k = kernels_choose();

	if (!k)
		die(FAIL_USAGE, "DS_KERNELS='%s': give ref, avx2, avx512 or amx", getenv("DS_KERNELS"));
	return kernels_precision(k, o->precision < 0 ? PRECISION_F32 : (enum precision)o->precision);
}

void
filter_links(struct filter *f)
{
	struct options *o = &f->o;

	if (o->nin == 0 && o->max_in > 0 && !o->streams)
		o->in[o->nin++] = "-";
	if (o->nout == 0 && o->max_out > 0)
		o->out[o->nout++] = "-";
	if (o->streams) {
		o->nin = 1;     /* one link reads them all */
		if (link_open_all(&f->in[0], o->from, o->nfrom) < 0)
			die_failed();
	}
	for (int i = 0; i < o->nin && !o->streams; i++)
		if (link_open(&f->in[i], o->in[i], LINK_IN) < 0)
			die_failed();
	for (int i = 0; i < o->nout; i++)
		if (link_open(&f->out[i], o->out[i], LINK_OUT) < 0)
			die_failed();
}

void
filter_fail(struct filter *f)
{
	int status;

	(void)stage_fail(f->out, f->o.nout, program);
	status = fail_status();
	for (int i = 0; i < f->o.nin; i++)
		(void)link_close(&f->in[i]);    /* first: in a loop of links those behind us may wait for us */
	for (int i = 0; i < f->o.nout; i++)
		(void)link_close(&f->out[i]);   /* the last word gets through */
	exit(status);
}

void
filter_model(struct filter *f)
{
	if (!f->o.model)
		die(FAIL_USAGE, "no model: give -m MODEL or set DS_MODEL");
	f->stage.model = &f->model;
	f->stage.taps = f->o.tapped;
	f->stage.k = options_kernels(&f->o);
	if (model_open(&f->model, f->o.model) < 0 ||
	    layers_parse(&f->stage.layers, f->o.layers, f->model.config.num_layers) < 0 ||
	    !(f->stage.pool = pool_new(f->o.threads)) ||
	    !(f->stage.device = device_new(f->o.ordinal, f->stage.pool, f->stage.k)))
		filter_fail(f);
	if (device_is_gpu(f->stage.device))
		f->stage.gpu = f->stage.device;
}

void
say_budget(const struct device *d)
{
	uint64_t used = d->weights + d->expected, left = d->about.free - used;
	char a[32], b[32];

	warn("%s: %s, compute capability %d.%d, %s of %s free", d->name, d->about.name, d->about.major, d->about.minor,
	    mem_text((double)d->about.free, a), mem_text((double)d->about.memory, b));
	warn("%s: weights %s", d->name, mem_text((double)d->weights, a));
	warn("%s: working memory %s at first", d->name, mem_text((double)d->expected, a));
	if (d->position > 0)
		warn("%s: cache %s at most, %s a position: %llu positions", d->name, mem_text((double)left, a),
		    mem_text((double)d->position, b), (unsigned long long)(left / d->position));
}

/* The tensors that the stage has mapped are those of the manifest, which is read once. */
static void
check_weights(struct filter *f)
{
	struct manifest m;
	long n = 0, bad;

	if (!f->o.manifest)
		return;
	bad = manifest_open(&m, f->o.manifest);
	if (bad == 0)
		bad = manifest_compare(&m, &f->model.weights, manifest_mapped, NULL, f->stage.pool, NULL, &n);
	if (bad > 1)
		fail_keep(fail_status(), "%s (and %ld of %ld more)", fail_text(), bad - 1, n);
	if (bad != 0) {
		fail_in("'%s'", f->model.weights.dir);
		filter_fail(f);
	}
	if (f->o.verbose)
		warn("%ld tensors are those of the manifest", n);
	manifest_close(&m);
	f->o.manifest = NULL;
}

void
filter_device(struct filter *f)
{
	struct device *d = f->stage.device;

	check_weights(f);
	if (device_start(d) < 0)
		filter_fail(f);
	if (!device_is_gpu(d))
		return;
	link_settings.gpu = d;
	if (f->o.verbose)
		say_budget(d);
}

void
filter_ready(struct filter *f)
{
	check_weights(f);
	if (f->o.ready < 0)
		return;
	if (write(f->o.ready, "\n", 1) != 1)
		die(FAIL_SYSTEM, "cannot write to the descriptor of -r %d:", f->o.ready);
	close(f->o.ready);
}

int
filter_close(struct filter *f, int status)
{
	unsigned long long in = 0;

	for (int i = 0; i < f->o.nin; i++)
		in += f->in[i].frames;
	if (f->o.verbose && status == 0)
		warn("%llu frames in, %llu out", in, (unsigned long long)f->out[0].frames);
	for (int i = 0; i < f->o.nin; i++) {
		if (status == 0 && link_unread(&f->in[i])) {
			warn("%s: another stream follows the end frame, and is left unread: "
			    "give a file with one stream", f->in[i].name);
			status = FAIL_SYSTEM;
		}
		(void)link_close(&f->in[i]);
	}
	for (int i = 0; i < f->o.nout; i++)
		if (link_close(&f->out[i]) < 0 && status == 0) {
			warn("%s", fail_text());
			status = fail_status();
		}
	pool_free(f->stage.pool);
	return status == 0 ? failed_status() : status;
}

int
filter_run(struct filter *f, stage_fn *fn, void *arg)
{
	if (stage_run(&f->in[0], f->out, f->o.nout, fn, arg, f->stage.gpu) == 0)
		return filter_close(f, 0);
	fail_print();
	return filter_close(f, fail_status());
}
