/*
 * The optimal split, by dynamic programming.
 *
 * A group is a range of consecutive hosts with a range of consecutive layers. A split of the first
 * k hosts and l layers is a split of fewer hosts and layers, and a last group: best(k, l) is the
 * minimum, over all groups of hosts j .. k-1 and layers i .. l-1, of best(j, i) combined with that
 * group. This holds for both objectives: the longest time that a host or its network is busy with a
 * batch (combined by max), and the time of a token (combined by +). Both include a share of the
 * programs' start.
 *
 * The first objective is solved first; then the second, over groups that are not busy for longer.
 * So among the splits with the fastest slowest stage, the one with the lowest latency is chosen.
 * Either may leave hosts unused.
 *
 * Within a group of several hosts the experts, all of equal cost, are divided so that the last host
 * finishes as early as possible. In a time T each host can compute a certain number; the smallest T
 * for which they add up to all experts is found by bisection. The shared expert is tried on each
 * host.
 */
#include "plan/split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

#define GIB (1024.0 * 1024 * 1024)
#define NEVER ((double)INFINITY)
#define SAME (1 + 1e-9)                 /* tolerance for rounding in equal times */

struct state {                          /* the best split of a number of hosts and layers */
	double value;                   /* NEVER: there is none */
	struct group last;              /* .n 0: the last host is unused */
};

struct search {
	const struct cost *batched, *single;
	int H, L, E;
	int widest;                     /* maximum number of hosts in a group */
	double memory;      /* factor on each host's memory: above 1 only to find what is missing */
	double limit;                   /* no host may be busy for longer */
	int sum;          /* 1: minimise the time of a token; 0: minimise the slowest host's time */
	struct state *best;             /* [H + 1][L + 1] */
};

static struct state *
best(const struct search *x, int hosts, int layers)
{
	return &x->best[(size_t)hosts * (size_t)(x->L + 1) + (size_t)layers];
}

static const struct host *
host(const struct search *x, const struct group *g, int member)
{
	return &x->batched->hosts->h[g->host + member];
}

/* Free bytes of a member; negative: too little memory. */
static double
left(const struct search *x, const struct group *g, int member)
{
	struct held held = cost_held(x->batched, g, member);

	return host_room(host(x, g, member)) * x->memory - (double)held.weights - (double)held.caches;
}

static double
member_time(const struct search *x, const struct group *g, int member)
{
	struct busy b = cost_member(x->batched, g, member);

	return busy_choice(x->batched, &b);
}

/* A member of a group before experts are divided. */
struct member {
	double time, unit;           /* seconds busy; additional seconds per expert of each layer */
	int most;                       /* experts that fit into its memory */
};

static int
can_do(const struct member *m, double t)
{
	return t < m->time ? 0 : (int)fmin(m->most, (t - m->time) / m->unit);
}

/* Divide the experts among members without any. Returns 0 if they do not fit. */
static int
deal(struct group *g, const struct member *m, int E)
{
	double low = 0, high = 0;
	int sum = 0;

	for (int i = 0; i < g->n; i++) {
		sum += m[i].most;
		high = fmax(high, m[i].time + (m[i].most + 1) * m[i].unit);
	}
	if (sum < E)
		return 0;
	for (int round = 0; round < 40; round++) {
		double t = (low + high) / 2;

		sum = 0;
		for (int i = 0; i < g->n; i++)
			sum += can_do(&m[i], t);
		*(sum >= E ? &high : &low) = t;
	}
	sum = 0;
	for (int i = 0; i < g->n; i++)
		sum += g->experts[i] = can_do(&m[i], high);
	for (; sum > E; sum--) {  /* a tie: several members reach the time with their last expert */
		int last = -1;

		for (int i = 0; i < g->n; i++)
			if (g->experts[i] > 0 && (last < 0 || m[i].time + g->experts[i] * m[i].unit >
			    m[last].time + g->experts[last] * m[last].unit))
				last = i;
		g->experts[last]--;
	}
	return 1;
}

/* Divide the experts of the group's layers, with the shared ones on one host. Returns 0 if
 * impossible. */
static int
share_with(const struct search *x, struct group *g, int shared)
{
	struct member m[GROUP_MAX];
	uint64_t routed = x->batched->s->sum[g->to].routed - x->batched->s->sum[g->from].routed;

	g->shared = shared;
	memset(g->experts, 0, sizeof(g->experts));
	for (int i = 0; i < g->n; i++) {
		struct busy none = cost_member(x->batched, g, i), all;
		double room = left(x, g, i);

		if (room < 0)
			return 0;
		g->experts[i] = x->E;
		all = cost_member(x->batched, g, i);
		g->experts[i] = 0;
		m[i].time = busy_time(&none) + busy_choice(x->batched, &none) - fmax(busy_time(&none), none.network);
		m[i].unit = (busy_time(&all) - busy_time(&none)) / x->E;
		m[i].most = (int)fmin(x->E, room / ((double)routed / x->E));
	}
	return deal(g, m, x->E);
}

/* The time of the group's slowest host; NEVER: it does not fit. */
static double
slowest(const struct search *x, const struct group *g)
{
	double most = 0;

	for (int i = 0; i < g->n; i++)
		most = left(x, g, i) < 0 ? NEVER : fmax(most, member_time(x, g, i));
	return most;
}

/* 1 if an earlier host after the leader is equal to this one. */
static int
has_twin(const struct search *x, const struct group *g, int member)
{
	const struct host *h = host(x, g, member);

	for (int i = 1; i < member; i++) {
		const struct host *a = host(x, g, i);

		if (a->bandwidth == h->bandwidth && a->memory == h->memory && a->cores == h->cores && a->gpu == h->gpu)
			return 1;
	}
	return 0;
}

