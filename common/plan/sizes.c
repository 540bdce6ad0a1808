#include "plan/sizes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "weights/form.h"

#define BLOCK 128       /* side of the squares that share an FP8 scale */

enum kind {
	LINEAR,         /* with scales, in a checkpoint that is quantized */
	EXPERT,         /* so is this, perhaps otherwise */
	HEAD,           /* and this by ds-quant, if it was asked to */
	PLAIN,          /* never quantized */
	BIAS            /* F32 whatever the rest is */
};

struct walk {
	struct sizes *s;
	struct model *m;        /* its headers, or its index; NULL: neither */
	int shapes;             /* 1: headers are not there to be read */
	int again;              /* 1: what is counted has been before */
	uint64_t plain;         /* bytes of a number that is not quantized */
};

static uint64_t
blocks(uint64_t n)
{
	return (n + BLOCK - 1) / BLOCK;
}

static int
read_bytes(struct walk *w, const char *name, uint64_t rows, uint64_t cols, uint64_t *bytes)
{
	struct form f;
	struct part_size *t = w->s->types;

	if (form_find(&f, w->m, name, rows, cols) < 0)
		return -1;
	*bytes += f.bytes;
	if (w->again)
		return 0;
	t[f.dtype].bytes += f.bytes;
	t[f.dtype].params += rows * (cols ? cols : 1);
	return 0;
}

static int
compute_bytes(struct walk *w, enum kind kind, const char *name, uint64_t rows, uint64_t cols, uint64_t *bytes)
{
	const struct config *c = &w->s->config;
	uint64_t n = rows * (cols ? cols : 1);

	if (w->m && !model_has(w->m, name))
		return fail(FAIL_DATA, "the index of '%.300s' has no tensor '%s'", w->m->dir, name);
	if (kind <= HEAD && c->quant && (kind == EXPERT || (kind == HEAD ? c->quant_head : !c->quant_experts)))
		*bytes += rows * (dtype_row(c->quant == 8 ? Q8 : Q4, (int)cols) + (cols + QUANT_GROUP - 1) / QUANT_GROUP) +
		    sizeof(float);
	else if (kind <= EXPERT && c->fp8)
		*bytes += n + blocks(rows) * blocks(cols) * sizeof(float);
	else
		*bytes += n * (kind == BIAS ? sizeof(float) : w->plain);
	return 0;
}

