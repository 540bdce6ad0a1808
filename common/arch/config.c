#include "arch/config.h"

#include <string.h>

#include "arch/arch.h"
#include "arch/config_gguf.h"
#include "arch/config_internal.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"
#include "base/json.h"
#include "kernels.h"

#define CONFIG_BYTES_MAX (1 << 20)
#define TYPES_MAX 32            /* values of model_type, of all families together */

int
config_fields(struct config *c, const cJSON *o, const struct config_field *f)
{
	for (; f->key; f++)
		if (json_int(o, f->key, f->need, f->min, f->max, (int *)((char *)c + f->at)) < 0)
			return -1;
	return 0;
}

int
config_float(const cJSON *o, const char *key, enum json_presence need, double min, double max,
    float *out)
{
	double d = *out;

	if (json_number(o, key, need, min, max, &d) < 0)
		return -1;
	*out = (float)d;
	return 0;
}

int
config_must_be(const cJSON *o, const char *key, int value)
{
	int is = value;

	if (json_bool(o, key, JSON_OPTIONAL, &is) < 0)
		return -1;
	return is == value ? 0 : fail(FAIL_DATA, "%s is %s, which is not supported", key,
	    is ? "true" : "false");
}

int
config_architecture(const cJSON *o, const char *architecture, const char *type)
{
	const cJSON *list = NULL, *a;

	if (json_array(o, "architectures", JSON_OPTIONAL, &list) < 0)
		return -1;
	cJSON_ArrayForEach(a, list)
		if (!cJSON_IsString(a) || strcmp(a->valuestring, architecture) != 0)
			return fail(FAIL_DATA, "architectures has '%.100s', which is not supported "
			    "with model_type %s", cJSON_IsString(a) ? a->valuestring : "no string",
			    type);
	return 0;
}

static int
read_fp8(struct config *c, const cJSON *q)
{
	static const char *const formats[] = {"e4m3", NULL};
	const cJSON *block = NULL, *v;
	uint64_t n;
	int i;

	if (json_choice(q, "fmt", JSON_OPTIONAL, formats, &i) < 0 ||
	    json_array(q, "weight_block_size", JSON_REQUIRED, &block) < 0)
		return -1;
	cJSON_ArrayForEach(v, block)
		if (json_whole(v, FP8_BLOCK, &n) < 0 || n != FP8_BLOCK)
			block = NULL;
	if (cJSON_GetArraySize(block) != 2)
		return fail(FAIL_DATA, "weight_block_size is not [%d, %d]", FP8_BLOCK, FP8_BLOCK);
	c->fp8 = 1;
	return 0;
}

cJSON *
config_fp8(void)
{
	/* The order of the keys is part of the model's id. */
	cJSON *q = cJSON_CreateObject();
	cJSON *block = cJSON_AddArrayToObject(q, "weight_block_size");

	cJSON_AddStringToObject(q, "quant_method", "fp8");
	cJSON_AddStringToObject(q, "fmt", "e4m3");
	cJSON_AddStringToObject(q, "activation_scheme", "dynamic");
	for (int i = 0; i < 2; i++)
		cJSON_AddItemToArray(block, cJSON_CreateNumber(FP8_BLOCK));
	return q;
}

/* As ds-quant writes it. */
static int
read_groups(struct config *c, const cJSON *q)
{
	static const char *const formats[] = {"q8", "q4", NULL}, *const others[] = {"fp8", NULL};
	int format = 0, size = 0, other = -1;

	if (json_choice(q, "format", JSON_REQUIRED, formats, &format) < 0 ||
	    json_int(q, "group_size", JSON_REQUIRED, QUANT_GROUP, QUANT_GROUP, &size) < 0 ||
	    json_bool(q, "experts_only", JSON_OPTIONAL, &c->quant_experts) < 0 ||
	    json_bool(q, "head", JSON_OPTIONAL, &c->quant_head) < 0 ||
	    json_choice(q, "others", JSON_OPTIONAL, others, &other) < 0)
		return -1;
	c->quant = format == 0 ? 8 : 4;
	c->fp8 = other == 0;
	return 0;
}

static int
read_quantization(struct config *c, const cJSON *o)
{
	static const char *const methods[] = {"fp8", "dspipe", NULL};
	const cJSON *q = NULL;
	int method = 0, got = json_object(o, "quantization_config", JSON_OPTIONAL, &q);

	if (got <= 0)
		return got;
	if (json_choice(q, "quant_method", JSON_REQUIRED, methods, &method) < 0 ||
	    (method == 0 ? read_fp8(c, q) : read_groups(c, q)) < 0)
		return fail_in("quantization_config");
	return 0;
}

/* eos_token_id: an id or a list of ids. */
static int
read_eos(struct generation *g, const cJSON *o, int vocab)
{
	const cJSON *e, *list = NULL;
	uint64_t id;
	int got = json_get(o, "eos_token_id", JSON_OPTIONAL, &e);

	if (got <= 0)
		return got;
	g->neos = 0;
	if (cJSON_IsArray(e)) {
		list = e;
		e = e->child;
	}
	for (; e; e = list ? e->next : NULL) {
		if (json_whole(e, (uint64_t)vocab - 1, &id) < 0)
			return cJSON_IsNumber(e) ?
			    fail(FAIL_DATA, "eos_token_id is %.17g, must be an id below vocab_size, "
			    "%d", e->valuedouble, vocab) :
			    fail(FAIL_DATA, "eos_token_id is no id and no list of ids");
		if (g->neos == CONFIG_EOS_MAX)
			return fail(FAIL_DATA, "eos_token_id has more than %d ids", CONFIG_EOS_MAX);
		g->eos[g->neos++] = (int)id;
	}
	return 0;
}

