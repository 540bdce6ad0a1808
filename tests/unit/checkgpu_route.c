/*
 * The router on the GPU against device/cpu_route.c, and rows sorted by expert against a plain count: bit for bit.
 */
/* only: asan */
#include "twin.h"

#include "cpu/cpu.h"
#include "device/ops.h"
#include "stage/route.h"

static struct kernels ref;

/* --- the choice --- */

struct shape {
	int E, K, n_group, topk_group;
};

static const struct shape shapes[] = {
	{1, 1, 1, 1}, {5, 2, 1, 1}, {16, 4, 4, 2}, {31, 31, 1, 1}, {64, 6, 1, 1}, {33, 7, 11, 4}, {96, 20, 3, 3}, {160, 6, 8, 3},
	{256, 8, 8, 4}, {256, 8, 1, 1}, {320, 3, 160, 2}, {300, 30, 1, 1}, {1000, 8, 4, 1}, {12, 5, 12, 6}, {512, 300, 1, 1},
	{4096, 30, 64, 16},
};

/* Gate products: many alike, all alike, all not numbers, or with what hurts. */
static float
gate(int how)
{
	switch (how) {
	case 0:
		return number(PLAIN) * 8;
	case 1:
		return (float)below(4) - 2;
	case 2:
		return number(WORST) * 4;
	case 3:
		return number(WIDE);
	case 4:
		return below(3) ? NAN : -INFINITY;
	default:
		return how == 5 ? 0 : -INFINITY;
	}
}

static void
expected(const struct config *c, float *scores, float *choice, int32_t *idx, float *w, const float *bias, int T)
{
	size_t E = (size_t)c->n_routed_experts, K = (size_t)c->num_experts_per_tok;
	const struct router rule = route_rule(c);

	for (size_t t = 0; t < (size_t)T; t++, scores += E, choice += E, idx += K, w += K) {
		(c->scoring == SCORE_SIGMOID ? ref.sigmoid : ref.softmax)(scores, (int)E);
		cpu_choose(&rule, scores, bias, choice, idx, w);
		for (size_t e = 0; e < E; e++)
			choice[e] = canonical(choice[e]);
		for (size_t i = 0; i < K; i++)
			w[i] = canonical(w[i]);
	}
}

static int
chosen(const struct config *c, const float *bias, int T, int how)
{
	const struct router r = {c->n_routed_experts, c->num_experts_per_tok, c->n_group, c->topk_group,
	    c->scoring == SCORE_SIGMOID, c->topk_method == TOPK_GREEDY ? 0 : c->topk_method == TOPK_GROUP_MAX ? 1 : 2,
	    c->norm_topk_prob, c->routed_scaling_factor};
	size_t E = (size_t)r.E, K = (size_t)r.K, TE = (size_t)T * E, TK = (size_t)T * K;
	struct twin scores = twin_new(TE * 4), choice = twin_new(TE * 4), idx = twin_new(TK * 4), w = twin_new(TK * 4);
	struct twin b = twin_new(E * 4);
	int good;

	for (size_t i = 0; i < TE; i++)
		((float *)scores.want)[i] = gate(how);
	twin_put(&scores);
	if (bias)
		memcpy(b.want, bias, E * 4);
	twin_put(&b);
	good = lib->route(gpu, scores.dev, choice.dev, idx.dev, w.dev, bias ? b.dev : NULL, T, &r) == 0;
	expected(c, scores.want, choice.want, idx.want, w.want, bias, T);
	good &= twin_same(&scores) & twin_same(&choice) & twin_same(&idx) & twin_same(&w) & twin_same(&b);
	return good & gpu_clear();
}

static void
choices(const struct shape *s)
{
	struct config c = {.n_routed_experts = s->E, .num_experts_per_tok = s->K, .n_group = s->n_group, .topk_group = s->topk_group};
	float bias[EXPERTS_MAX];
	int good = 1, T = s->E > 500 ? 2 : 5;

	for (int how = 0; how < 7; how++)
		for (int method = 0; method < 3; method++) {
			c.topk_method = (enum topk_method)method;
			c.scoring = (how + method) % 2 ? SCORE_SIGMOID : SCORE_SOFTMAX;
			c.norm_topk_prob = below(2);
			c.routed_scaling_factor = below(2) ? 2.5f : 1;
			for (int e = 0; e < s->E; e++)
				bias[e] = how == 1 ? (float)below(3) : number(how == 2 ? WORST : PLAIN);
			good &= chosen(&c, method == TOPK_NOAUX_TC && below(5) ? bias : NULL, T, how);
		}
	ok(good, "%d of %d experts, %d of %d groups", s->K, s->E, s->topk_group, s->n_group);
}

