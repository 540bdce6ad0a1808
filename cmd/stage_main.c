#include "stage_main.h"

#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"
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
cache_option(int c, const char *arg, void *to)
{
	struct stage_options *o = to;

	if (c == CACHE_SIZE)
		return options_size("--cache-size", arg, &o->cache);
	o->cache_dir = arg;
	return 0;
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
	if (bad != 0) {
		fail_in("'%s'", f->model.weights.dir);
		filter_fail(f);
	}
	if (f->o.verbose)
		warn("%ld tensors are those of the manifest", n);
	manifest_close(&m);
}

/* On a GPU: copy the weights there.  */
static void
start_device(struct filter *f)
{
	struct device *d = f->stage.device;

	if (device_start(d) < 0)
		filter_fail(f);
	if (!device_is_gpu(d))
		return;
	link_settings.gpu = d;
	if (f->o.verbose)
		print_memory(d);
}

static int
run(struct filter *f, const struct stage_program *p, void *state)
{
	if (p->frame)
		return filter_run(f, p->frame, state);
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
	f.o.gpu = p->gpu;
	f.o.min_in = p->min_in;
	f.o.max_in = p->max_in;
	f.o.max_out = LINKS_MAX;
	given = given ? given : &none;
	options_parse(&f.o, argc, argv);
	given->verbose = f.o.verbose;
	if (given->ring && f.o.nin < p->ring_in)
		die(FAIL_USAGE, "--ring: a ring has a loop: give it as the last of two -i");
	filter_links(&f);
	if (p->model)
		open_model(&f);
	if (!(f.stage.device = device_new(f.o.ordinal, f.stage.pool, f.stage.k)) || !(state = mem_new(1, p->size)) ||
	    (p->open && p->open(state, &f.stage, given) < 0))
		filter_fail(&f);
	check_weights(&f);
	start_device(&f);
	filter_ready(&f);
	status = run(&f, p, state);
	if (f.o.verbose && status == 0 && p->report)
		p->report(state);
	if (p->close)
		p->close(state);
	free(state);
	device_close(f.stage.device);
	return status;
}
