#include "arch/sizes.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "coded.h"
#include "weights/layout.h"

struct walk {
	struct sizes *s;
	struct checkpoint *files;       /* its headers, or its index; NULL: neither */
	int shapes;                     /* 1: headers are not there to be read */
	enum dtype plain;               /* of what is not quantized */
};

/* What a tensor is counted in. */
static struct weight_size *
size_of(struct sizes *s, const struct weight *w)
{
	struct layer_size *l = w->layer < 0 ? NULL : &s->layers[w->layer];

	if (!l)
		return w->row->stage == AT_EMBED ? &s->embed : &s->head;
	return (struct weight_size *[WEIGHT_GROUPS]){[WEIGHTS_ATTN] = &l->attn,
	    [WEIGHTS_ROUTE] = &l->route, [WEIGHTS_ROUTED] = &l->routed,
	    [WEIGHTS_SHARED] = &l->shared}[weight_group(w->row)];
}

static void
add(struct weight_size *to, struct weight_size p)
{
	to->bytes += p.bytes;
	to->params += p.params;
	to->coded += p.coded;
}

/* Bytes, and how it is stored: 0, or -1 and a message. */
static int
measure(const struct walk *k, const struct weight *w, enum dtype *dtype, uint64_t *bytes)
{
	struct layout l;

	*dtype = weight_dtype(w->row, &k->s->config, k->plain);
	*bytes = layout_bytes(*dtype, (uint64_t)w->rows, (uint64_t)w->cols);
	if (k->shapes)
		return !k->files || checkpoint_has(k->files, w->name) ? 0 :
		    fail(FAIL_DATA, "the index of '%.300s' has no tensor '%s'", k->files->dir,
		    w->name);
	if (layout_find(&l, k->files, w->name, (size_t)w->rows, (size_t)w->cols) < 0)
		return -1;
	*dtype = l.dtype;
	*bytes = l.bytes;
	return 0;
}

static int
count(struct walk *k, const struct weight *w)
{
	struct sizes *s = k->s;
	struct layout_part parts[LAYOUT_PARTS];
	struct weight_size size = {.params = (uint64_t)w->rows * (uint64_t)(w->cols ? w->cols : 1)};
	enum dtype dtype;

	if (measure(k, w, &dtype, &size.bytes) < 0)
		return -1;
	size.coded = dtype_coded(dtype) ? size.params : 0;
	s->names += (uint64_t)layout_parts(parts, dtype, (uint64_t)w->rows, (uint64_t)w->cols);
	add(size_of(s, w), size);
	if (w->row->role == ROLE_HEAD && s->config.tie_word_embeddings)
		return 0;
	add(&s->total, size);
	if (!k->shapes)
		add(&s->types[dtype], size);
	return 0;
}

static int
count_all(struct walk *k)
{
	struct sizes *s = k->s;
	const struct config *c = &s->config;

	for (int i = -1; i < c->num_layers; i++)
		for (struct weight w = {0}; weight_next(&w, c, i); )
			if (count(k, &w) < 0)
				return -1;
	s->active = s->head.params + (uint64_t)c->hidden_size;
	for (int i = 0; i < c->num_layers; i++) {
		struct layer_size *l = &s->layers[i];

		l->moe = config_is_moe(c, i);
		s->active += l->attn.params + l->route.params + l->shared.params;
		if (l->moe)
			s->active += l->routed.params / (uint64_t)c->n_routed_experts *
			    (uint64_t)c->num_experts_per_tok;
	}
	return 0;
}

/* torch_dtype; nothing else reads it, so it is not in struct config. */
static int
plain_dtype(const char *dir, enum dtype *dtype)
{
	static const char *const names[] = {"bfloat16", "float16", "float32", NULL};
	static const enum dtype dtypes[] = {BF16, F16, F32};
	char path[4096];
	cJSON *o;
	int i = 0, r;

	if (io_path(path, sizeof(path), dir, "config.json") < 0 || !(o = json_load(path, 1 << 20)))
		return -1;
	r = json_choice(o, "torch_dtype", JSON_OPTIONAL, names, &i);
	if (r == 0)
		r = json_choice(o, "dtype", JSON_OPTIONAL, names, &i);
	cJSON_Delete(o);
	*dtype = dtypes[i];
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
sizes_walk(struct walk *k, const char *dir)
{
	struct sizes *s = k->s;
	size_t L = (size_t)s->config.num_layers;

	if (!(s->layers = mem_new(L, sizeof(*s->layers))) ||
	    !(s->sum = mem_new(L + 1, sizeof(*s->sum))))
		return -1;
	if ((k->shapes && plain_dtype(dir, &k->plain) < 0) || count_all(k) < 0)
		return -1;
	sum_up(s);
	return 0;
}

int
sizes_open(struct sizes *s, const char *dir, int shapes)
{
	/* the headers of a GGUF file are in it */
	struct walk k = {.s = s, .shapes = shapes && !gguf_is(dir)};
	struct model m = {0};
	char index[4096];
	int r;

	memset(s, 0, sizeof(*s));
	if (io_path(index, sizeof(index), dir, CHECKPOINT_INDEX) < 0)
		return -1;
	if (k.shapes && access(index, F_OK) < 0) {
		r = config_load(&s->config, dir);
	} else {
		r = model_open(&m, dir);
		s->config = m.config;
		k.files = &m.weights;
	}
	if (r == 0)
		r = sizes_walk(&k, dir);
	model_close(&m);
	return r;
}

int
sizes_have_codes(const struct sizes *s)
{
	uint64_t n = s->head.coded;

	for (const struct layer_size *l = s->layers; l < s->layers + s->config.num_layers; l++)
		n += l->attn.coded + l->shared.coded + l->routed.coded;
	return n > 0;
}

void
sizes_close(struct sizes *s)
{
	free(s->layers);
	free(s->sum);
	memset(s, 0, sizeof(*s));
}
