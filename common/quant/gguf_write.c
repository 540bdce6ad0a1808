/*
 * A GGUF of a model, as llama.cpp's converter lays it out: routed experts of a layer in one
 * tensor, kv_b split into k_b, transposed, and v_b, and in architecture llama the rows of q and k
 * in the order of neighbouring pairs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "quant/gguf_file.h"
#include "quant/gguf_keys.h"
#include "quant/kv_b.h"
#include "quant/quant_internal.h"
#include "weights/gguf_tensors.h"
#include "weights/layout.h"

enum order {
	AS_IT_IS,
	OF_Q, OF_K,                     /* rows of H, or G, heads */
	OF_EXPERTS,                     /* one after another */
	OF_KEYS, OF_VALUES              /* halves of kv_b */
};

/* A tensor of the file. */
struct made {
	enum order order;
	struct weight w;                /* in the model; of experts, the first */
	enum dtype dtype;
	int rank;
	uint64_t dims[3];
	int heads;                      /* > 0: rows of so many heads, the pairs of each zipped */
};

struct writer {
	struct quant *q;
	struct gguf_file file;
	struct made *made;              /* [file.ntensors] */
	size_t cap;
	struct loss *all;
};

/* --- what the file has --- */

/* Whether a tensor is in a GGUF as a checkpoint stores it. */
static int
is_plain(enum dtype t)
{
	return t != F8_E4M3 && t != Q8 && t != Q4;
}

/* The dtype of a matrix whose rows have n columns. */
static int
choose_dtype(struct writer *w, const struct weight *t, int n, enum dtype *to)
{
	struct layout l = {.dtype = F32};

	if (t->row->role != ROLE_KV_B && layout_find(&l, &w->q->model->weights, t->name,
	    (size_t)t->rows, (size_t)t->cols) < 0)
		return -1;
	if (t->cols == 0 || t->row->role == ROLE_ROUTER)
		*to = F32;
	else if (t->row->kind == WEIGHT_PLAIN || (t->row->kind == WEIGHT_HEAD && !w->q->head))
		*to = is_plain(l.dtype) ? l.dtype : BF16;
	else
		*to = n % dtype_cols(w->q->to) == 0 ? w->q->to : BF16;
	return 0;
}

static void
set_shape(struct made *m, const struct config *c)
{
	int llama = strcmp(c->type, "llama") == 0, keys = m->order == OF_KEYS;

	m->rank = m->w.cols ? 2 : 1;
	m->dims[0] = (uint64_t)(m->w.cols ? m->w.cols : m->w.rows);
	m->dims[1] = (uint64_t)m->w.rows;
	switch (m->order) {
	case AS_IT_IS:
		break;
	case OF_Q:
	case OF_K:
		m->heads = !llama ? 0 : m->order == OF_Q ? c->num_heads : c->num_kv_heads;
		break;
	case OF_EXPERTS:
		m->rank = 3;
		m->dims[2] = (uint64_t)c->n_routed_experts;
		break;
	case OF_KEYS:
	case OF_VALUES:
		m->rank = 3;
		m->dims[0] = (uint64_t)(keys ? c->qk_nope_head_dim : c->kv_lora_rank);
		m->dims[1] = (uint64_t)(keys ? c->kv_lora_rank : c->v_head_dim);
		m->dims[2] = (uint64_t)c->num_heads;
		break;
	}
}

/* The name in the file of a tensor of that name in a folder. */
static int
add_tensor(struct writer *w, const struct made *m, const char *name)
{
	const char *end = gguf_tensor_name(name);
	char full[64];

	if (!end)
		return fail(FAIL_USAGE, "GGUF has no name for tensor '%s'", name);
	if (m->w.layer < 0)
		snprintf(full, sizeof(full), "%s", end);
	else
		snprintf(full, sizeof(full), "blk.%d.%s", m->w.layer, end);
	gguf_put_tensor(&w->file, full, m->dtype, m->rank, m->dims);
	return 0;
}

static int
plan_one(struct writer *w, enum order order, const struct weight *t, const char *name)
{
	struct made m = {.order = order, .w = *t};

	set_shape(&m, &w->q->config);
	if (choose_dtype(w, t, (int)m.dims[0], &m.dtype) < 0 ||
	    mem_grow(&w->made, &w->cap, w->file.ntensors + 1, sizeof(*w->made)) < 0)
		return -1;
	w->made[w->file.ntensors] = m;
	return add_tensor(w, &m, name);
}

