/*
 * Keys and their meaning are those of gguf-py's constants.py and of llama.cpp's converter; where a
 * key is missing, the value is the one that llama.cpp assumes.
 */
#include "arch/config_gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/config_gguf_internal.h"
#include "base/fail.h"

/* A key, after that of the architecture, and what config.json calls it. */
struct key {
	const char *gguf, *json;
	int is_float;
	enum json_presence need;
};

static const struct key common[] = {
	{"embedding_length", "hidden_size", 0, JSON_REQUIRED},
	{"feed_forward_length", "intermediate_size", 0, JSON_REQUIRED},
	{"context_length", "max_position_embeddings", 0, JSON_REQUIRED},
	{"attention.head_count", "num_attention_heads", 0, JSON_REQUIRED},
	{"attention.layer_norm_rms_epsilon", "rms_norm_eps", 1, JSON_REQUIRED},
	{"rope.freq_base", "rope_theta", 1, JSON_OPTIONAL},
	{0}
}, none[] = {
	{0}
}, qwen3moe[] = {
	{"expert_count", "num_experts", 0, JSON_REQUIRED},
	{"expert_used_count", "num_experts_per_tok", 0, JSON_REQUIRED},
	{"expert_feed_forward_length", "moe_intermediate_size", 0, JSON_REQUIRED},
	{0}
}, deepseek2[] = {
	{"attention.q_lora_rank", "q_lora_rank", 0, JSON_OPTIONAL},
	{"attention.kv_lora_rank", "kv_lora_rank", 0, JSON_REQUIRED},
	{"leading_dense_block_count", "first_k_dense_replace", 0, JSON_OPTIONAL},
	{"expert_count", "n_routed_experts", 0, JSON_OPTIONAL},
	{"expert_used_count", "num_experts_per_tok", 0, JSON_OPTIONAL},
	{"expert_feed_forward_length", "moe_intermediate_size", 0, JSON_OPTIONAL},
	{"expert_shared_count", "n_shared_experts", 0, JSON_OPTIONAL},
	{0}
};

/* Keys that are read elsewhere, or have no effect. */
static const char *const others[] = {
	"block_count", "nextn_predict_layers", "vocab_size", "attention.head_count_kv",
	"attention.key_length", "attention.value_length", "attention.causal",
	"rope.dimension_count",
	"rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length",
	"rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow",
	"rope.scaling.yarn_log_multiplier", "rope.scaling.attn_factor",
	/* llama.cpp computes the factor of yarn without it, as transformers does */
	"rope.scaling.yarn_attn_factor", "rope.scaling.finetuned",
	"tensor_data_layout",           /* how the release was stored that a file was made from */
	NULL
}, *const others_deepseek2[] = {
	"attention.key_length_mla", "attention.value_length_mla", "expert_group_count",
	"expert_group_used_count", "expert_weights_scale", "expert_weights_norm",
	"expert_gating_func", NULL
};

static const struct family {
	const char *arch, *type;        /* model_type; NULL: more() adds it */
	const struct key *keys;
	const char *const *others;
	int (*more)(const struct metadata *m);
} families[] = {
	{"llama", "llama", none, NULL, metadata_gqa},
	{"qwen2", "qwen2", none, NULL, metadata_gqa},
	{"qwen3", "qwen3", none, NULL, metadata_gqa},
	{"qwen3moe", "qwen3_moe", qwen3moe, NULL, metadata_qwen3moe},
	{"deepseek2", NULL, deepseek2, others_deepseek2, metadata_deepseek2},
	{0}
};

const char *
gguf_name_of(const struct config *c)
{
	const struct family *f = families;

	while (f->arch && strcmp(f->type ? f->type : c->type, c->type) != 0)
		f++;
	return f->arch && (f->type || c->attention == ATTENTION_MLA) ? f->arch : NULL;
}

/* --- values --- */

const char *
metadata_key(const struct metadata *m, const char *key, char to[METADATA_KEY])
{
	snprintf(to, METADATA_KEY, "%s.%s", m->arch, key);
	return to;
}

/* The double that has the fewest digits of those that are d as float32: what a config.json had
 * before a converter rounded it. */
