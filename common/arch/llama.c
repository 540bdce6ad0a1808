/*
 * Llama, Qwen2, Qwen3 and Qwen3-MoE, and models of their shape: grouped-query attention, a dense
 * MLP or a mixture of experts without shared ones.
 */
#include <string.h>

#include "arch/arch_internal.h"
#include "base/fail.h"
#include "kernels.h"

enum { LLAMA, QWEN2, QWEN3, QWEN3_MOE };

static const char *const types[] = {
	[LLAMA] = "llama", [QWEN2] = "qwen2", [QWEN3] = "qwen3", [QWEN3_MOE] = "qwen3_moe", NULL
};

/* What differs between them.  Keys whose defaults differ between releases are required. */
static const struct rules {
	const char *architecture;
	enum json_presence kv_heads, head_dim;
	int qkv_bias;                   /* always; else attention_bias says of all four products */
	int qk_norm, windows, experts;
} rules[] = {
	[LLAMA] = {"LlamaForCausalLM", JSON_OPTIONAL, JSON_OPTIONAL},
	[QWEN2] = {"Qwen2ForCausalLM", JSON_REQUIRED, JSON_OPTIONAL, .qkv_bias = 1, .windows = 1},
	[QWEN3] = {"Qwen3ForCausalLM", JSON_REQUIRED, JSON_REQUIRED, .qk_norm = 1, .windows = 1},
	[QWEN3_MOE] = {"Qwen3MoeForCausalLM", JSON_REQUIRED, JSON_OPTIONAL, .qk_norm = 1,
	    .windows = 1, .experts = 1},
};

/* --- config.json --- */

static const struct config_field shape[] = {
	KEYS_COMMON,
	{0}
}, experts[] = {
	KEYS_EXPERTS,
	{0}
};

/* What else these keys could be is not supported. */
static int
read_fixed(const struct config *c, const cJSON *o)
{
	static const char *const acts[] = {"silu", NULL};
	const cJSON *original = NULL;
	int i = 0;

	if (json_choice(o, "hidden_act", JSON_REQUIRED, acts, &i) < 0 ||
	    config_must_be(o, "mlp_bias", 0) < 0 || config_must_be(o, "use_mrope", 0) < 0 ||
	    json_get(o, "original_max_position_embeddings", JSON_OPTIONAL, &original) < 0)
		return -1;
	return !original || c->rope.type == ROPE_DEFAULT ? 0 : fail(FAIL_DATA,
	    "original_max_position_embeddings is supported in rope_scaling and rope_parameters "
	    "only");
}

static int
read_heads(struct config *c, const cJSON *o, const struct rules *r)
{
	int H = c->num_heads, bias = 0;

	c->num_kv_heads = H;
	if (json_int(o, "num_key_value_heads", r->kv_heads, 1, HEADS_MAX, &c->num_kv_heads) < 0 ||
	    json_int(o, "head_dim", r->head_dim, 2, HEAD_DIM_MAX, &c->head_dim) < 0 ||
	    (r->qkv_bias ? config_must_be(o, "attention_bias", 1) :
	    json_bool(o, "attention_bias", JSON_OPTIONAL, &bias)) < 0)
		return -1;
	if (H % c->num_kv_heads)
		return fail(FAIL_DATA, "num_key_value_heads is %d, must divide "
		    "num_attention_heads, %d", c->num_kv_heads, H);
	if (!c->head_dim && c->hidden_size % H)
		return fail(FAIL_DATA, "num_attention_heads is %d, must divide hidden_size, %d, "
		    "without head_dim", H, c->hidden_size);
	if (!c->head_dim)
		c->head_dim = c->hidden_size / H;
	if (c->head_dim % 2 || c->head_dim > HEAD_DIM_MAX)
		return fail(FAIL_DATA, "head_dim is %d, must be even and at most %d", c->head_dim,
		    HEAD_DIM_MAX);
	c->qkv_bias = r->qkv_bias || bias;
	c->o_bias = bias;
	c->qk_norm = r->qk_norm;
	return 0;
}

