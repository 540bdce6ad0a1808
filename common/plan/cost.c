#include "plan/cost.h"

#include <math.h>
#include <stdlib.h>

#include "attention/attention.h"
#include "base/fail.h"
#include "base/mem.h"

#define PROGRAM 50e-6           /* seconds that a frame costs a program: reading, waking, writing */
#define START 5e-3              /* seconds of a core that a program takes to start, ... */
#define START_NAME 4e-6         /* ... and for each name in the checkpoint's index */
#define GPU_FLOPS 50e12         /* of a GPU, whatever the cores beside it */
#define HEADER 256              /* bytes of a frame besides its tensors, about */

/* Of the layers before one: attention, router and dense MLP; shared experts; all routed experts. */
enum item { LEAD, SHARED, ROUTED, ITEMS };

struct item_time {
	double memory, compute;         /* seconds of the items that the one or the other bounds */
};

static struct item_time *
at(const struct cost *c, enum item item, int host, int layer)
{
	size_t L = (size_t)c->s->config.num_layers + 1;

	return &c->sum[((size_t)item * (size_t)c->hosts->n + (size_t)host) * L + (size_t)layer];
}

/* A rate that is not given has the default proportion to the rate of one row, and is no less. */
static struct rates
rates_of(const struct host *h, const struct rates *core)
{
	double row = h->row > 0 ? h->row : h->cores * core->row;
	double rows = h->rows > 0 ? h->rows : row * core->rows / core->row;

	return h->gpu ? (struct rates){GPU_FLOPS, GPU_FLOPS} :
	    (struct rates){row, fmax(row, rows)};
}

static void
add_longer(struct item_time *t, double read, double count)
{
	*(read >= count ? &t->memory : &t->compute) += fmax(read, count);
}

/* Seconds for each number of `passes` matrices, with `rows` rows in all. */
static double
each(const struct rates *r, double passes, double rows)
{
	return 2 * (passes * (1 / r->row - 1 / r->rows) + rows / r->rows);
}

/* Products with `passes` matrices, each one of `n` equal parts of w, with `rows` rows in all. */
static void
multiply(const struct cost *c, const struct host *h, struct item_time *t,
    const struct weight_size *w, double n, double passes, double rows)
{
	struct rates plain = rates_of(h, &c->d->core), coded = rates_of(h, &c->d->coded);
	double of_codes = (double)w->coded / n, of_others = (double)(w->params - w->coded) / n;

	add_longer(t, passes * (double)w->bytes / n / h->bandwidth,
	    of_others * each(&plain, passes, rows) + of_codes * each(&coded, passes, rows));
}

/* Where a layer's cache is on the host. */
static struct attention_where
where(const struct cost *c, const struct host *h)
{
	return (struct attention_where){h->gpu, c->d->precision, c->d->cache_type};
}

/* The rows of the batch over the caches of a layer. */
static void
attend(const struct cost *c, const struct host *h, struct item_time *t, int layer)
{
	const struct config *m = &c->s->config;
	double held = attention_held(m, layer, c->context);
	double rate = !h->gpu && h->attend > 0 ? h->attend : rates_of(h, &c->d->core).rows;

	add_longer(t, c->rows * attention_read(m, where(c, h), held) / h->bandwidth,
	    attention_of(m)->operations(m, c->rows, held) / rate);
}

static void
lead(const struct cost *c, const struct host *h, struct item_time *t, const struct layer_size *l)
{
	multiply(c, h, t, &l->attn, 1, 1, c->rows);
	attend(c, h, t, (int)(l - c->s->layers));
	multiply(c, h, t, &l->route, 1, 1, c->rows);
	if (!l->moe)
		multiply(c, h, t, &l->shared, 1, 1, c->rows);
}

/* If rows choose K of E experts at random, an expert is read with probability 1 - (1 - K/E)^rows. */
static void
experts(const struct cost *c, const struct host *h, struct item_time *shared,
    struct item_time *routed, const struct layer_size *l)
{
	double E = c->s->config.n_routed_experts, K = c->s->config.num_experts_per_tok;

	multiply(c, h, shared, &l->shared, 1, 1, c->rows);
	multiply(c, h, routed, &l->routed, E, E * (1 - pow(1 - K / E, c->rows)), c->rows * K);
}

int
cost_open(struct cost *c, const struct sizes *s, const struct hosts *hosts,
    const struct demand *d, double rows, double wanted, double context)
{
	double D = s->config.hidden_size, K = s->config.num_experts_per_tok;

	*c = (struct cost){.s = s, .hosts = hosts, .d = d, .rows = rows, .wanted = wanted, .context = context};
	c->frame = HEADER + rows * (4 * D + 4);
	c->chosen = c->frame + rows * 8 * K;
	c->partial = c->chosen + rows * 8 * D;
	c->sum = mem_new((size_t)ITEMS * (size_t)hosts->n * ((size_t)s->config.num_layers + 1), sizeof(*c->sum));
	if (!c->sum)
		return -1;
	for (int h = 0; h < hosts->n + hosts->spares; h++)
		if (attention_runs(&s->config, hosts->h[h].gpu) < 0)
			return fail_in("host '%s'", hosts->h[h].name);
	for (int h = 0; h < hosts->n; h++)
		for (int l = 0; l < s->config.num_layers; l++) {
			for (int i = 0; i < ITEMS; i++)
				*at(c, i, h, l + 1) = *at(c, i, h, l);
			lead(c, &hosts->h[h], at(c, LEAD, h, l + 1), &s->layers[l]);
			if (s->layers[l].moe)
				experts(c, &hosts->h[h], at(c, SHARED, h, l + 1), at(c, ROUTED, h, l + 1), &s->layers[l]);
		}
	return 0;
}