/* The halves have names where they are apart. */
static int
plan_kv_b(struct writer *w, const struct weight *t)
{
	struct config c = w->q->config;
	struct weight k, v;

	c.kv_b_split = 1;
	return !weight_find(&k, &c, ROLE_K_B, t->layer, -1) ||
	    !weight_find(&v, &c, ROLE_V_B, t->layer, -1) ||
	    plan_one(w, OF_KEYS, t, k.name) < 0 || plan_one(w, OF_VALUES, t, v.name) < 0 ? -1 : 0;
}

static enum order
order_of(enum role role)
{
	if (role == ROLE_Q || role == ROLE_Q_BIAS)
		return OF_Q;
	if (role == ROLE_K || role == ROLE_K_BIAS)
		return OF_K;
	return role >= ROLE_EXPERT_GATE && role <= ROLE_EXPERT_DOWN ? OF_EXPERTS : AS_IT_IS;
}

static int
plan_layer(struct writer *w, int layer)
{
	const struct config *c = &w->q->config;
	struct weight t = {0};

	while (weight_next(&t, c, layer)) {
		enum role role = t.row->role;

		if (t.expert > 0 || (role == ROLE_HEAD && c->tie_word_embeddings))
			continue;
		if ((role == ROLE_KV_B ? plan_kv_b(w, &t) :
		    plan_one(w, order_of(role), &t, t.name)) < 0)
			return -1;
	}
	return 0;
}

static int
plan(struct writer *w)
{
	const struct config *c = &w->q->config;
	uint64_t half = (uint64_t)c->head_dim / 2;

	for (int layer = -1; layer < c->num_layers; layer++)
		if (plan_layer(w, layer) < 0)
			return -1;
	if (c->rope.type == ROPE_LLAMA3)
		gguf_put_tensor(&w->file, GGUF_ROPE_FACTORS, F32, 1, &half);
	return 0;
}

/* --- its bytes --- */

struct target {
	struct writer *w;
	const struct gguf_file_tensor *t;
	uint64_t at;                    /* where the matrix begins in the tensor */
	size_t row;                     /* bytes */
	int head;                       /* > 0: zipped rows of a head of so many */
};

/* Where row i of a matrix goes: of a head (i, i + half) become neighbours. */
static uint64_t
zipped(uint64_t i, uint64_t head)
{
	uint64_t in = i % head, half = head / 2;

	return i - in + (in < half ? 2 * in : 2 * (in - half) + 1);
}

static int
store(void *arg, int part, uint64_t at, const void *p, size_t n)
{
	const struct target *to = arg;
	const unsigned char *from = p;

	(void)part;
	if (quant_check_signal(to->w->q) < 0)
		return -1;
	if (!to->w->q->out)
		return 0;
	if (!to->head)
		return gguf_file_write(&to->w->file, to->t, to->at + at, p, n);
	for (size_t i = 0; i < n; i += to->row)
		if (gguf_file_write(&to->w->file, to->t, to->at + zipped((at + i) / to->row,
		    (uint64_t)to->head) * to->row, from + i, to->row) < 0)
			return -1;
	return 0;
}

/* The norms, biases and routers, in float32. */
static int
write_vector(struct writer *w, const struct made *m, struct target *to)
{
	float *x = layout_vector(&w->q->model->weights, m->w.rows, m->w.name);
	int r;

	if (!x)
		return -1;
	to->row = sizeof(*x);
	r = store(to, 0, 0, x, (size_t)m->w.rows * sizeof(*x));
	free(x);
	return r;
}

static int
write_rows(struct writer *w, const struct mat *from, const struct weight *one,
    const struct made *m, struct target *to)
{
	if (from->dtype != m->dtype || one->row->kind != WEIGHT_PLAIN)
		return quant_convert(w->q, from, m->dtype, one->name, store, to, w->all);
	for (int i = 0, n; i < from->rows; i += n) {
		n = from->rows - i < 4096 ? from->rows - i : 4096;
		if (store(to, 0, (uint64_t)i * to->row, (const unsigned char *)from->data +
		    (size_t)i * to->row, (size_t)n * to->row) < 0)
			return -1;
	}
	return 0;
}

/* One half of the rows of a head as float32: of keys transposed, [R][nope], of values [v][R]. */
static void
read_head(const struct writer *w, float *out, float *row, const struct kv_b *b, int head,
    enum order half)
{
	int R = b->k.cols, rows = half == OF_KEYS ? b->nope : b->values;

