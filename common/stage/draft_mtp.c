#include "stage/draft_mtp.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "device/ops.h"

/* --- weights --- */

/* The layer's own tensor of that role, or the model's.  */
static int
own_or_shared(const struct stage *s, enum role own, enum role shared, struct mat *w)
{
	const struct config *c = &s->model->config;
	struct weight t;

	if (weight_find(&t, c, own, c->num_layers, -1) &&
	    checkpoint_has(&s->model->weights, t.name))
		return model_weight(s->model, own, c->num_layers, -1, w);
	return model_weight(s->model, shared, -1, -1, w);
}

static int
has_layer(const struct model *m)
{
	struct weight t;

	return weight_find(&t, &m->config, ROLE_MTP_HIDDEN_NORM, m->config.num_layers, -1) &&
	    checkpoint_has(&m->weights, t.name);
}

/* The table of embeddings is read by the host.  */
static int
weights_open(struct mtp *m, const struct stage *s)
{
	int layer = s->model->config.num_layers;

	if (!(m->embed_norm = model_vector(s->model, ROLE_MTP_EMBED_NORM, layer)) ||
	    !(m->hidden_norm = model_vector(s->model, ROLE_MTP_HIDDEN_NORM, layer)) ||
	    !(m->final_norm = model_vector(s->model, ROLE_MTP_FINAL_NORM, layer)) ||
	    model_weight(s->model, ROLE_MTP_JOIN, layer, -1, &m->join) < 0)
		return -1;
	return own_or_shared(s, ROLE_MTP_EMBED, ROLE_EMBED, &m->embed) < 0 ? -1 :
	    own_or_shared(s, ROLE_MTP_HEAD, ROLE_HEAD, &m->head);
}

static int
weights_register(struct mtp *m, struct device *d, size_t D)
{
	return device_register_vec(d, &m->embed_norm, D) < 0 ||
	    device_register_vec(d, &m->hidden_norm, D) < 0 ||
	    device_register_vec(d, &m->final_norm, D) < 0 ||
	    device_register(d, &m->join) < 0 || device_register(d, &m->head) < 0 ? -1 : 0;
}

int
mtp_open(struct mtp *m, const struct stage *s)
{
	const struct config *c = &s->model->config;
	size_t D = (size_t)c->hidden_size;

	if (!has_layer(s->model) || c->num_layers + 1 > LAYERS_MAX)
		return fail(FAIL_DATA, "'%s': the model has no layer for multi-token prediction: "
		    "prompt is the other kind of draft", s->model->weights.dir);
	m->model = *s->model;           /* the files stay the stage's */
	m->model.config.num_layers++;
	m->s = *s;
	m->s.model = &m->model;
	m->s.taps = 0;
	memset(&m->s.layers, 0, sizeof(m->s.layers));
	m->s.layers.has[c->num_layers] = 1;
	if (weights_open(m, s) < 0 || weights_register(m, s->device, D) < 0)
		return -1;
	s->device->expected += ARENA_ROWS * 4 * D * sizeof(float);
	return block_open(&m->block, &m->s);
}

void
mtp_close(struct mtp *m)
{
	struct device *d = m->s.device;

	if (!d)
		return;
	if (m->block.s)
		block_close(&m->block);
	device_vec_free(d, m->embed_norm);
	device_vec_free(d, m->hidden_norm);
	device_vec_free(d, m->final_norm);
	d->ops->release(d, &m->rows);
	d->ops->mirror_free(d, &m->wanted);
	scratch_free(&m->host);
	scratch_free(&m->logits);
}

struct cache *
mtp_cache(struct mtp *m)
{
	return &m->block.attn.attention.layers[m->model.config.num_layers - 1].cache;
}

/* --- rows --- */

/* Intermediate results, of the device.  */
struct layout {
	float *in;                      /* [T][D] embeddings, then hidden states; [n][D] y */
	float *joined;                  /* [T][2 D] */
	float *logits;                  /* [n][V] */
};