void
cost_close(struct cost *c)
{
	free(c->sum);
	c->sum = NULL;
}

/* Add a part of what a host takes for one kind of item in the group's layers. */
static void
add(const struct cost *c, struct busy *b, const struct group *g, enum item item, int host, double part)
{
	const struct item_time *from = at(c, item, host, g->from), *to = at(c, item, host, g->to);

	b->memory += (to->memory - from->memory) * part;
	b->compute += (to->compute - from->compute) * part;
}

static void
add_ends(const struct cost *c, struct busy *b, const struct group *g, const struct host *h)
{
	struct item_time t = {0};

	if (g->from == 0)
		b->programs += PROGRAM;
	if (g->to == c->s->config.num_layers) {
		b->programs += 2 * PROGRAM;
		if (c->wanted > 0)
			multiply(c, h, &t, &c->s->head, 1, 1, c->wanted);
	}
	b->memory += t.memory;
	b->compute += t.compute;
}

static int
is_alone(const struct cost *c, const struct group *g)
{
	return g->n == 1 && g->from == 0 && g->to == c->s->config.num_layers;
}

/* They start side by side, as far as there are cores. */
static double
start_time(const struct cost *c, const struct host *h, int programs)
{
	return (START + START_NAME * (double)c->s->names) * fmax(1, (double)programs / h->cores);
}

struct busy
cost_member(const struct cost *c, const struct group *g, int member)
{
	int host = g->host + member, moe = c->s->sum[g->to].moe - c->s->sum[g->from].moe;
	int programs = 0;
	struct busy b = {0};

	if (member == 0) {
		add(c, &b, g, LEAD, host, 1);
		add_ends(c, &b, g, &c->hosts->h[host]);
		/* one for all layers, or for dense ones; attention, router and join of each other one */
		programs = (g->n == 1 || moe < g->to - g->from) + (g->n == 1 ? 0 : moe * 3);
		b.programs += programs * PROGRAM;
		programs += (g->from == 0) + 2 * (g->to == c->s->config.num_layers);
		if (!is_alone(c, g))
			b.network = c->frame / c->d->net;
	}
	if (g->n == 1 || g->shared == member)
		add(c, &b, g, SHARED, host, 1);
	if (g->n == 1)
		add(c, &b, g, ROUTED, host, 1);
	programs += g->n == 1 ? 0 : moe;
	b.start = start_time(c, &c->hosts->h[host], programs);
	if (g->n == 1)
		return b;
	add(c, &b, g, ROUTED, host, (double)g->experts[member] / c->s->config.n_routed_experts);
	b.programs += moe * PROGRAM;
	b.network += moe * c->partial * (member == 0 ? g->n - 1 : 1) / c->d->net;
	return b;
}

double
busy_time(const struct busy *b)
{
	return b->memory + b->compute + b->programs;
}

double
busy_choice(const struct cost *c, const struct busy *b)
{
	return fmax(busy_time(b), b->network) + b->start / (c->d->tokens * c->d->batches);
}

double
cost_latency(const struct cost *c, const struct group *g)
{
	double hop = is_alone(c, g) ? 0 : c->d->hop + c->frame / c->d->net;
	double most = 0, led, moe = c->s->sum[g->to].moe - c->s->sum[g->from].moe;
	struct group none = *g;
	struct busy b;

	for (int i = 0; i < g->n; i++)
		none.experts[i] = 0;
	if (g->n > 1)
		none.shared = -1;
	b = cost_member(c, &none, 0);
	led = busy_time(&b);
	if (g->n == 1)
		return led + hop;
	for (int i = 0; i < g->n; i++) {
		b = cost_member(c, g, i);
		most = fmax(most, busy_time(&b) - (i == 0 ? led : 0));
	}
	return led + most + hop + moe * (2 * c->d->hop + (g->n - 1) * (c->chosen + c->partial) / c->d->net);
}

double
host_room(const struct host *h)
{
	return h->memory * 0.9;
}

struct held
cost_held(const struct cost *c, const struct group *g, int member)
{
	const struct config *m = &c->s->config;
	const struct layer_sum *from = &c->s->sum[g->from], *to = &c->s->sum[g->to];
	uint64_t row = attention_of(m)->cache_row(m, where(c, &c->hosts->h[g->host + member]));
	uint64_t positions = (uint64_t)c->d->sequences * (uint64_t)c->d->context;
	uint64_t E = m->n_routed_experts > 0 ? (uint64_t)m->n_routed_experts : 1;
	uint64_t n = g->n == 1 ? E : (uint64_t)g->experts[member];
	struct held held = {.weights = (to->routed - from->routed) / E * n};

	if (g->n == 1 || g->shared == member)
		held.weights += to->shared - from->shared;
	if (member > 0)
		return held;
	held.weights += to->lead - from->lead;
	held.caches = (uint64_t)(g->to - g->from) * positions * row;
	if (g->from == 0)
		held.weights += c->s->embed.bytes;
	if (g->to == m->num_layers)
		held.weights += c->s->head.bytes;
	return held;
}
