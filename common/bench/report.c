#include "bench/report.h"

#include <math.h>
#include <string.h>

static void
report_gpu(struct record *r, const struct bench_gpu *g)
{
	static const char gpu[] = "gpu     kind name                       processors memory_gb product";
	const struct gpu_about *a = &g->d->about;

	record_begin(r, gpu);
	record_text(r, g->d->lib->kind, strlen(g->d->lib->kind));
	record_text(r, a->name, strlen(a->name));
	record_int(r, a->processors);
	record_number(r, (double)a->memory * 1e-9, 4);
	record_text(r, g->product, strlen(g->product));
	record_end(r);
}

void
report_machine(struct record *r, const struct bench *b, const struct limit *l, const char *weights)
{
	static const char limit[] = "limit threads  kernels precision    gb_s   gflop_s";
	static const char model[] = "model measured layers  present experts  weights  hidden";
	const struct config *c = &b->stage.model->config;

	const char *kernels = b->gpu ? b->stage.device->lib->kind : b->stage.k->name;

	if (b->gpu)
		report_gpu(r, b->gpu);
	record_begin(r, limit);
	record_int(r, pool_threads(b->stage.pool));
	record_text(r, kernels, strlen(kernels));
	record_text(r, precision_name(b->stage.k->precision), strlen(precision_name(b->stage.k->precision)));
	record_number(r, l->read * 1e-9, 4);
	record_number(r, l->fma * 1e-9, 4);
	record_end(r);
	record_begin(r, model);
	record_int(r, bench_layers(b));
	record_int(r, c->num_layers);
	record_int(r, b->present);
	record_int(r, c->n_routed_experts);
	record_text(r, weights, strlen(weights));
	record_int(r, c->hidden_size);
	record_end(r);
}

static void
report_part(struct record *r, const struct bench *b, const struct limit *l, const struct measured *m, const char *name,
    const struct stage_cost *c, int steps, double experts, double rate)
{
	static const char columns[] =
	    "stage work    rows context part   steps  experts       ms         mb    gb_s of_limit  gflop_s of_peak tokens_s"
	    "   device";
	const char *work = m->prefill ? "prefill" : "decode", *device = b->gpu ? b->stage.device->lib->kind : "cpu";

	record_begin(r, columns);
	record_text(r, work, strlen(work));
	record_int(r, m->rows);
	record_int(r, m->context);
	record_text(r, name, strlen(name));
	record_int(r, steps);
	record_number(r, experts, 4);
	record_number(r, c->seconds * 1e3, 4);
	record_number(r, c->bytes * 1e-6, 4);
	record_number(r, c->bytes / c->seconds * 1e-9, 4);
	record_number(r, c->bytes / c->seconds / l->read, 2);
	record_number(r, c->operations / c->seconds * 1e-9, 4);
	record_number(r, c->operations / c->seconds / l->fma, 2);
	record_number(r, rate, 4);
	record_text(r, device, strlen(device));
	record_end(r);
}

void
report_measured(struct record *r, const struct bench *b, const struct limit *l, const struct measured *m)
{
	for (int p = 0; p < BENCH_STAGES; p++)
		if (b->parts & 1u << p)
			report_part(r, b, l, m, bench_stage_name(p), &m->part[p], m->steps, m->experts, NAN);
	report_part(r, b, l, m, "all", &m->all, m->steps, m->experts, m->rows / m->all.seconds);
	if (m->block_steps > 0)
		report_part(r, b, l, m, "block", &m->block, m->block_steps, NAN, m->rows / m->block.seconds);
}
