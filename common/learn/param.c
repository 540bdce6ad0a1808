#include "learn/param.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fail.h"
#include "base/mem.h"
#include "weights/layout.h"

#define ADVICE "'ds-quant --head -f bf16' makes a copy that can"

/* --- memory: zeros, whose pages are taken when they are written --- */

static void *
zeros(size_t n, size_t size)
{
	size_t bytes;
	void *p;

	if (size_mul(n, size, &bytes) < 0)
		bytes = SIZE_MAX;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
	    -1, 0);
	if (p != MAP_FAILED)
		return p;
	fail(FAIL_SYSTEM, "no memory for %zu numbers of %zu bytes", n, size);
	return NULL;
}

static void
zeros_free(void *p, size_t n, size_t size)
{
	if (p)
		munmap(p, n * size);
}

static void
param_free(struct param *p)
{
	zeros_free(p->acc, p->n, sizeof(*p->acc));
	zeros_free(p->master, p->n, sizeof(*p->master));
	zeros_free(p->m, p->n, sizeof(*p->m));
	zeros_free(p->v, p->n, sizeof(*p->v));
	free(p->copies);
	free(p);
}

/* --- a process --- */

static int
check_model(const struct learn *l)
{
	const struct model *m = l->model;
	const char *why = checkpoint_gguf(&m->weights) ? "it is a GGUF file: " ADVICE :
	    m->config.quant ? "its weights are those of ds-quant, Q8 or Q4: " ADVICE :
	    m->config.attention == ATTENTION_MLA_INDEXED ? "it has an indexer" :
	    l->k->precision != PRECISION_F32 ? "the precision is not f32" : NULL;

	return why ? fail(FAIL_USAGE, "'%.400s' cannot learn: %s", m->weights.dir, why) : 0;
}

int
learn_open(struct learn *l, struct model *m, const struct kernels *k, struct pool *pool,
    const char *who)
{
	*l = (struct learn){.model = m, .k = k, .pool = pool};
	if (strlen(who) >= sizeof(l->who))
		return fail(FAIL_USAGE, "'%.200s': too long for the name of a shard", who);
	memcpy(l->who, who, strlen(who) + 1);
	return check_model(l) < 0 ? -1 : checkpoint_private(&m->weights);
}

void
learn_close(struct learn *l)
{
	for (size_t i = 0; i < l->nparams; i++)
		param_free(l->params[i]);
	free(l->params);
	table_free(&l->names);
	model_close(&l->origin);
	scratch_free(&l->work);
	*l = (struct learn){0};
}

/* --- tensors --- */

int
weight_learns(const struct config *c, const struct weight *w)
{
	enum role role = w->row->role;

	return w->layer < c->num_layers && role < ROLE_MTP_EMBED &&
	    !(role >= ROLE_INDEX_Q && role <= ROLE_INDEX_WEIGHTS);
}

static enum shared
shared_as(const struct learn *l, enum role role)
{
	if (role == ROLE_MLP_NORM)
		return SHARED_MLP_NORM;
	return role == ROLE_EMBED && l->model->config.tie_word_embeddings ? SHARED_EMBED :
	    SHARED_NONE;
}

/* The stored bytes of p as the forward pass reads them: 0, or -1 and a message. */
static int
open_mat(struct model *m, const struct param *p, struct mat *w)
{
	if (p->cols > 0)
		return layout_mat(&m->weights, w, p->rows, p->cols, p->name);
	*w = (struct mat){.rows = 1, .cols = p->rows, .dtype = p->dtype};
	return checkpoint_data(&m->weights, p->name, &w->data) ? 0 : -1;
}

static int
find_dtype(struct learn *l, struct param *p)
{
	struct layout stored;

	if (layout_find(&stored, &l->model->weights, p->name, (size_t)p->rows, (size_t)p->cols) < 0)
		return -1;
	p->dtype = stored.dtype;
	p->scale_dtype = stored.part[1] ? (enum dtype)stored.part[1]->dtype : F32;
	return p->dtype <= F8_E4M3 ? 0 : fail(FAIL_USAGE, "tensor '%s' is %s, which cannot learn: "
	    "F32, BF16, F16 and F8_E4M3 can; " ADVICE, p->name, dtype_name(p->dtype));
}