static double
shortest(double d)
{
	char text[40];

	for (int n = 1; n <= 9; n++) {
		snprintf(text, sizeof(text), "%.*g", n, d);
		if (strtof(text, NULL) == (float)d)
			return strtod(text, NULL);
	}
	return d;
}

/* The value that all elements of an array have: some converters write one for each layer. */
static int
find_int(const struct metadata *m, const char *key, enum json_presence need, int64_t *out)
{
	char name[METADATA_KEY];
	const struct gguf_value *v = gguf_find(m->gguf, metadata_key(m, key, name));
	int got;

	if (!v || !v->array)
		return gguf_int(m->gguf, name, need, 0, INT32_MAX, out);
	if ((got = gguf_ints(m->gguf, name, need, &v)) <= 0)
		return got;
	for (uint64_t i = 0; i < v->n; i++)
		if (gguf_element_int(v, i) != gguf_element_int(v, 0))
			return fail(FAIL_DATA, "key '%s' differs between layers, which is not "
			    "supported", name);
	if (v->n == 0 || gguf_element_int(v, 0) < 0 || gguf_element_int(v, 0) > INT32_MAX)
		return fail(FAIL_DATA, "key '%s' is an array without a size", name);
	*out = gguf_element_int(v, 0);
	return 1;
}

int
metadata_int(const struct metadata *m, const char *key, enum json_presence need, int *out)
{
	int64_t n = 0;
	int got = find_int(m, key, need, &n);

	if (got > 0)
		*out = (int)n;
	return got;
}

int
metadata_number(const struct metadata *m, const char *key, enum json_presence need, double *out)
{
	char name[METADATA_KEY];
	const struct gguf_value *v = gguf_find(m->gguf, metadata_key(m, key, name));
	int got = gguf_number(m->gguf, name, need, -1e300, 1e300, out);

	if (got > 0 && v->type == GGUF_FLOAT32)
		*out = shortest(*out);
	return got;
}

int
metadata_bool(const struct metadata *m, const char *key, int *out)
{
	char name[METADATA_KEY];

	return gguf_bool(m->gguf, metadata_key(m, key, name), JSON_OPTIONAL, out);
}

int
metadata_has_tensor(const struct metadata *m, const char *name)
{
	return checkpoint_has(m->weights, name);
}

static int
add_key(const struct metadata *m, const struct key *k)
{
	int n = 0;
	double d = 0;
	int got = k->is_float ? metadata_number(m, k->gguf, k->need, &d) :
	    metadata_int(m, k->gguf, k->need, &n);

	if (got > 0)
		cJSON_AddNumberToObject(m->config, k->json, k->is_float ? d : n);
	return got < 0 ? -1 : 0;
}

static int
add_keys(const struct metadata *m, const struct key *k)
{
	for (; k->gguf; k++)
		if (add_key(m, k) < 0)
			return -1;
	return 0;
}

/* --- keys that are not known --- */

static int
is_listed(const char *const *list, const char *key)
{
	while (list && *list && strcmp(*list, key) != 0)
		list++;
	return list && *list;
}

static int
is_read(const struct key *k, const char *key)
{
	while (k->gguf && strcmp(k->gguf, key) != 0)
		k++;
	return k->gguf != NULL;
}

/* 0 and false are how a key says that something is not in use. */
static int
is_off(const struct gguf_value *v)
{
	return !v->array && v->type != GGUF_STRING &&
	    (v->type == GGUF_BOOL ? *v->p == 0 : gguf_element_number(v, 0) == 0);
}

static int
check_keys(const struct metadata *m, const struct family *f)
{
	size_t n = strlen(m->arch);

	for (const struct gguf_value *v = m->gguf->values; v < m->gguf->values + m->gguf->nvalues;
	    v++) {
		const char *key = v->key + n + 1;

		if (strncmp(v->key, m->arch, n) != 0 || v->key[n] != '.' || is_off(v) ||
		    is_read(common, key) || is_read(f->keys, key) || is_listed(others, key) ||
		    is_listed(f->others, key))
			continue;
		return fail(FAIL_DATA, "key '%.200s' is not supported", v->key);
	}
	return 0;
}

/* --- the object --- */

