#include "stage_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/table.h"
#include "learn/control.h"
#include "learn/save.h"
#include "weights/manifest.h"

void
print_memory(const struct device *d)
{
	uint64_t used = d->weights + d->expected, left = d->about.free - used;
	char a[32], b[32];

	warn("%s: %s, compute capability %d.%d, %s of %s free", d->name, d->about.name,
	    d->about.major, d->about.minor,
	    mem_text((double)d->about.free, a), mem_text((double)d->about.memory, b));
	warn("%s: weights %s", d->name, mem_text((double)d->weights, a));
	warn("%s: working memory %s at first", d->name, mem_text((double)d->expected, a));
	if (d->position > 0)
		warn("%s: cache %s at most, %s a position: %llu positions", d->name,
		    mem_text((double)left, a),
		    mem_text((double)d->position, b), (unsigned long long)(left / d->position));
}

int
stage_option(int c, const char *arg, void *to)
{
	struct stage_options *o = to;

	switch (c) {
	case LEARN:
		return o->learn = 1;
	case STATE:
		o->state = arg;
		return 0;
	case CACHE_SIZE:
		return options_size("--cache-size", arg, &o->cache);
	default:
		o->cache_dir = arg;
		return 0;
	}
}

/* Model, layers and kernels of the precision.  */
static void
open_model(struct filter *f)
{
	struct stage *s = &f->stage;

	options_require_model(&f->o);
	s->model = &f->model;
	s->taps = f->o.tapped;
	s->k = options_kernels(&f->o);
	if (model_open(&f->model, f->o.model) < 0 ||
	    layers_parse(&s->layers, f->o.layers, f->model.config.num_layers) < 0 ||
	    !(s->pool = pool_new(f->o.threads)))
		filter_fail(f);
}

/* Compare the tensors that the stage has mapped with the manifest.  */
static void
check_weights(struct filter *f)
{
	struct manifest m;
	long n = 0, bad;

	if (!f->o.manifest)
		return;
	bad = manifest_open(&m, f->o.manifest);
	if (bad == 0)
		bad = manifest_compare(&m, &f->model.weights, manifest_mapped, NULL, f->stage.pool,
		    NULL, &n);
	if (bad > 1)
		fail_keep(fail_status(), "%s (and %ld of %ld more)", fail_text(), bad - 1, n);
	if (bad > 0)
		fail_keep(fail_status(), "%s: copy the model again", fail_text());
	if (bad != 0) {
		fail_in("'%s'", f->model.weights.dir);
		filter_fail(f);
	}
	if (f->o.verbose)
		warn("%ld tensors are those of the manifest", n);
	manifest_close(&m);
}

/* What --learn excludes.  */
static void
check_learn(const struct options *o, const struct stage_options *given)
{
	const char *what = o->ordinal >= 0 ? "a GPU: it computes on the CPU" :
	    o->huge_pages ? "--huge-pages: its weights change in the mapped files' memory" :
	    o->precision > PRECISION_F32 ? "--precision other than f32: its gradients are f32" :
	    o->cache_type > F32 ? "--cache-type bf16: its gradients read caches of f32" :
	    given->cache ? "--cache-size: sequences that learn are not shared" :
	    given->cache_dir ? "--cache-dir: caches of other weights must not be loaded" :
	    given->ring ? "--ring: a backward pass has a loop of its own" : NULL;

	if (!given->learn && given->state)
		die(FAIL_USAGE, "--state '%s': give --learn, too", given->state);
	if (given->learn && what)
		die(FAIL_USAGE, "--learn excludes %s", what);
}

/* What this process saves is named by what distinguishes it from others: "expert-l3-e0-7".  */
static void
learn_name(char *who, size_t size, const struct options *o, const struct stage_options *given)
{
	const char *parts[] = {o->layers, given->experts};
	uint64_t hash = 0;
	int n = snprintf(who, size, "%s", strncmp(program, "ds-", 3) == 0 ? program + 3 : program);

	for (int i = 0; i < 2; i++) {
		const char *s = parts[i] ? parts[i] : "";

		hash = hash_bytes(s, strlen(s), hash);
		if (parts[i] && n >= 0 && (size_t)n < size)
			n += snprintf(who + n, size - (size_t)n, "-%c%s", "le"[i], s);
	}
	if (n < 0 || (size_t)n >= size)         /* a long list of layers or experts */
		snprintf(who + size - 32, 32, "-%016llx", (unsigned long long)hash);
}