static struct param *
add(struct learn *l, const struct weight *w, enum role role)
{
	struct param *p = mem_new(1, sizeof(*p));

	if (!p)
		return NULL;
	p->role = role;
	p->layer = w->layer;
	p->expert = w->expert;
	memcpy(p->name, w->name, sizeof(p->name));
	p->rows = w->rows;
	p->cols = w->cols;
	p->n = (size_t)w->rows * (size_t)(w->cols ? w->cols : 1);
	p->shared = shared_as(l, role);
	if (find_dtype(l, p) == 0 && open_mat(l->model, p, &p->mat) == 0 &&
	    (p->acc = zeros(p->n, sizeof(*p->acc))) &&
	    mem_grow(&l->params, &l->params_cap, l->nparams + 1, sizeof(struct param *)) == 0 &&
	    table_put(&l->names, p->name, strlen(p->name), p) == 0)
		return l->params[l->nparams++] = p;
	param_free(p);
	return NULL;
}

/* The tensor of a role, registered. */
static struct param *
find(struct learn *l, enum role role, int layer, int expert)
{
	struct weight w;
	struct param *p;

	if (!weight_find(&w, &l->model->config, role, layer, expert) ||
	    !weight_learns(&l->model->config, &w)) {
		fail(FAIL_DATA, "'%.400s': no tensor that learns has role %d in layer %d",
		    l->model->weights.dir, (int)role, layer);
		return NULL;
	}
	if (role == ROLE_HEAD && l->model->config.tie_word_embeddings)
		role = ROLE_EMBED;
	if ((p = table_get(&l->names, w.name, strlen(w.name))))
		return p;
	if (l->begun) {
		fail(FAIL_DATA, "tensor '%s' is registered after learning began", w.name);
		return NULL;
	}
	return add(l, &w, role);
}

struct param *
learn_matrix(struct learn *l, enum role role, int layer, int expert)
{
	struct param *p = find(l, role, layer, expert);

	if (p)
		p->owner |= p->shared == SHARED_NONE || role == ROLE_EMBED;
	return p;
}

struct param *
learn_reader(struct learn *l, enum role role, int layer, float *forward)
{
	struct param *p = find(l, role, layer, -1);

	if (!p || mem_grow(&p->copies, &p->copies_cap, p->ncopies + 1, sizeof(float *)) < 0)
		return NULL;
	p->copies[p->ncopies++] = forward;
	return p;
}

struct param *
learn_vector(struct learn *l, enum role role, int layer, float *forward)
{
	struct param *p = learn_reader(l, role, layer, forward);

	if (p)
		p->owner = 1;
	return p;
}

/* --- masters --- */

/* The stored values: 0, or -1 and a message. */
static int
read_master(struct learn *l, struct param *p)
{
	const struct mat *w = &p->origin;

	if (open_mat(&l->origin, p, &p->origin) < 0 || !(p->master = zeros(p->n, sizeof(float))) ||
	    !(p->m = zeros(p->n, sizeof(float))) || !(p->v = zeros(p->n, sizeof(float))))
		return -1;
	for (int r = 0; r < w->rows; r++)
		l->k->row(p->master + (size_t)r * (size_t)w->cols, w, r);
	for (size_t i = 0; i < p->n; i++)
		if (!(p->master[i] - p->master[i] == 0))
			return fail(FAIL_DATA, "tensor '%s' has a weight that is not finite",
			    p->name);
	return 0;
}

int
learn_begin(struct learn *l)
{
	if (l->begun)
		return 0;
	if (model_open(&l->origin, l->model->weights.dir) < 0)
		return -1;
	if (strcmp(l->origin.weights.id, l->model->weights.id) != 0)
		return fail(FAIL_DATA, "'%.400s' was replaced by another model while it was in use",
		    l->model->weights.dir);
	for (size_t i = 0; i < l->nparams; i++)
		if (read_master(l, l->params[i]) < 0)
			return -1;
	l->begun = 1;
	return 0;
}