/* The vocabulary has an embedding for each token, and llama.cpp's key for it says the same.  */
static int
check_vocab(const struct metadata *m, const struct tensor_entry *embed)
{
	static const char tokens[] = "tokenizer.ggml.tokens";
	unsigned long long rows = embed->shape[0];
	const struct gguf_value *v = NULL;
	int size = 0, got = metadata_int(m, "vocab_size", JSON_OPTIONAL, &size);

	if (got < 0 || gguf_strings(m->gguf, tokens, JSON_OPTIONAL, &v) < 0)
		return -1;
	if (got > 0 && (unsigned long long)size != rows)
		return fail(FAIL_DATA, "key '%s.vocab_size' is %d, but token_embd.weight has %llu "
		    "rows", m->arch, size, rows);
	if (v && v->n != rows)
		return fail(FAIL_DATA, "%s has %llu tokens, but token_embd.weight has %llu rows",
		    tokens, (unsigned long long)v->n, rows);
	return 0;
}

static int
add_sizes(const struct metadata *m)
{
	const struct tensor_entry *embed = checkpoint_entry(m->weights,
	    "model.embed_tokens.weight");
	char beyond[60];
	int layers = 0, nextn = 0, causal = 1;

	if (!embed || check_vocab(m, embed) < 0 ||
	    metadata_bool(m, "attention.causal", &causal) < 0 ||
	    metadata_int(m, "block_count", JSON_REQUIRED, &layers) < 0 ||
	    metadata_int(m, "nextn_predict_layers", JSON_OPTIONAL, &nextn) < 0)
		return -1;
	if (!causal)
		return fail(FAIL_DATA, "key '%s.attention.causal' is false, which is not supported",
		    m->arch);
	if (nextn > 0 && nextn >= layers)
		return fail(FAIL_DATA, "key '%s.nextn_predict_layers' is %d, must be below "
		    "block_count, %d", m->arch, nextn, layers);
	snprintf(beyond, sizeof(beyond), "model.layers.%d.input_layernorm.weight", layers);
	if (layers > 0 && metadata_has_tensor(m, beyond))
		return fail(FAIL_DATA, "key '%s.block_count' is %d, but the file has a layer %d",
		    m->arch, layers, layers);
	cJSON_AddNumberToObject(m->config, "num_hidden_layers", layers - nextn);
	cJSON_AddNumberToObject(m->config, "vocab_size", (double)embed->shape[0]);
	cJSON_AddBoolToObject(m->config, "tie_word_embeddings",
	    !metadata_has_tensor(m, "lm_head.weight"));
	cJSON_AddStringToObject(m->config, "hidden_act", "silu");
	return 0;
}

static const struct family *
find_family(const char *arch, size_t n)
{
	const struct family *f = families;
	char known[100] = "";

	while (f->arch && (strlen(f->arch) != n || memcmp(f->arch, arch, n) != 0))
		f++;
	if (f->arch)
		return f;
	for (f = families; f->arch; f++)
		snprintf(known + strlen(known), sizeof(known) - strlen(known), " %s", f->arch);
	fail(FAIL_DATA, "general.architecture is '%.*s', which is not supported (known:%s)",
	    (int)(n < 100 ? n : 100), arch, known);
	return NULL;
}

static int
fill(struct metadata *m)
{
	const struct family *f;
	const char *arch = NULL;
	size_t n = 0;

	if (gguf_string(m->gguf, "general.architecture", JSON_REQUIRED, &arch, &n) < 0 ||
	    !(f = find_family(arch, n)))
		return -1;
	m->arch = f->arch;
	if (f->type)
		cJSON_AddStringToObject(m->config, "model_type", f->type);
	if (check_keys(m, f) < 0 || add_sizes(m) < 0 || add_keys(m, common) < 0 ||
	    add_keys(m, f->keys) < 0 || f->more(m) < 0 || metadata_rope(m) < 0)
		return -1;
	return metadata_generation(m);
}

cJSON *
config_of_gguf(struct checkpoint *w)
{
	struct metadata m = {.weights = w, .gguf = checkpoint_gguf(w),
	    .config = cJSON_CreateObject()};

	if (m.config && fill(&m) == 0)
		return m.config;
	cJSON_Delete(m.config);
	return NULL;
}