/* Divide the group's experts optimally. Returns the time of the slowest host. */
static double
share(const struct search *x, struct group *g)
{
	struct group try = *g;
	double least = NEVER;

	for (int i = 0; i < g->n; i++) {
		double t = !has_twin(x, g, i) && share_with(x, &try, i) ? slowest(x, &try) : NEVER;

		if (t < least) {
			least = t;
			*g = try;
		}
	}
	return least;
}

/* A lower bound on the group's time for any division of experts. It grows with the layers. */
static double
at_least(const struct search *x, const struct group *g)
{
	struct group none = *g;
	struct busy lead;
	double rate = 0;

	memset(none.experts, 0, sizeof(none.experts));
	none.shared = -1;
	lead = cost_member(x->batched, &none, 0);
	if (left(x, &none, 0) < 0)
		return NEVER;
	for (int i = 0; i < g->n; i++) {
		struct busy b;

		none.experts[i] = x->E;
		b = cost_member(x->batched, &none, i);
		none.experts[i] = 0;
		rate += 1 / (b.memory + b.compute - (i == 0 ? lead.memory + lead.compute : 0));
	}
	return fmax(1 / rate, busy_time(&lead));
}

/* The share of the slowest host's start per token. */
static double
start_share(const struct search *x, const struct group *g)
{
	double most = 0;

	for (int i = 0; i < g->n; i++)
		most = fmax(most, cost_member(x->single, g, i).start);
	return most / x->single->d->tokens;
}

/* Try a last group. Returns 0 if it, and any with more layers, is impossible or too slow. */
static int
try_group(const struct search *x, struct group g, double before)
{
	struct state *to = best(x, g.host + g.n, g.to);
	double most, value;

	if (g.n > 1 && x->batched->s->sum[g.to].moe == x->batched->s->sum[g.from].moe)
		return 1;
	if (g.n > 1 && at_least(x, &g) > x->limit)
		return 0;
	most = g.n > 1 ? share(x, &g) : slowest(x, &g);
	if (most == NEVER || most > x->limit)
		return 0;
	value = x->sum ? before + cost_latency(x->single, &g) + start_share(x, &g) : fmax(before, most);
	if (value < to->value)
		*to = (struct state){value, g};
	return 1;
}

/* Fill the table. Returns the value of the whole. */
static double
solve(struct search *x)
{
	for (int k = 0; k <= x->H; k++)
		for (int l = 0; l <= x->L; l++)
			best(x, k, l)->value = k == 0 && l == 0 ? 0 : NEVER;
	for (int k = 0; k < x->H; k++)
		for (int l = 0; l <= x->L; l++) {
			double value = best(x, k, l)->value;
			int widest = x->H - k < x->widest ? x->H - k : x->widest;

			if (value < best(x, k + 1, l)->value)
				*best(x, k + 1, l) = (struct state){.value = value};
			for (int n = 1; n <= widest && value < NEVER; n++)
				for (int to = l + 1; to <= x->L; to++)
					if (!try_group(x, (struct group){.host = k, .n = n, .from = l, .to = to}, value))
						break;
		}
	return best(x, x->H, x->L)->value;
}

/* Store the groups of the solution in o. */
static int
trace_back(const struct search *x, struct split *o)
{
	int k = x->H, l = x->L;

	if (!(o->group = mem_new((size_t)x->H, sizeof(*o->group))))
		return -1;
	while (l > 0 && k > 0) {
		const struct group *g = &best(x, k, l)->last;

		if (g->n == 0) {
			k--;
			continue;
		}
		o->group[o->n++] = *g;
		k = g->host;
		l = g->from;
	}
	for (int i = 0; i < o->n / 2; i++) {
		struct group g = o->group[i];

		o->group[i] = o->group[o->n - 1 - i];
		o->group[o->n - 1 - i] = g;
	}
	return 0;
}

/* Report how much memory would be needed. */
static int
too_little(struct search *x)
{
	double have = 0, low = 1, high = 2, need;

	for (int h = 0; h < x->H; h++)
		have += x->batched->hosts->h[h].memory;
	x->limit = NEVER;
	for (;;) {
		x->memory = high;
		if (solve(x) < NEVER)
			break;
		low = high;
		high *= 2;
	}
	while (high / low > 1.002) {
		x->memory = (low + high) / 2;
		*(solve(x) < NEVER ? &high : &low) = x->memory;
	}
	need = have * high;
	return fail(FAIL_DATA,
	    "the model does not fit: the hosts have %.4g GiB, and nine tenths are "
	    "used: it needs %.4g GiB in the same proportions: %.4g GiB are missing",
	    have / GIB, need / GIB, (need - have) / GIB);
}

int
split_make(struct split *o, const struct cost *batched, const struct cost *single)
{
	struct search x = {.batched = batched, .single = single, .H = batched->hosts->n, .L = batched->s->config.num_layers,
	    .E = batched->s->config.n_routed_experts, .memory = 1, .limit = NEVER};
	int r = 0;

	*o = (struct split){0};
	if (!(x.best = mem_new((size_t)(x.H + 1) * (size_t)(x.L + 1), sizeof(*x.best))))
		return -1;
	x.widest = 1;
	x.limit = solve(&x);            /* single hosts only: an upper bound for groups */
	x.widest = x.E > 0 ? GROUP_MAX : 1;
	x.limit = solve(&x);
	if (x.limit == NEVER) {
		r = too_little(&x);
	} else {
		x.limit = batched->d->latency ? NEVER : x.limit * SAME;
		x.sum = 1;
		(void)solve(&x);
		r = trace_back(&x, o);
	}
	free(x.best);
	return r;
}

void
split_free(struct split *o)
{
	free(o->group);
	*o = (struct split){0};
}