/* Before the stage opens its weights, which become private to the process.  */
static void
open_learn(struct filter *f, const struct stage_options *given)
{
	char who[128];

	if (!given->learn)
		return;
	learn_name(who, sizeof(who), &f->o, given);
	if (learn_open(&f->learn, &f->model, f->stage.k, f->stage.pool, who) < 0)
		filter_fail(f);
	f->stage.learn = &f->learn;
	f->stage.keep = &f->keep;
}

/* Copy the weights to a GPU, or to huge pages.  */
static void
start_device(struct filter *f)
{
	struct device *d = f->stage.device;
	char text[32];

	if (device_start(d) < 0)
		filter_fail(f);
	if (d->huge_pages) {
		checkpoint_drop(&f->model.weights);
		if (f->o.verbose)
			warn("%s of weights are in memory of huge pages",
			    mem_text((double)d->weights, text));
	}
	if (!device_is_gpu(d))
		return;
	link_settings.gpu = d;
	if (f->o.verbose)
		print_memory(d);
}

/* A stage of a process that learns. */
struct learning {
	struct learn *learn;
	stage_fn *frame;
	void *state;
};

static int
learning_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	const struct learning *l = arg;

	return learn_control(l->learn, f) < 0 ? -1 : l->frame(l->state, f, out, nout);
}

static int
run(struct filter *f, const struct stage_program *p, void *state)
{
	struct learning l = {&f->learn, p->frame, state};

	if (p->frame)
		return f->stage.learn ? filter_run(f, learning_frame, &l) :
		    filter_run(f, p->frame, state);
	if (p->run(state, &f->stage) == 0)
		return filter_close(f, 0);
	fail_print();
	return filter_close(f, fail_status());
}

int
stage_main(int stage, const struct options *o, struct stage_options *given, int argc, char **argv)
{
	static struct filter f;
	const struct stage_program *p = &stage_programs[stage];
	struct stage_options none = {0};
	void *state;
	int status;

	f.o = *o;
	f.o.taps = p->taps;
	f.o.products = f.o.weights = p->weights;
	f.o.caches = p->caches;
	f.o.gpu = p->gpu;
	f.o.min_in = p->min_in;
	f.o.max_in = p->max_in;
	f.o.max_out = LINKS_MAX;
	given = given ? given : &none;
	options_parse(&f.o, argc, argv);
	given->verbose = f.o.verbose;
	if (given->ring && f.o.nin < p->ring_in)
		die(FAIL_USAGE, "--ring: a ring has a loop: give it as the last of two -i");
	check_learn(&f.o, given);
	if (f.o.huge_pages && f.o.ordinal >= 0)
		die(FAIL_USAGE, "--huge-pages: the weights are in the GPU's memory: leave it out");
	filter_links(&f);
	if (p->model)
		open_model(&f);
	open_learn(&f, given);
	if (!(f.stage.device = device_new(f.o.ordinal, f.stage.pool, f.stage.k)))
		filter_fail(&f);
	f.stage.device->huge_pages = f.o.huge_pages;
	options_cache_type(&f.o, f.stage.device);
	if (!(state = mem_new(1, p->size)) ||
	    (p->open && p->open(state, &f.stage, given) < 0))
		filter_fail(&f);
	check_weights(&f);
	if (given->state && learn_load(&f.learn, given->state) < 0)
		filter_fail(&f);
	start_device(&f);
	filter_ready(&f);
	status = run(&f, p, state);
	if (f.o.verbose && status == 0 && p->report)
		p->report(state);
	if (f.o.verbose && status == 0 && given->learn)
		keep_report(&f.keep);
	if (p->close)
		p->close(state);
	free(state);
	keep_free(&f.keep);
	learn_close(&f.learn);
	device_close(f.stage.device);
	return status;
}
