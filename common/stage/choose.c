/*
 * One choice among V tokens, the same on every machine: scalar code in one
 * order, exp from the kernels.
 */
#include <math.h>

#include "stage/sample.h"

double
sample_random(uint64_t seed, uint64_t seq, uint64_t pos)
{
	uint32_t c[4] = {(uint32_t)pos, (uint32_t)(pos >> 32), (uint32_t)seq, (uint32_t)(seq >> 32)};
	uint32_t k[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};

	for (int i = 0; i < 10; i++) {
		uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
		uint32_t n[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b,
		    (uint32_t)(a >> 32) ^ c[3] ^ k[1], (uint32_t)a};

		for (int j = 0; j < 4; j++)
			c[j] = n[j];
		k[0] += 0x9E3779B9u;
		k[1] += 0xBB67AE85u;
	}
	return (double)(((uint64_t)c[1] << 32 | c[0]) >> 11) * 0x1p-53;
}

static int32_t
largest(const float *logits, int V)
{
	int32_t best = 0;

	for (int i = 1; i < V; i++)
		if (logits[i] > logits[best])
			best = i;
	return best;
}

/* The likeliest first; of equals the smaller id.  */
static inline int
precedes(struct choice x, struct choice y)
{
	return x.p > y.p || (x.p == y.p && x.id < y.id);
}

/* c[i] moves down the heap c [n], whose first precedes all others.  */
static void
heap_sink(struct choice *c, int n, int i)
{
	struct choice x = c[i];

	for (int child; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && precedes(c[child + 1], c[child]))
			child++;
		if (!precedes(c[child], x))
			break;
		c[i] = c[child];
	}
	c[i] = x;
}

/* What is sorted, as far as it is asked for: few of many choices are likely.  The choices
 * 0 .. taken-1 are at the end of c, the first one last; a heap is before them.  */
struct order {
	struct choice *c;
	int n, taken;
};

static struct order
order_new(struct choice *c, int n, int sorted)
{
	for (int i = n / 2; sorted && i-- > 0; )
		heap_sink(c, n, i);
	return (struct order){c, n, sorted ? 0 : -1};
}

/* Choice i; those before it have been asked for.  */
static struct choice
order_at(struct order *o, int i)
{
	struct choice *c = o->c, first = c[0];
	int last = o->n - 1 - i;

	if (o->taken < 0)
		return c[i];
	if (i == o->taken) {
		o->taken++;
		c[0] = c[last];
		c[last] = first;
		heap_sink(c, last, 0);
	}
	return c[last];
}

/* Make w[i] = exp((logits[i] - max) / temperature); returns their sum.  */
static double
weigh(const struct kernels *k, const struct sampling *p, const float *logits, int V, float *w)
{
	float max = logits[largest(logits, V)];
	double sum = 0;

	for (int i = 0; i < V; i++)
		w[i] = logits[i] == max ? 0 : (float)(((double)logits[i] - max) / p->temperature);
	k->exp(w, V);
	for (int i = 0; i < V; i++)
		sum += w[i];
	return sum;
}

int32_t
sample_choose(const struct kernels *k, const struct sampling *p, const float *logits, int V,
    double u, struct choice *c, float *w)
{
	double sum, least = 0, kept = 0, reach;
	struct order order;
	int n = 0;

	if (p->greedy || p->temperature == 0)
		return largest(logits, V);
	sum = weigh(k, p, logits, V, w);
	/* what is below cannot be among the fewest that reach top_p: all of it together is less
	 * than the rest */
	if (p->top_p < 1 && (p->top_k == 0 || p->top_k >= V))
		least = (1 - p->top_p) * sum / V;
	for (int i = 0; i < V; i++)
		if (w[i] >= least)
			c[n++] = (struct choice){w[i], i};
	order = order_new(c, n, p->top_k > 0 || p->top_p < 1);
	if (p->top_k > 0 && p->top_k < n) {
		n = p->top_k;
		sum = 0;
		for (int i = 0; i < n; i++)
			sum += order_at(&order, i).p;
	}
	for (int i = 0; i < n; i++) {
		kept += order_at(&order, i).p;
		if (p->top_p < 1 && kept >= p->top_p * sum)
			n = i + 1;
	}
	reach = u * kept;
	for (int i = 0; i < n; i++) {
		reach -= order_at(&order, i).p;
		if (reach < 0)
			return order_at(&order, i).id;
	}
	return order_at(&order, n - 1).id;
}