/* Count a tensor [rows][cols], cols 0: a vector. */
__attribute__((format(printf, 6, 7)))
static int
count(struct walk *w, struct part_size *p, enum kind kind, int rows, int cols, const char *fmt, ...)
{
	uint64_t r = (uint64_t)rows, c = (uint64_t)cols;
	char name[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	p->params += r * (c ? c : 1);
	w->s->names += 1 + (kind <= EXPERT && (w->s->config.fp8 || w->s->config.quant));
	return w->shapes ? compute_bytes(w, kind, name, r, c, &p->bytes) : read_bytes(w, name, r, c, &p->bytes);
}

static int
count_attn(struct walk *w, struct layer_size *l, int i)
{
	const struct config *c = &w->s->config;
	int D = c->hidden_size, H = c->num_heads, R = c->kv_lora_rank, lora = c->q_lora_rank;
	int qk = c->qk_nope_head_dim + c->qk_rope_head_dim, kv = c->qk_nope_head_dim + c->v_head_dim;
	struct part_size *p = &l->attn;
	char a[48];

	snprintf(a, sizeof(a), "model.layers.%d.self_attn", i);
	if (count(w, p, PLAIN, D, 0, "model.layers.%d.input_layernorm.weight", i) < 0 ||
	    count(w, p, PLAIN, R, 0, "%s.kv_a_layernorm.weight", a) < 0 ||
	    count(w, p, LINEAR, R + c->qk_rope_head_dim, D, "%s.kv_a_proj_with_mqa.weight", a) < 0 ||
	    count(w, p, LINEAR, H * kv, R, "%s.kv_b_proj.weight", a) < 0 ||
	    count(w, p, LINEAR, D, H * c->v_head_dim, "%s.o_proj.weight", a) < 0)
		return -1;
	if (lora == 0)
		return count(w, p, LINEAR, H * qk, D, "%s.q_proj.weight", a);
	return count(w, p, PLAIN, lora, 0, "%s.q_a_layernorm.weight", a) < 0 ||
	    count(w, p, LINEAR, lora, D, "%s.q_a_proj.weight", a) < 0 ||
	    count(w, p, LINEAR, H * qk, lora, "%s.q_b_proj.weight", a) < 0 ? -1 : 0;
}

static int
count_mlp(struct walk *w, struct part_size *p, enum kind kind, int width, const char *name)
{
	int D = w->s->config.hidden_size;

	return count(w, p, kind, width, D, "%s.gate_proj.weight", name) < 0 ||
	    count(w, p, kind, width, D, "%s.up_proj.weight", name) < 0 ||
	    count(w, p, kind, D, width, "%s.down_proj.weight", name) < 0 ? -1 : 0;
}

static int
count_experts(struct walk *w, struct layer_size *l, int i)
{
	const struct config *c = &w->s->config;
	char name[64];

	if (count(w, &l->route, PLAIN, c->n_routed_experts, c->hidden_size, "model.layers.%d.mlp.gate.weight", i) < 0)
		return -1;
	if (c->topk_method == TOPK_NOAUX_TC &&
	    count(w, &l->route, BIAS, c->n_routed_experts, 0, "model.layers.%d.mlp.gate.e_score_correction_bias", i) < 0)
		return -1;
	for (int e = 0; e < c->n_routed_experts; e++) {
		snprintf(name, sizeof(name), "model.layers.%d.mlp.experts.%d", i, e);
		if (count_mlp(w, &l->routed, EXPERT, c->moe_intermediate_size, name) < 0)
			return -1;
	}
	snprintf(name, sizeof(name), "model.layers.%d.mlp.shared_experts", i);
	return c->n_shared_experts == 0 ? 0 :
	    count_mlp(w, &l->shared, EXPERT, c->n_shared_experts * c->moe_intermediate_size, name);
}

static int
count_layer(struct walk *w, int i)
{
	struct layer_size *l = &w->s->layers[i];
	char name[48];

	l->moe = config_is_moe(&w->s->config, i);
	if (count_attn(w, l, i) < 0 || count(w, &l->route, PLAIN, w->s->config.hidden_size, 0,
	    "model.layers.%d.post_attention_layernorm.weight", i) < 0)
		return -1;
	if (l->moe)
		return count_experts(w, l, i);
	snprintf(name, sizeof(name), "model.layers.%d.mlp", i);
	return count_mlp(w, &l->shared, LINEAR, w->s->config.intermediate_size, name);
}

static void
add(struct part_size *to, struct part_size p)
{
	to->bytes += p.bytes;
	to->params += p.params;
}

static int
count_all(struct walk *w)
{
	struct sizes *s = w->s;
	const struct config *c = &s->config;
	int V = c->vocab_size, D = c->hidden_size, tied = c->tie_word_embeddings;

	if (count(w, &s->embed, PLAIN, V, D, "model.embed_tokens.weight") < 0 ||
	    count(w, &s->head, PLAIN, D, 0, "model.norm.weight") < 0)
		return -1;
	w->again = tied;
	if (count(w, &s->head, tied ? PLAIN : HEAD, V, D, tied ? "model.embed_tokens.weight" : "lm_head.weight") < 0)
		return -1;
	w->again = 0;
	add(&s->total, s->head);
	if (!tied)
		add(&s->total, s->embed);
	s->active = s->head.params + (uint64_t)D;
	for (int i = 0; i < c->num_layers; i++) {
		struct layer_size *l = &s->layers[i];

		if (count_layer(w, i) < 0)
			return -1;
		add(&s->total, l->attn);
		add(&s->total, l->route);
		add(&s->total, l->shared);
		add(&s->total, l->routed);
		s->active += l->attn.params + l->route.params + l->shared.params;
		if (l->moe)
			s->active += l->routed.params / (uint64_t)c->n_routed_experts * (uint64_t)c->num_experts_per_tok;
	}
	return 0;
}

/* Bytes of a number as torch_dtype says; nobody but us asks, so it is not in struct config. */
static int
plain_bytes(const char *dir, uint64_t *bytes)
{
	static const char *const names[] = {"bfloat16", "float16", "float32", NULL};
	char path[4096];
	cJSON *o;
	int i = 0, r;

	if (io_path(path, sizeof(path), dir, "config.json") < 0 || !(o = json_load(path, 1 << 20)))
		return -1;
	r = json_choice(o, "torch_dtype", JSON_OPTIONAL, names, &i);
	if (r == 0)
		r = json_choice(o, "dtype", JSON_OPTIONAL, names, &i);
	cJSON_Delete(o);
	*bytes = i == 2 ? 4 : 2;
	return r < 0 ? fail_in("'%s'", path) : 0;
}

static void
sum_up(struct sizes *s)
{
	for (int i = 0; i < s->config.num_layers; i++) {
		const struct layer_size *l = &s->layers[i];
		struct layer_sum *to = &s->sum[i + 1];

		*to = s->sum[i];
		to->lead += l->attn.bytes + l->route.bytes + (l->moe ? 0 : l->shared.bytes);
		to->shared += l->moe ? l->shared.bytes : 0;
		to->routed += l->routed.bytes;
		to->moe += l->moe;
	}
}

static int
sizes_walk(struct walk *w, const char *dir)
{
	struct sizes *s = w->s;
	size_t L = (size_t)s->config.num_layers;

	if (!(s->layers = mem_new(L, sizeof(*s->layers))) || !(s->sum = mem_new(L + 1, sizeof(*s->sum))))
		return -1;
	if ((w->shapes && plain_bytes(dir, &w->plain) < 0) || count_all(w) < 0)
		return -1;
	sum_up(s);
	return 0;
}

int
sizes_open(struct sizes *s, const char *dir, int shapes)
{
	struct walk w = {.s = s, .shapes = shapes};
	struct model m = {0};
	char index[4096];
	int r;

	memset(s, 0, sizeof(*s));
	if (io_path(index, sizeof(index), dir, MODEL_INDEX) < 0)
		return -1;
	if (shapes && access(index, F_OK) < 0) {
		r = config_load(&s->config, dir);
	} else {
		r = model_open(&m, dir);
		s->config = m.config;
		w.m = &m;
	}
	if (r == 0)
		r = sizes_walk(&w, dir);
	model_close(&m);
	return r;
}

void
sizes_close(struct sizes *s)
{
	free(s->layers);
	free(s->sum);
	memset(s, 0, sizeof(*s));
}
