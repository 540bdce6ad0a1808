#include "stage/join_merge.h"

#include <string.h>

#include "base/fail.h"

int
merge_is_tap(const struct tensor *t)
{
	return strncmp(t->name, "expert.", 7) == 0 && strchr(t->name, '@') != NULL;
}

static int
alike(const struct tensor *a, const struct tensor *b)
{
	return a->dtype == b->dtype && a->rank == b->rank &&
	    memcmp(a->shape, b->shape, sizeof(a->shape[0]) * (size_t)a->rank) == 0;
}

/* Each entry comes from the process that computed the expert.  */
static int
merge_each(struct tensor *to, const struct tensor *from, uint64_t rows, const struct partial *p, const struct config *c)
{
	size_t K = (size_t)c->num_experts_per_tok, bytes = (size_t)c->hidden_size * sizeof(float);

	if (!p->idx || !alike(to, from) || to->dtype != F32 || to->rank != 3 || to->shape[0] != rows ||
	    to->shape[1] != K || to->shape[2] != (uint64_t)c->hidden_size)
		return -1;
	for (size_t i = 0; i < rows * K; i++)
		if (p->done.has[p->idx[i]])
			memcpy((char *)to->data + i * bytes, (const char *)from->data + i * bytes, bytes);
	return 0;
}

int
merge_taps(struct frame *to, struct frame *from, const struct partial *p, const struct config *c)
{
	char each[64];

	tap_name(TAP_EXPERT_EACH, from->layer, each, sizeof(each));
	for (int i = 0; i < from->ntensors; i++) {
		const struct tensor *t = &from->tensors[i];
		struct tensor *u = frame_tensor(to, t->name);

		if (!merge_is_tap(t))
			continue;
		if (!u) {
			if (!(u = frame_add(to, t->name, t->dtype, t->rank, t->shape)))
				return -1;
			memcpy(u->data, t->data, t->bytes);
		} else if (!(alike(t, u) && (t->bytes == 0 || memcmp(t->data, u->data, t->bytes) == 0)) &&
		    (strcmp(t->name, each) != 0 || merge_each(u, t, from->rows, p, c) < 0)) {
			return fail(FAIL_DATA, "tensor '%s' differs from that of the inputs before", t->name);
		}
	}
	return 0;
}
