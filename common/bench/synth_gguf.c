#include "bench/synth_gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "quant/gguf_file.h"
#include "quant/gguf_keys.h"
#include "weights/gguf_tensors.h"

static const struct gguf_file_tensor *
find(const struct gguf_file *f, const char *name)
{
	for (size_t i = f->ntensors; i-- > 0; )         /* the last ones are of the same layer */
		if (strcmp(f->tensors[i].name, name) == 0)
			return &f->tensors[i];
	return NULL;
}

/* Its name in the file, of an expert that of all. */
static int
name_of(const struct shape_tensor *t, char to[64])
{
	const char *end = gguf_tensor_name(t->name);
	int layer;

	if (!end)
		return fail(FAIL_USAGE, "GGUF has no name for tensor '%s'", t->name);
	if (sscanf(t->name, "model.layers.%d.", &layer) == 1)
		snprintf(to, 64, "blk.%d.%s", layer, end);
	else
		snprintf(to, 64, "%s", end);
	return 0;
}

static int
add(struct gguf_file *f, struct shape_tensor *t, int experts)
{
	const uint64_t *shape = t->part.shape;
	uint64_t dims[3] = {shape[0], 0, (uint64_t)experts};
	const struct gguf_file_tensor *at;
	char name[64];

	if (name_of(t, name) < 0)
		return -1;
	if (t->part.rank == 2) {
		dims[0] = shape[1];
		dims[1] = shape[0];
	}
	if (t->expert <= 0)
		gguf_put_tensor(f, name, t->dtype, t->part.rank + (t->expert == 0), dims);
	if (!(at = find(f, name)))
		return -1;
	t->begin = at->at + (t->expert > 0 ? (uint64_t)t->expert * t->part.bytes : 0);
	return 0;
}

int
synth_gguf(struct shape_list *l, const struct config *c, struct buf *b)
{
	static const char none[] = "none";
	struct gguf_file f = {.fd = -1};
	int r = 0;

	if (!gguf_architecture(c))
		return -1;
	if (c->rope.type == ROPE_LLAMA3)
		return fail(FAIL_USAGE, "no weights of block types are made for rope_type llama3");
	gguf_put_config(&f, c, 0);
	gguf_put_string(&f, "tokenizer.ggml.model", none, strlen(none));
	for (size_t i = 0; r == 0 && i < l->n; i++)
		r = add(&f, &l->t[i], c->n_routed_experts);
	if (r == 0)
		r = gguf_file_header(&f, b);
	l->bytes = f.bytes;
	if (gguf_file_close(&f, 0) < 0)
		r = -1;
	return r;
}
