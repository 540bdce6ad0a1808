#include "arch/model.h"

#include "base/fail.h"
#include "weights/layout.h"

int
model_open(struct model *m, const char *dir)
{
	*m = (struct model){0};
	/* a folder's config.json first: what is wrong with a model is often there */
	if (gguf_is(dir) ?
	    checkpoint_open(&m->weights, dir) == 0 && config_read(&m->config, &m->weights) == 0 :
	    config_load(&m->config, dir) == 0 && checkpoint_open(&m->weights, dir) == 0)
		return 0;
	model_close(m);
	return -1;
}

void
model_close(struct model *m)
{
	checkpoint_close(&m->weights);
	*m = (struct model){0};
}

/* 0, or -1 and a message where the family has no such tensor. */
static int
find(const struct model *m, struct weight *w, enum role role, int layer, int expert)
{
	return weight_find(w, &m->config, role, layer, expert) ? 0 :
	    fail(FAIL_DATA, "'%.400s': no tensor has role %d in layer %d", m->weights.dir,
	    (int)role, layer);
}

int
model_weight(struct model *m, enum role role, int layer, int expert, struct mat *w)
{
	struct weight t;

	if (find(m, &t, role, layer, expert) < 0 ||
	    layout_mat(&m->weights, w, t.rows, t.cols, t.name) < 0)
		return -1;
	/* the shape does not say how many heads it is divided into */
	if (w->turned && w->turned != m->config.qk_nope_head_dim)
		return fail(FAIL_DATA, "tensor '%s' has heads of %d rows, must be %d", t.name,
		    w->turned, m->config.qk_nope_head_dim);
	return 0;
}

float *
model_vector(struct model *m, enum role role, int layer)
{
	struct weight t;

	return find(m, &t, role, layer, -1) < 0 ? NULL : layout_vector(&m->weights, t.rows, t.name);
}