/* model_type: the family, and which of its types. */
static int
read_family(struct config *c, const cJSON *o, int *type)
{
	const char *known[TYPES_MAX + 1] = {NULL};
	struct { const struct arch *arch; int type; } of[TYPES_MAX];
	int n = 0, i = 0;

	for (int a = 0; archs[a]; a++)
		for (int t = 0; archs[a]->types[t] && n < TYPES_MAX; t++, n++) {
			known[n] = archs[a]->types[t];
			of[n].arch = archs[a];
			of[n].type = t;
		}
	if (json_choice(o, "model_type", JSON_REQUIRED, known, &i) < 0)
		return -1;
	c->arch = of[i].arch;
	c->type = known[i];
	*type = of[i].type;
	return 0;
}

static int
read_config(struct config *c, const cJSON *o)
{
	int type = 0;

	c->rms_norm_eps = 1e-6f;
	c->moe_layer_freq = 1;
	c->bos = -1;
	if (read_family(c, o, &type) < 0 || c->arch->config(c, o, type) < 0 ||
	    read_quantization(c, o) < 0 ||
	    config_float(o, "rms_norm_eps", JSON_OPTIONAL, 1e-12, 1, &c->rms_norm_eps) < 0 ||
	    json_bool(o, "tie_word_embeddings", JSON_OPTIONAL, &c->tie_word_embeddings) < 0 ||
	    json_int(o, "bos_token_id", JSON_OPTIONAL, 0, c->vocab_size - 1, &c->bos) < 0)
		return -1;
	return read_eos(&c->generation, o, c->vocab_size);
}

/* top_k: 0 is off, and so is -1 (as in vLLM) and any number that no vocabulary has. */
static int
read_top_k(struct generation *g, const cJSON *o)
{
	double k = g->top_k;

	if (json_number(o, "top_k", JSON_OPTIONAL, -1, 0x1p53, &k) < 0)
		return -1;
	if (k != (double)(int64_t)k)
		return fail(FAIL_DATA, "top_k is %.17g, must be an integer", k);
	g->top_k = k < 0 || k > VOCAB_MAX ? 0 : (int)k;
	return 0;
}

static int
read_generation(struct generation *g, const cJSON *o, int vocab)
{
	if (json_bool(o, "do_sample", JSON_OPTIONAL, &g->do_sample) < 0 ||
	    config_float(o, "temperature", JSON_OPTIONAL, 0, 1000, &g->temperature) < 0 ||
	    config_float(o, "top_p", JSON_OPTIONAL, 0, 1, &g->top_p) < 0 ||
	    read_top_k(g, o) < 0)
		return -1;
	return read_eos(g, o, vocab);
}

static int
load_folder(struct config *c, const char *dir)
{
	char path[4096];
	cJSON *o;
	int r;

	if (io_path(path, sizeof(path), dir, "config.json") < 0)
		return -1;
	if (!file_exists(path) && checkpoint_hint(dir, "config.json"))
		return -1;
	if (!(o = json_load(path, CONFIG_BYTES_MAX)))
		return -1;
	r = read_config(c, o);
	cJSON_Delete(o);
	if (r < 0)
		return fail_in("'%s'", path);
	if (io_path(path, sizeof(path), dir, "generation_config.json") < 0)
		return -1;
	if (!file_exists(path))
		return 0;
	if (!(o = json_load(path, CONFIG_BYTES_MAX)))
		return -1;
	r = read_generation(&c->generation, o, c->vocab_size);
	cJSON_Delete(o);
	return r < 0 ? fail_in("'%s'", path) : 0;
}

int
config_read(struct config *c, struct checkpoint *w)
{
	cJSON *o;
	int r;

	memset(c, 0, sizeof(*c));
	c->generation.temperature = c->generation.top_p = 1;
	if (!checkpoint_gguf(w))
		return load_folder(c, w->dir);
	if (!(o = config_of_gguf(w)))
		return fail_in("'%s'", w->dir);
	r = read_config(c, o) < 0 || read_generation(&c->generation, o, c->vocab_size) < 0 ? -1 : 0;
	cJSON_Delete(o);
	return r < 0 ? fail_in("'%s'", w->dir) : 0;
}

int
config_load(struct config *c, const char *path)
{
	struct checkpoint w = {.dir = (char *)(uintptr_t)path};
	int r;

	if (!gguf_is(path))
		return config_read(c, &w);
	if (checkpoint_open(&w, path) < 0)
		return -1;
	r = config_read(c, &w);
	checkpoint_close(&w);
	return r;
}

static int
has(const struct layer_set *set, int layer)
{
	return layer < LAYERS_MAX && (set->bits[layer / 8] >> layer % 8 & 1);
}

int
config_is_moe(const struct config *c, int layer)
{
	return c->n_routed_experts > 0 && layer >= c->first_k_dense_replace &&
	    layer % c->moe_layer_freq == 0 && !has(&c->dense, layer);
}

int
config_window(const struct config *c, int layer)
{
	return has(&c->windowed, layer) ? c->sliding_window : 0;
}
