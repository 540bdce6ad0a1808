#include "learn/control.h"

#include <msgpack.h>
#include <string.h>

#include "base/fail.h"
#include "learn/norm.h"
#include "learn/save.h"

/* Whether the process has a tensor of that kind; own: with gradients of its own. */
static int
has_shared(const struct learn *l, enum shared shared, int own)
{
	for (size_t i = 0; i < l->nparams; i++) {
		const struct param *p = l->params[i];

		/* (both ends of tied embeddings have gradients, norms only their owner) */
		if (p->shared == shared && (!own || p->owner || shared == SHARED_EMBED))
			return 1;
	}
	return 0;
}

/* The sums of a kind in the frame, if the process has such tensors.  make: add zeros where there
 * are none.  0, or -1 and a message. */
static int
find_sums(const struct learn *l, struct frame *f, enum shared shared, int make, int64_t **out)
{
	const struct config *c = &l->model->config;
	const char *name = shared == SHARED_EMBED ? GRAD_EMBED : GRAD_MLP_NORM;
	uint64_t rows = (uint64_t)(shared == SHARED_EMBED ? c->vocab_size : c->num_layers);
	uint64_t shape[] = {rows, (uint64_t)c->hidden_size};
	struct tensor *t;

	*out = NULL;
	if (!has_shared(l, shared, make))
		return 0;
	if (make && !frame_tensor(f, name)) {
		if (!(t = frame_add(f, name, I64, 2, shape)))
			return -1;
		memset(t->data, 0, t->bytes);
	} else if (!(t = frame_require(f, name, I64, shape[0], shape[1]))) {
		return -1;
	}
	*out = t->data;
	return 0;
}

static int
find_shared(const struct learn *l, struct frame *f, int make, struct learn_shared *sums)
{
	return find_sums(l, f, SHARED_MLP_NORM, make, &sums->mlp_norm) < 0 ||
	    find_sums(l, f, SHARED_EMBED, make, &sums->embed) < 0 ? -1 : 0;
}

/* Append who, or [who, high, low] of a sum. */
static int
append(const struct learn *l, struct frame *f, const char *key, const learn_square *sum)
{
	msgpack_sbuffer b;
	msgpack_packer k;
	size_t n = strlen(l->who);
	int r;

	msgpack_sbuffer_init(&b);
	msgpack_packer_init(&k, &b, msgpack_sbuffer_write);
	if (sum)
		msgpack_pack_array(&k, 3);
	msgpack_pack_str(&k, n);
	msgpack_pack_str_body(&k, l->who, n);
	if (sum) {
		msgpack_pack_uint64(&k, (uint64_t)(*sum >> 64));
		msgpack_pack_uint64(&k, (uint64_t)*sum);
	}
	r = frame_append(f, key, b.data, b.size);
	msgpack_sbuffer_destroy(&b);
	return r;
}

static int
control_norm(struct learn *l, struct frame *f)
{
	struct learn_shared sums;
	learn_square sum;

	return learn_norm(l, f->step.weight, &sum) < 0 || find_shared(l, f, 1, &sums) < 0 ||
	    learn_share(l, &sums) < 0 ? -1 : append(l, f, "squares", &sum);
}

static int
control_step(struct learn *l, struct frame *f)
{
	struct learn_shared sums;

	if (f->step.t != l->step + 1)
		return fail(FAIL_DATA, "it is step %llu, must be %llu: this process has another "
		    "state", (unsigned long long)f->step.t, (unsigned long long)l->step + 1);
	if (find_shared(l, f, 0, &sums) < 0 || learn_step(l, &f->step, &sums) < 0)
		return -1;
	l->step = f->step.t;
	return 0;
}

static int
control_save(struct learn *l, struct frame *f)
{
	return learn_save(l, f->step.what, f->step.folder, f->step.weight) < 0 ? -1 :
	    append(l, f, "shards", NULL);
}

int
learn_control(struct learn *l, struct frame *f)
{
	switch (f->op) {
	case OP_NORM:
		return control_norm(l, f) < 0 ? fail_in("norm") : 0;
	case OP_STEP:
		return control_step(l, f) < 0 ? fail_in("step") : 0;
	case OP_SAVE_WEIGHTS:
		return control_save(l, f) < 0 ? fail_in("save") : 0;
	default:
		return 0;
	}
}