/* --- by expert --- */

static void
expected_order(const struct expert_pairs *o, const int32_t *idx, const float *w, int pairs, int K, const unsigned char *has)
{
	int n = 0;

	for (int e = 0; e < o->E; e++) {
		o->start[e] = n;
		for (int i = 0; i < pairs; i++)
			if (idx[i] == e && (!has || has[e])) {
				o->row[n] = i / K;
				o->slot[n] = i;
				o->w[n++] = w[i];
			}
	}
	o->start[o->E] = n;
}

/* K different experts a row, ascending or not. */
static void
draw(int32_t *idx, int T, int K, int E)
{
	for (int t = 0; t < T; t++)
		for (int i = 0, first = below(E), step = E > 1 ? 1 + below(E / K) : 1; i < K; i++)
			idx[t * K + i] = (first + i * step) % E;
}

static int
sorted(int T, int K, int E, int room, int some)
{
	size_t pairs = (size_t)(T * K), n = pairs + (size_t)room;
	struct twin idx = twin_new(pairs * 4), w = twin_new(pairs * 4), has = twin_new((size_t)E);
	struct twin start = twin_new((size_t)(E + 1) * 4), row = twin_new(n * 4), slot = twin_new(n * 4), out = twin_new(n * 4);
	const struct expert_pairs want = {E, (int)n, start.want, row.want, slot.want, out.want};
	const struct expert_pairs on = {E, (int)n, start.dev, row.dev, slot.dev, out.dev};
	int good;

	draw(idx.want, T, K, E);
	numbers(w.want, pairs, BITS);
	for (int e = 0; e < E; e++)
		((unsigned char *)has.want)[e] = below(3) == 0;
	twin_put(&idx);
	twin_put(&w);
	twin_put(&has);
	good = lib->sort(gpu, &on, idx.dev, w.dev, T, K, some ? has.dev : NULL) == 0;
	expected_order(&want, idx.want, w.want, (int)pairs, K, some ? has.want : NULL);
	good &= twin_same(&start) & twin_same(&row) & twin_same(&slot) & twin_same(&out);
	good &= twin_same(&idx) & twin_same(&w) & twin_same(&has);
	return good & gpu_clear();
}

static void
orders(void)
{
	static const int tried[][3] = {{1, 1, 1}, {1, 8, 256}, {7, 2, 5}, {33, 6, 64}, {64, 8, 16}, {128, 8, 19}, {345, 3, 40}, {2, 300, 301},
	    {700, 8, 8}, {4096, 1, 3}};
	int all = 1, some = 1;

	for (int i = 0; i < COUNT(tried); i++) {
		all &= sorted(tried[i][0], tried[i][1], tried[i][2], below(3) * 5, 0);
		some &= sorted(tried[i][0], tried[i][1], tried[i][2], 0, 1);
	}
	ok(all, "pairs stand by expert, then by row");
	ok(some, "those of experts that are not there are left out");
}

static int
shared_by_all(int T)
{
	size_t n = (size_t)T * 4;
	struct twin start = twin_new(8), row = twin_new(n), slot = twin_new(n), w = twin_new(n);
	const struct expert_pairs on = {1, T, start.dev, row.dev, slot.dev, w.dev};
	int good = lib->all_rows(gpu, &on, T) == 0;

	((int32_t *)start.want)[0] = 0;
	((int32_t *)start.want)[1] = T;
	for (int t = 0; t < T; t++) {
		((int32_t *)row.want)[t] = ((int32_t *)slot.want)[t] = t;
		((float *)w.want)[t] = 1;
	}
	good &= twin_same(&start) & twin_same(&row) & twin_same(&slot) & twin_same(&w);
	return good & gpu_clear();
}

int
main(void)
{
	int good = 1;

	gpu_start();
	vector_ref(&ref);
	for (int i = 0; i < COUNT(shapes); i++)
		choices(&shapes[i]);
	orders();
	for (int i = 0; i < COUNT(batches); i++)
		good &= shared_by_all(batches[i]);
	ok(good & shared_by_all(256) & shared_by_all(2000), "all rows for one expert");
	lib->close(gpu);
	printf("1..%d\n", points);
	return failures != 0;
}
