#include "bench/host.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "attention/attention.h"
#include "base/fail.h"
#include "base/memory.h"
#include "bench/synth.h"

#define ROWS 512        /* rows of a large batch */
#define POSITIONS 1024  /* cached positions, to measure attention */

/* Seconds and operations of a batch through all layers of the model, extrapolated from the
 * measured ones. */
static struct stage_cost
whole(const struct bench *b, const struct measured *m)
{
	double times = (double)b->stage.model->config.num_layers / bench_layers(b);
	struct stage_cost all = {0};

	for (int p = 0; p < BENCH_STAGES; p++) {
		all.seconds += m->part[p].seconds * (p == BENCH_HEAD ? 1 : times);
		all.operations += m->part[p].operations * (p == BENCH_HEAD ? 1 : times);
	}
	return all;
}

/* Numbers in the matrices of one routed expert. */
static double
expert_params(const struct config *c, int layer)
{
	struct weight w;
	double n = 0;

	for (int role = ROLE_EXPERT_GATE; role <= ROLE_EXPERT_DOWN; role++)
		if (weight_find(&w, c, (enum role)role, layer, 0))
			n += (double)w.rows * w.cols;
	return n;
}

/* Operations of the routed experts that a batch reads beyond those of one row, as if each met
 * one row. */
static double
more_experts(const struct bench *b, const struct measured *m)
{
	const struct config *c = &b->stage.model->config;
	double n = 0;

	for (int i = 0; i < c->num_layers; i++)
		n += 2 * expert_params(c, i);
	return n * (m->experts - c->num_experts_per_tok);
}

/*
 * Derive the rates of ds-plan's cost model (plan/cost.h). A prompt, without attention over the
 * cache, takes the time to read each matrix, as for one row, and then each further row at the rate
 * for many.
 */
static void
solve(const struct bench *b, const struct measured *one, const struct measured *far, const struct measured *prompt,
    struct host_rates *r)
{
	const struct config *c = &b->stage.model->config;
	struct stage_cost first = whole(b, one), many = whole(b, prompt);
	double attended = 0, loads = first.operations, rest;

	for (int i = 0; i < c->num_layers; i++)
		attended += attention_of(c)->operations(c, prompt->rows,
		    attention_held(c, i, (prompt->rows + 1) / 2.0));
	r->row = first.operations / first.seconds;
	r->attend = (far->part[BENCH_ATTN].operations - one->part[BENCH_ATTN].operations) /
	    fmax(far->part[BENCH_ATTN].seconds - one->part[BENCH_ATTN].seconds, 1e-9);
	if (c->n_routed_experts > 0)
		loads += more_experts(b, prompt);
	rest = many.seconds - attended / r->attend - loads / r->row;
	r->rows = rest > 0 ? fmax(r->row, (many.operations - attended - loads) / rest) : r->row;
}

int
host_measure(struct bench *b, struct host_rates *r)
{
	int most = b->stage.model->config.max_position;
	int positions = most > POSITIONS ? POSITIONS : most - 1, rows = most > ROWS ? ROWS : most;
	struct measured one, far, prompt;

	if (bench_run(b, 0, 1, 0, &one) < 0 || bench_run(b, 0, 1, positions, &far) < 0 || bench_run(b, 1, rows, 0, &prompt) < 0)
		return -1;
	solve(b, &one, &far, &prompt, r);
	return 0;
}

/* The machine's name up to its first dot, if it is a valid name of a host. */
static void
host_name(char to[64])
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	if (gethostname(to, 64) < 0)
		*to = 0;
	to[63] = 0;
	to[strspn(to, plain)] = 0;
	if (!*to || *to == '-' || strcmp(to, "run") == 0)
		snprintf(to, 64, "host");
}

int
host_line(struct buf *to, const struct bench *b, const struct limit *l, const struct host_rates *r, const char *model)
{
	const char *last = strrchr(model, '/');
	char name[64];

	host_name(name);
	return buf_addf(to, "%s %d %.4g %.4g row=%.4g rows=%.4g attend=%.4g  # %d threads, %s, %s, %.100s\n", name,
	    pool_threads(b->stage.pool), floor((double)memory_all() / 0x1p30 * 100) / 100, l->read * 1e-9, r->row * 1e-9, r->rows * 1e-9,
	    r->attend * 1e-9, pool_threads(b->stage.pool), b->stage.k->name, precision_name(b->stage.k->precision),
	    last && last[1] ? last + 1 : model);
}
