#include "bench/report.h"

#include <math.h>
#include <string.h>

void
report_machine(struct record *r, const struct bench *b, const struct limit *l, const char *weights)
{
	static const char limit[] = "limit threads kernels precision    gb_s   gflop_s";
	static const char model[] = "model measured layers  present experts  weights  hidden";
	const struct config *c = &b->stage.model->config;

	record_begin(r, limit);
	record_int(r, pool_threads(b->stage.pool));
	record_text(r, b->stage.k->name, strlen(b->stage.k->name));
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
report_part(struct record *r, const struct limit *l, const struct measured *m, const char *name, const struct cost *c, double rate)
{
	static const char columns[] =
	    "stage work    rows context part   steps  experts       ms         mb    gb_s of_limit  gflop_s of_peak tokens_s";
	const char *work = m->prefill ? "prefill" : "decode";

	record_begin(r, columns);
	record_text(r, work, strlen(work));
	record_int(r, m->rows);
	record_int(r, m->context);
	record_text(r, name, strlen(name));
	record_int(r, m->steps);
	record_number(r, m->experts, 4);
	record_number(r, c->seconds * 1e3, 4);
	record_number(r, c->bytes * 1e-6, 4);
	record_number(r, c->bytes / c->seconds * 1e-9, 4);
	record_number(r, c->bytes / c->seconds / l->read, 2);
	record_number(r, c->operations / c->seconds * 1e-9, 4);
	record_number(r, c->operations / c->seconds / l->fma, 2);
	record_number(r, rate, 4);
	record_end(r);
}

void
report_measured(struct record *r, const struct bench *b, const struct limit *l, const struct measured *m)
{
	for (int p = 0; p < PARTS; p++)
		if (b->parts & 1u << p)
			report_part(r, l, m, part_names[p], &m->part[p], NAN);
	report_part(r, l, m, "all", &m->all, m->rows / m->all.seconds);
}