	for (int i = 0; i < rows; i++) {
		if (half == OF_VALUES) {
			kv_b_row(b, w->q->k, out + (size_t)i * (size_t)R, head, b->nope + i);
			continue;
		}
		kv_b_row(b, w->q->k, row, head, i);
		for (int j = 0; j < R; j++)
			out[(size_t)j * (size_t)rows + (size_t)i] = row[j];
	}
}

static int
write_half(struct writer *w, const struct made *m, struct target *to)
{
	int heads = w->q->config.num_heads;
	struct mat half = {.rows = heads * (int)m->dims[1], .cols = (int)m->dims[0], .dtype = F32};
	size_t head = (size_t)m->dims[1] * (size_t)half.cols;
	float *x = mem_raw((size_t)heads * head, sizeof(*x));
	float *row = mem_raw((size_t)m->w.cols, sizeof(*row));
	struct kv_b b;
	int r = x && row ? kv_b_open(&b, w->q->model, m->w.layer) : -1;

	for (int h = 0; r == 0 && h < heads; h++)
		read_head(w, x + (size_t)h * head, row, &b, h, m->order);
	half.data = x;
	if (r == 0)
		r = quant_convert(w->q, &half, m->dtype, m->w.name, store, to, w->all);
	free(x);
	free(row);
	return r;
}

static int
write_one(struct writer *w, const struct made *m, const struct gguf_file_tensor *t)
{
	struct target to = {.w = w, .t = t, .row = dtype_row(m->dtype, (int)m->dims[0]),
	    .head = m->heads ? m->w.rows / m->heads : 0};
	int experts = m->order == OF_EXPERTS ? w->q->config.n_routed_experts : 1;
	struct weight one = m->w;
	struct mat from;

	if (m->w.cols == 0)
		return write_vector(w, m, &to);
	if (m->w.row->role == ROLE_KV_B)
		return write_half(w, m, &to);
	for (int e = 0; e < experts; e++) {
		if (e > 0 && !weight_find(&one, &w->q->config, one.row->role, one.layer, e))
			return fail(FAIL_DATA, "no expert %d", e);
		if (layout_mat(&w->q->model->weights, &from, one.rows, one.cols, one.name) < 0 ||
		    write_rows(w, &from, &one, m, &to) < 0)
			return -1;
		to.at += (uint64_t)from.rows * to.row;
	}
	return 0;
}

static int
write_rope_factors(struct writer *w, const struct gguf_file_tensor *t)
{
	struct target to = {.w = w, .t = t};
	int r = 0;

	for (int i = 0; r == 0 && i < w->q->config.head_dim / 2; i++) {
		float x = gguf_rope_factor(&w->q->config, i);

		r = store(&to, 0, (uint64_t)i * sizeof(x), &x, sizeof(x));
	}
	return r;
}

static int
write_all(struct writer *w)
{
	struct gguf_file *f = &w->file;
	int llama3 = w->q->config.rope.type == ROPE_LLAMA3;

	if (plan(w) < 0 || f->failed || (w->q->out && gguf_file_create(f, w->q->out) < 0))
		return -1;
	for (size_t i = 0; i < f->ntensors - (size_t)llama3; i++)
		if (write_one(w, &w->made[i], &f->tensors[i]) < 0)
			return -1;
	return llama3 ? write_rope_factors(w, &f->tensors[f->ntensors - 1]) : 0;
}

/* Bytes of all tensors of the model. */
static int
count_before(struct quant *q)
{
	for (size_t i = 0; i < q->model->weights.nshards; i++) {
		struct shard *s = &q->model->weights.shards[i];

		if (shard_open(s) < 0)
			return -1;
		for (size_t t = 0; t < s->file.n; t++)
			q->before += s->file.tensors[t].end - s->file.tensors[t].begin;
	}
	return 0;
}

int
gguf_write(struct quant *q, struct loss *all)
{
	struct writer w = {.q = q, .file = {.fd = -1}, .all = all};
	int file_type = q->to == BF16 ? 32 : 7;         /* of enum llama_ftype */
	int r;

	if (!gguf_architecture(&q->config) || count_before(q) < 0)
		return -1;
	gguf_put_config(&w.file, &q->config, file_type);
	r = gguf_put_tokenizer(&w.file, q->model) < 0 ? -1 : write_all(&w);
	q->after = w.file.bytes;
	if (gguf_file_close(&w.file, r == 0 && q->out) < 0)
		r = -1;
	free(w.made);
	return r;
}