static void
add(struct layer_set *set, int layer)
{
	set->bits[layer / 8] |= (unsigned char)(1 << layer % 8);
}

/* layer_types, where given, says which layers have a window: 1, or 0 where it is missing. */
static int
read_layer_types(const struct config *c, const cJSON *o, struct layer_set *windowed)
{
	static const char *const known[] = {"full_attention", "sliding_attention"};
	const cJSON *list = NULL, *v;
	int n = 0, got = json_array(o, "layer_types", JSON_OPTIONAL, &list);

	if (got <= 0)
		return got;
	*windowed = (struct layer_set){0};
	if (cJSON_GetArraySize(list) != c->num_layers)
		return fail(FAIL_DATA, "layer_types has %d entries, must have num_hidden_layers, "
		    "%d", cJSON_GetArraySize(list), c->num_layers);
	cJSON_ArrayForEach(v, list) {
		const char *is = cJSON_IsString(v) ? v->valuestring : "no string";
		int window = strcmp(is, known[1]) == 0;

		if (!window && strcmp(is, known[0]) != 0)
			return fail(FAIL_DATA, "layer_types has '%.100s', which is not supported",
			    is);
		if (window && !c->sliding_window)
			return fail(FAIL_DATA, "layer_types has '%s', but no sliding_window is in "
			    "use", is);
		if (window)
			add(windowed, n);
		n++;
	}
	return 1;
}

/* Which layers have a window without layer_types.  Releases of transformers differ for a mixture
 * of experts: all layers have it, or those from max_window_layers on. */
static int
read_window_layers(struct config *c, const cJSON *o, const struct rules *r, int need)
{
	int first = 0;

	if (!c->sliding_window)
		return 0;
	if (json_int(o, "max_window_layers", need && !r->experts ? JSON_REQUIRED : JSON_OPTIONAL, 0,
	    1 << 20, &first) < 0)
		return -1;
	if (r->experts && first > 0)
		return fail(FAIL_DATA, "max_window_layers is %d with use_sliding_window: "
		    "implementations differ on what that means with model_type %s", first,
		    c->type);
	for (int i = first; i < c->num_layers; i++)
		add(&c->windowed, i);
	return 0;
}

static int
read_windows(struct config *c, const cJSON *o, const struct rules *r)
{
	struct layer_set given;
	const cJSON *window = NULL;
	int use = 0, types_given;

	if (json_bool(o, "use_sliding_window", JSON_OPTIONAL, &use) < 0 ||
	    json_get(o, "sliding_window", JSON_OPTIONAL, &window) < 0)
		return -1;
	if (!r->windows && window)
		return fail(FAIL_DATA, "sliding_window is not supported with model_type %s",
		    c->type);
	if ((use && json_int(o, "sliding_window", JSON_OPTIONAL, 1, 1 << 30,
	    &c->sliding_window) < 0) || (types_given = read_layer_types(c, o, &given)) < 0 ||
	    read_window_layers(c, o, r, !types_given) < 0)
		return -1;
	if (types_given && r->experts && memcmp(&given, &c->windowed, sizeof(given)) != 0)
		return fail(FAIL_DATA, "layer_types has layers without a window, which is not "
		    "supported with model_type %s", c->type);
	if (types_given)
		c->windowed = given;
	return 0;
}

/* The layers that have a dense MLP. */
static int
read_dense_layers(struct config *c, const cJSON *o)
{
	const cJSON *list = NULL, *v;
	uint64_t layer;
	int step = 1;

	if (json_int(o, "decoder_sparse_step", JSON_OPTIONAL, 1, 1 << 20, &step) < 0 ||
	    json_array(o, "mlp_only_layers", JSON_OPTIONAL, &list) < 0)
		return -1;
	for (int i = 0; i < c->num_layers; i++)
		if ((i + 1) % step)
			add(&c->dense, i);
	cJSON_ArrayForEach(v, list) {
		if (json_whole(v, (uint64_t)c->num_layers - 1, &layer) < 0)
			return fail(FAIL_DATA, "mlp_only_layers has an entry that is no layer, 0 "
			    "to %d", c->num_layers - 1);
		add(&c->dense, (int)layer);
	}
	return 0;
}

