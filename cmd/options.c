#include "options.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"
#include "base/mem.h"
#include "stage/stages.h"

static int
default_threads(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return n > 0 ? n : 1;
}

void
output_close(void)
{
	if (fflush(stdout) != 0 || ferror(stdout) || fclose(stdout) != 0)
		die(FAIL_SYSTEM, "standard output: cannot write:");
}

void
end_by(int sig)
{
	sigset_t set;

	signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(sig);
	_exit(FAIL_SYSTEM);
}

void
output_print(struct buf *text)
{
	if (io_write(1, text->p, text->n) < 0 || close(1) < 0)
		die(FAIL_SYSTEM, "standard output: cannot write:");
	buf_free(text);
}

/* End after -h, -V or a list was printed; check that it was.  */
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
set_device(struct options *o, const char *option, const char *arg)
{
	if (device_parse(arg, &o->ordinal) < 0)
		die(FAIL_USAGE, "%s %s", option, fail_text());
	o->device = 1;
}

/* Set one of the options that all programs share.  */
static void
set_common(struct options *o, int c, const char *arg)
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
		set_device(o, "-d", arg);
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

#define LONGS_MAX 64
enum { LONG_TAP = 1000, LONG_PRECISION, LONG_CACHE_TYPE, LONG_HUGE, LONG_MANIFEST, LONG_TIMEOUT,
    LONG_KEY, LONG_PEERS, LONG_UNSAFE };

/* Long options of the letters that programs share; others stand beside the letters of their
 * programs.  */
static const struct option words[] = {{"help", 0, NULL, 'h'}, {"version", 0, NULL, 'V'},
    {"model", 1, NULL, 'm'},
    {"layers", 1, NULL, 'l'}, {"input", 1, NULL, 'i'}, {"output", 1, NULL, 'o'},
    {"threads", 1, NULL, 't'},
    {"device", 1, NULL, 'd'}, {0}};

/* All long options: the program's own, words for its letters, --tap, --precision, --cache-type,
 * --manifest, --huge-pages, options of endpoints.  */
