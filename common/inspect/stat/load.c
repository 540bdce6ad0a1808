#include "inspect/stat/load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "kernels.h"

struct load_layer {
	char *location;         /* experts_done of the frames that are counted, "" for none */
	uint64_t rows, chosen;  /* chosen: sum of k over rows */
	uint64_t dropped;       /* sum over rows of groups without a chosen expert */
	int experts;            /* number of experts, or 1 + the highest chosen */
	uint64_t *count;        /* [EXPERTS_MAX] */
	double *weight;         /* [EXPERTS_MAX] sums */
};

static struct load_layer *
layer_at(struct load *l, const struct frame *f)
{
	struct load_layer *y = l->layers[f->layer];

	if (y)
		return y;
	if (!(y = mem_new(1, sizeof(*y))))
		return NULL;
	y->count = mem_new(EXPERTS_MAX, sizeof(*y->count));
	y->weight = mem_new(EXPERTS_MAX, sizeof(*y->weight));
	y->location = strdup(f->experts_done ? f->experts_done : "");
	y->experts = l->experts;
	l->layers[f->layer] = y;
	if (!y->count || !y->weight)
		return NULL;
	if (!y->location)
		fail(FAIL_SYSTEM, "no memory for a layer's experts");
	return y->location ? y : NULL;
}

/* Number of groups without a chosen expert. idx is ascending. */
static uint64_t
count_dropped(const struct load *l, const int32_t *idx, uint64_t k)
{
	uint64_t n = (uint64_t)l->groups;
	int size = l->experts / l->groups, last = -1;

	for (uint64_t i = 0; i < k; i++)
		if (idx[i] / size != last) {
			last = idx[i] / size;
			n--;
		}
	return n;
}

static int
add_row(const struct load *l, struct load_layer *y, const int32_t *idx, const float *w, uint64_t k)
{
	int most = l->experts ? l->experts : EXPERTS_MAX;

	for (uint64_t i = 0; i < k; i++) {
		if (idx[i] < 0 || idx[i] >= most || (i > 0 && idx[i] <= idx[i - 1]))
			return fail(FAIL_DATA, "tensor 'expert.idx': a row is not ascending in 0 to %d", most - 1);
		y->count[idx[i]]++;
		y->weight[idx[i]] += (double)w[i];
	}
	if (k > 0 && idx[k - 1] >= y->experts)
		y->experts = idx[k - 1] + 1;
	y->chosen += k;
	y->rows++;
	if (l->groups > 0)
		y->dropped += count_dropped(l, idx, k);
	return 0;
}

int
load_frame(struct load *l, struct frame *f)
{
	struct tensor *idx = f->op == OP_NONE && f->at == AT_EXPERT ? frame_tensor(f, "expert.idx") : NULL, *w;
	struct load_layer *y;
	uint64_t k;

	if (!idx || f->rows == 0 || idx->rank != 2 || (k = idx->shape[1]) == 0)
		return 0;
	if (f->layer < 0 || f->layer >= LAYERS_MAX)
		return fail(FAIL_DATA, "layer is %d, must be from 0 to %d", f->layer, LAYERS_MAX - 1);
	if (!frame_require(f, "expert.idx", I32, f->rows, k) || !(w = frame_require(f, "expert.w", F32, f->rows, k)) ||
	    !(y = layer_at(l, f)))
		return -1;
	if (strcmp(y->location, f->experts_done ? f->experts_done : "") != 0)
		return 0;
	for (uint64_t i = 0; i < f->rows; i++)
		if (add_row(l, y, (int32_t *)idx->data + i * k, (float *)w->data + i * k, k) < 0)
			return fail_in("layer %d", f->layer);
	return 0;
}

static void
print_layer(const struct load *l, const struct load_layer *y, int layer, struct record *r)
{
	static const char columns[] = "router layer rows     chosen experts used  entropy  imbalance busiest dropped";
	double entropy = 0, all = (double)y->chosen;
	int used = 0, busiest = 0;

	for (int e = 0; e < y->experts; e++) {
		double p = (double)y->count[e] / all;

		used += y->count[e] > 0;
		entropy -= y->count[e] > 0 ? p * fixed_log(p) / fixed_log(2) : 0;
		busiest = y->count[e] > y->count[busiest] ? e : busiest;
	}
	record_begin(r, columns);
	record_int(r, layer);
	record_uint(r, y->rows);
	record_number(r, all / (double)y->rows, 4);
	record_int(r, y->experts);
	record_int(r, used);
	record_number(r, entropy, 4);
	record_number(r, (double)y->count[busiest] * y->experts / all, 4);
	record_int(r, busiest);
	record_number(r, l->groups > 1 ? (double)y->dropped / ((double)y->rows * l->groups) : NAN, 4);
	record_end(r);
}

static void
print_expert(const struct load_layer *y, int layer, int e, struct record *r)
{
	static const char columns[] = "expert layer expert rows     share     weight";
	double n = (double)y->count[e];

	record_begin(r, columns);
	record_int(r, layer);
	record_int(r, e);
	record_uint(r, y->count[e]);
	record_number(r, n / (double)y->chosen, 4);
	record_number(r, n > 0 ? y->weight[e] / n : NAN, 4);
	record_end(r);
}

void
load_print(const struct load *l, struct record *r, int each)
{
	for (int i = 0; i < LAYERS_MAX; i++)
		if (l->layers[i] && l->layers[i]->rows > 0)
			print_layer(l, l->layers[i], i, r);
	for (int i = 0; each && i < LAYERS_MAX; i++)
		for (int e = 0; l->layers[i] && e < l->layers[i]->experts; e++)
			print_expert(l->layers[i], i, e, r);
}

int
load_any(const struct load *l)
{
	for (int i = 0; i < LAYERS_MAX; i++)
		if (l->layers[i] && l->layers[i]->rows > 0)
			return 1;
	return 0;
}

void
load_free(struct load *l)
{
	for (int i = 0; i < LAYERS_MAX; i++) {
		struct load_layer *y = l->layers[i];

		if (!y)
			continue;
		free(y->location);
		free(y->count);
		free(y->weight);
		free(y);
	}
	memset(l, 0, sizeof(*l));
}