static int
read_experts(struct config *c, const cJSON *o)
{
	/* transformers 5 reads the second name, too */
	static const char *const names[] = {"num_experts", "num_local_experts"};
	const cJSON *other = NULL;
	int got = json_get(o, names[1], JSON_OPTIONAL, &other);

	if (got < 0 || json_int(o, names[got], JSON_REQUIRED, 0, EXPERTS_MAX,
	    &c->n_routed_experts) < 0)
		return -1;
	if (c->n_routed_experts == 0)
		return 0;
	c->scoring = SCORE_SOFTMAX;
	c->topk_method = TOPK_GREEDY;
	c->n_group = c->topk_group = 1;
	c->routed_scaling_factor = 1;
	if (config_fields(c, o, experts) < 0 ||
	    json_bool(o, "norm_topk_prob", JSON_REQUIRED, &c->norm_topk_prob) < 0)
		return -1;
	if (c->num_experts_per_tok > c->n_routed_experts)
		return fail(FAIL_DATA, "num_experts_per_tok is %d, must be at most %s, %d",
		    c->num_experts_per_tok, names[got], c->n_routed_experts);
	return read_dense_layers(c, o);
}

static int
read_config(struct config *c, const cJSON *o, int type)
{
	const struct rules *r = &rules[type];

	c->attention = ATTENTION_GQA;
	c->rope_half = 1;
	if (config_architecture(o, r->architecture, c->type) < 0 ||
	    config_fields(c, o, shape) < 0 || read_heads(c, o, r) < 0 ||
	    read_windows(c, o, r) < 0 || (r->experts && read_experts(c, o) < 0) ||
	    config_rope(c, o) < 0)
		return -1;
	return read_fixed(c, o);
}

/* --- weights --- */

DIM(q_rows, c->num_heads * c->head_dim)
DIM(kv_rows, c->num_kv_heads * c->head_dim)
DIM(head_dim, c->head_dim)

EXISTS(has_qkv_bias, c->qkv_bias)
EXISTS(has_o_bias, c->o_bias)
EXISTS(has_qk_norm, c->qk_norm)

static const struct weight_row weights[] = {
	W_EMBED,

	W(Q, LINEAR, ATTN, ATTN "q_proj.weight", q_rows, hidden, NULL),
	W(K, LINEAR, ATTN, ATTN "k_proj.weight", kv_rows, hidden, NULL),
	W(V, LINEAR, ATTN, ATTN "v_proj.weight", kv_rows, hidden, NULL),
	W(O, LINEAR, ATTN, ATTN "o_proj.weight", hidden, q_rows, NULL),
	W(ATTN_NORM, NORM, ATTN, LAYER "input_layernorm.weight", hidden, NULL, NULL),
	W(Q_BIAS, NORM, ATTN, ATTN "q_proj.bias", q_rows, NULL, has_qkv_bias),
	W(K_BIAS, NORM, ATTN, ATTN "k_proj.bias", kv_rows, NULL, has_qkv_bias),
	W(V_BIAS, NORM, ATTN, ATTN "v_proj.bias", kv_rows, NULL, has_qkv_bias),
	W(O_BIAS, NORM, ATTN, ATTN "o_proj.bias", hidden, NULL, has_o_bias),
	W(Q_NORM, NORM, ATTN, ATTN "q_norm.weight", head_dim, NULL, has_qk_norm),
	W(K_NORM, NORM, ATTN, ATTN "k_norm.weight", head_dim, NULL, has_qk_norm),

	W_ROUTER,
	W_MLP,
	W_HEAD,
	{0}
};

static const char modules[] = MODULES_COMMON;

const struct arch arch_llama = {
	.types = types, .layer = LAYER, .weights = weights, .modules = modules,
	.config = read_config,
};
