#include "quant/kv_b.h"

#include "base/mem.h"

int
kv_b_open(struct kv_b *b, struct model *m, int layer)
{
	const struct config *c = &m->config;

	*b = (struct kv_b){.nope = c->qk_nope_head_dim, .values = c->v_head_dim,
	    .split = c->kv_b_split};
	if (model_weight(m, b->split ? ROLE_K_B : ROLE_KV_B, layer, -1, &b->k) < 0)
		return -1;
	b->v = b->k;
	return b->split ? model_weight(m, ROLE_V_B, layer, -1, &b->v) : 0;
}

void
kv_b_row(const struct kv_b *b, const struct kernels *k, float *out, int head, int i)
{
	if (!b->split)
		k->row(out, &b->k, head * (b->nope + b->values) + i);
	else if (i < b->nope)
		k->row(out, &b->k, head * b->nope + i);
	else
		k->row(out, &b->v, head * b->values + i - b->nope);
}

float *
kv_b_whole(const struct kv_b *b, const struct kernels *k, int heads, struct mat *w)
{
	int rows = b->nope + b->values, R = b->k.cols;
	float *x = mem_raw((size_t)heads * (size_t)rows * (size_t)R, sizeof(*x));

	for (int i = 0; x && i < heads * rows; i++)
		kv_b_row(b, k, x + (size_t)i * (size_t)R, i / rows, i % rows);
	*w = (struct mat){.data = x, .rows = heads * rows, .cols = R, .dtype = F32};
	return x;
}