static void
long_options(const struct options *o, const char *letters, struct option *to)
{
	static const struct option endpoints[] = {{"timeout", 1, NULL, LONG_TIMEOUT},
	    {"key", 1, NULL, LONG_KEY},
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
	if (o->caches)
		to[n++] = (struct option){"cache-type", required_argument, NULL, LONG_CACHE_TYPE};
	if (o->weights)
		to[n++] = (struct option){"manifest", required_argument, NULL, LONG_MANIFEST};
	if (o->weights && o->gpu)
		to[n++] = (struct option){"huge-pages", no_argument, NULL, LONG_HUGE};
	for (int i = 0; i < 4 && o->max_in + o->max_out + o->links > 0; i++)
		to[n++] = endpoints[i];
	to[n] = (struct option){0};
}

static void
set_taps(struct options *o, const char *arg)
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
set_precision(struct options *o, const char *option, const char *arg)
{
	if ((o->precision = precision_parse(arg)) < 0)
		die(FAIL_USAGE, "%s '%s': give " PRECISION_WORDS, option, arg);
}

static void
set_cache_type(struct options *o, const char *option, const char *arg)
{
	if ((o->cache_type = cache_type_parse(arg)) < 0)
		die(FAIL_USAGE, "%s '%s': give f32 or bf16", option, arg);
}

/* DS_WAIT: a program that starts both ends of a link limits the time to connect.  */
static void
set_wait(void)
{
	const char *text = from_env("DS_WAIT");

	if (text && options_double("DS_WAIT", text, 0.1, 1e6, &link_settings.wait) < 0)
		die_failed();
}

/* DS_VERBOSE: so many -v.  An agent starts the programs of a plan, whose command lines are
 * fixed.  */
static void
set_verbose(struct options *o)
{
	const char *text = from_env("DS_VERBOSE");
	long n = 0;

	if (text && options_int("DS_VERBOSE", text, 0, 9, &n) < 0)
		die_failed();
	o->verbose = (int)n;
}

/* Options of network endpoints.  */
static void
set_link(int c, const char *arg)
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

/* 1 if the text, up to a '=', begins the name of an option.  */
static int
begins_some(const struct option *longs, const char *text)
{
	size_t n = strcspn(text, "=");

	while (longs->name && strncmp(longs->name, text, n) != 0)
		longs++;
	return longs->name != NULL;
}

static const char **streams;    /* freed at exit */

static void
free_streams(void)
{
	free(streams);
}

/* Inputs of -i, then operands, in reading order.  */
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

/* The letters of all options, for getopt_long. */
static void
list_letters(const struct options *o, const char *own, char *to, size_t size)
{
	snprintf(to, size, ":hVv");
	for (const char *s = "mliotdr"; *s; s++) {
		size_t n = strlen(to);

		if (!strchr(own, *s) && (*s != 'i' || o->max_in > 0) &&
		    (*s != 'o' || o->max_out > 0))
			snprintf(to + n, size - n, "%c:", *s);
	}
	strncat(to, own, size - strlen(to) - 1);
}

/* The last option was wrong, and getopt_long returned c.  Does not return. */
static void
refuse(int c, const char *letters, const struct option *longs, const char *arg)
{
	if (c == ':')
		die(FAIL_USAGE, "option '%s' needs a value: see %s -h", arg, program);
	if (optopt && optopt < 256 && (optopt == ':' || !strchr(letters, optopt)))
		die(FAIL_USAGE, "unknown option '-%c': see %s -h", optopt, program);
	if (optopt)
		die(FAIL_USAGE, "option '%s' takes no value: see %s -h", arg, program);
	if (begins_some(longs, arg + 2))
		die(FAIL_USAGE, "option '%s' is ambiguous: see %s -h", arg, program);
	die(FAIL_USAGE, "unknown option '%s': see %s -h", arg, program);
}

/* What was not given, from the environment. */
static void
set_defaults(struct options *o)
{
	if (o->precision < 0 && o->products && from_env("DS_PRECISION"))
		set_precision(o, "DS_PRECISION", from_env("DS_PRECISION"));
	if (o->cache_type < 0 && o->caches && from_env("DS_CACHE_TYPE"))
		set_cache_type(o, "DS_CACHE_TYPE", from_env("DS_CACHE_TYPE"));
	if (!o->device && o->gpu == GPU_COMPUTES && from_env("DS_DEVICE"))
		set_device(o, "DS_DEVICE", from_env("DS_DEVICE"));
}

int
options_parse(struct options *o, int argc, char **argv)
{
	struct option longs[LONGS_MAX];
	const char *own = o->letters ? o->letters : "";
	const char *slash = strrchr(argv[0] ? argv[0] : "ds", '/');
	char letters[128];
	int c;

	program = slash ? slash + 1 : argv[0];
	mem_retain_freed();
	file_guard();
	signal(SIGPIPE, SIG_DFL);       /* a closed pipe ends the program quietly, also if the
					 * parent ignored the signal */
	list_letters(o, own, letters, sizeof(letters));
	o->model = from_env("DS_MODEL");
	link_settings.key = from_env("DS_KEY");
	link_settings.peers = from_env("DS_PEERS");
	set_wait();
	set_verbose(o);
	o->ready = o->precision = o->cache_type = o->ordinal = -1;
	o->threads = default_threads();
	opterr = 0;
	long_options(o, letters, longs);
	while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (c == '?' || c == ':')
			refuse(c, letters, longs, argv[optind - 1]);
		else if (c == 'h')
			answer_help(o);
		else if (c == 'V')
			answer_version();
		else if (c == LONG_TAP)
			set_taps(o, optarg);
		else if (c == LONG_PRECISION)
			set_precision(o, "--precision", optarg);
		else if (c == LONG_CACHE_TYPE)
			set_cache_type(o, "--cache-type", optarg);
		else if (c == LONG_MANIFEST)
			o->manifest = optarg;
		else if (c == LONG_HUGE)
			o->huge_pages = 1;
		else if (c > LONG_MANIFEST)
			set_link(c, optarg);
		else if (c < 256 && !strchr(own, c))
			set_common(o, c, optarg);
		else if (o->own(c, optarg, o->to) < 0)
			die_failed();
	}
	set_defaults(o);
	if (optind < argc && !o->operands && !o->streams)
		die(FAIL_USAGE, "unexpected argument '%s': see %s -h", argv[optind], program);
	if (o->nin < o->min_in)
		die(FAIL_USAGE, "give at least %d -i: see %s -h", o->min_in, program);
	if (o->streams)
		list_streams(o, argc - optind, argv + optind);
	return optind;
}

void
options_require_model(const struct options *o)
{
	if (!o->model)
		die(FAIL_USAGE, "no model: give -m MODEL or set DS_MODEL");
}

const struct kernels *
options_kernels(const struct options *o)
{
	const struct kernels *k = kernels_choose();
	struct buf names = {0};

	for (int i = 0; !k && kernels_set(i); i++)
		buf_addf(&names, "%s%s", !i ? "" : kernels_set(i + 1) ? ", " : " or ",
		    kernels_set(i));
	if (!k)
		die(FAIL_USAGE, "DS_KERNELS='%s': give %.*s", getenv("DS_KERNELS"), (int)names.n,
		    (const char *)names.p);
	return kernels_precision(k, o->precision < 0 ? PRECISION_F32 :
	    (enum precision)o->precision);
}

void
options_cache_type(const struct options *o, struct device *d)
{
	if (o->cache_type < 0)
		return;
	if (device_is_gpu(d) && (enum dtype)o->cache_type != d->cache_type)
		die(FAIL_USAGE, "--cache-type %s: in --precision %s, KV caches of a GPU are %s",
		    cache_type_name((enum dtype)o->cache_type),
		    precision_name(d->k->precision), cache_type_name(d->cache_type));
	d->cache_type = (enum dtype)o->cache_type;
}