static int
layout_rows(struct mtp *m, const struct mtp_rows *r, struct layout *l)
{
	size_t T = (size_t)r->T, D = (size_t)m->model.config.hidden_size,
	    V = (size_t)m->model.config.vocab_size;
	struct arena a = {0};

	for (int pass = 0; pass < 2; pass++) {
		l->in = arena_next(&a, T * D * sizeof(float));
		l->joined = arena_next(&a, 2 * T * D * sizeof(float));
		l->logits = arena_next(&a, (size_t)r->n * V * sizeof(float));
		if (pass == 0 && !(a.base = m->s.device->ops->reserve(m->s.device, &m->rows,
		    a.used)))
			return -1;
		a.used = 0;
	}
	return 0;
}

/* x of all rows becomes the tensor h of f.  */
static int
join(struct mtp *m, const struct mtp_rows *r, const struct layout *l, struct frame *f)
{
	struct device *d = m->s.device;
	int D = m->model.config.hidden_size;
	float eps = m->model.config.rms_norm_eps, *h, *row;
	size_t bytes = (size_t)r->T * (size_t)D * sizeof(float);

	if (!(row = scratch_reserve(&m->host, (size_t)r->T * (size_t)D, sizeof(*row))))
		return -1;
	for (int i = 0; i < r->T; i++)
		m->s.k->row(row + (ptrdiff_t)i * D, &m->embed, r->next[i]);
	if (!(h = d->ops->tensor_add(d, f, "h", F32, 2, (uint64_t[]){(uint64_t)r->T, (uint64_t)D})))
		return -1;
	return d->ops->send(d, l->in, row, bytes) < 0 ||
	    d->ops->norm(d, l->joined, 2 * D, l->in, D, r->T, D, m->embed_norm, eps) < 0 ||
	    d->ops->send(d, l->in, r->hidden, bytes) < 0 ||
	    d->ops->norm(d, l->joined + D, 2 * D, l->in, D, r->T, D, m->hidden_norm, eps) < 0 ||
	    d->ops->product(d, h, D, l->joined, 2 * D, r->T, &m->join, d->k->precision) < 0 ?
	    -1 : 0;
}

static int32_t
likeliest(const float *logits, int n)
{
	int32_t best = 0;

	for (int i = 1; i < n; i++)
		if (logits[i] > logits[best])
			best = i;
	return best;
}

/* From the layer's result in f to guesses.  */
static int
head(struct mtp *m, const struct mtp_rows *r, const struct layout *l, struct frame *f)
{
	struct device *d = m->s.device;
	int D = m->model.config.hidden_size, V = m->model.config.vocab_size;
	const float *h = stage_hidden(&m->s, f);
	size_t n = (size_t)r->n;
	float *logits = scratch_reserve(&m->logits, n * (size_t)V, sizeof(*logits));

	if (!h || !logits)
		return -1;
	if (d->ops->mirror(d, &m->wanted, r->wanted, n * sizeof(*r->wanted)) < 0 ||
	    d->ops->gather(d, l->in, h, m->wanted.p, r->n, D) < 0 ||
	    d->ops->norm(d, l->in, D, l->in, D, r->n, D, m->final_norm,
	    m->model.config.rms_norm_eps) < 0 ||
	    (r->after && d->ops->fetch(d, r->after, l->in, n * (size_t)D * sizeof(float)) < 0) ||
	    d->ops->product(d, l->logits, V, l->in, D, r->n, &m->head, d->k->precision) < 0 ||
	    d->ops->fetch(d, logits, l->logits, n * (size_t)V * sizeof(*logits)) < 0)
		return -1;
	for (int i = 0; i < r->n; i++)
		r->guess[i] = likeliest(logits + (ptrdiff_t)i * V, V);
	return 0;
}

int
mtp_guess(struct mtp *m, const struct mtp_rows *r)
{
	struct layout l;
	struct frame f;
	int result;

	if (r->T == 0)
		return 0;
	frame_init(&f);
	frame_set_at(&f, AT_ATTN, m->model.config.num_layers - 1);
	stage_stamp(&m->s, &f);
	result = layout_rows(m, r, &l) < 0 || frame_set_spans(&f, r->spans, r->nspans) < 0 ||
	    join(m, r, &l, &f) < 0 || block_frame(&m->block, &f, NULL, 0) < 0 ||
	    (r->n > 0 && head(m, r, &l, &f) < 0) ? -1 : 0;
	frame_free(&f);
	return result;
}
