/*
 * DeepSeek-V2, V3 and R1, and models of their shape (Kimi-K2, Moonlight): multi-head latent
 * attention, a mixture of experts with shared ones.  DeepSeek-V3.2 is V3 with an indexer, which
 * chooses the positions that attention reads.
 */
#include <string.h>

#include "arch/arch_internal.h"
#include "base/fail.h"
#include "kernels.h"

enum type { V2, V3, KIMI_K2, V32 };

static const char *const types[] = {
	[V2] = "deepseek_v2", [V3] = "deepseek_v3", [KIMI_K2] = "kimi_k2", [V32] = "deepseek_v32",
	NULL
};

/* --- config.json --- */

static const struct config_field shape[] = {
	KEYS_COMMON,
	KEY("q_lora_rank", q_lora_rank, 0, DIM_MAX, OPTIONAL),
	KEY("kv_lora_rank", kv_lora_rank, 1, DIM_MAX, REQUIRED),
	KEY("qk_nope_head_dim", qk_nope_head_dim, 1, HEAD_DIM_MAX, REQUIRED),
	KEY("qk_rope_head_dim", qk_rope_head_dim, 2, HEAD_DIM_MAX, REQUIRED),
	KEY("v_head_dim", v_head_dim, 1, HEAD_DIM_MAX, REQUIRED),
	KEY("n_routed_experts", n_routed_experts, 0, EXPERTS_MAX, OPTIONAL),
	{0}
}, experts[] = {
	KEYS_EXPERTS,
	KEY("n_shared_experts", n_shared_experts, 0, 64, OPTIONAL),
	KEY("first_k_dense_replace", first_k_dense_replace, 0, LAYERS_MAX, REQUIRED),
	KEY("moe_layer_freq", moe_layer_freq, 1, LAYERS_MAX, OPTIONAL),
	{0}
}, groups[] = {
	KEY("n_group", n_group, 1, EXPERTS_MAX, REQUIRED),
	KEY("topk_group", topk_group, 1, EXPERTS_MAX, REQUIRED),
	{0}
}, indexer[] = {
	KEY("index_n_heads", index_n_heads, 1, HEADS_MAX, REQUIRED),
	KEY("index_head_dim", index_head_dim, 2, HEAD_DIM_MAX, REQUIRED),
	KEY("index_topk", index_topk, 1, 1 << 20, REQUIRED),
	{0}
};

/* What else these keys could be is not supported. */
static int
read_fixed(struct config *c, const cJSON *o)
{
	static const char *const acts[] = {"silu", NULL};
	int i = 0, kv = c->num_heads;

	if (json_choice(o, "hidden_act", JSON_REQUIRED, acts, &i) < 0 ||
	    config_must_be(o, "attention_bias", 0) < 0 ||
	    json_bool(o, "kv_b_split", JSON_OPTIONAL, &c->kv_b_split) < 0 ||
	    config_must_be(o, "rope_interleave", 1) < 0 ||
	    json_int(o, "num_key_value_heads", JSON_OPTIONAL, 1, HEADS_MAX, &kv) < 0)
		return -1;
	if (kv != c->num_heads)
		return fail(FAIL_DATA, "num_key_value_heads is %d, must be num_attention_heads, %d",
		    kv, c->num_heads);
	if (c->qk_rope_head_dim % 2)
		return fail(FAIL_DATA, "qk_rope_head_dim is %d, must be even", c->qk_rope_head_dim);
	return 0;
}

/* The indexer rotates the two halves of its first numbers, where attention rotates neighbours. */
static int
read_indexer(struct config *c, const cJSON *o)
{
	if (config_fields(c, o, indexer) < 0 ||
	    config_must_be(o, "indexer_rope_interleave", 0) < 0)
		return -1;
	if (c->q_lora_rank == 0)
		return fail(FAIL_DATA, "q_lora_rank is 0, which is not supported with model_type "
		    "%s", c->type);
	if (c->qk_rope_head_dim > c->index_head_dim)
		return fail(FAIL_DATA, "index_head_dim is %d, must be at least qk_rope_head_dim, "
		    "%d", c->index_head_dim, c->qk_rope_head_dim);
	return 0;
}

static int
read_no_indexer(const cJSON *o, const struct config *c)
{
	const cJSON *topk = NULL;

	if (json_get(o, "index_topk", JSON_OPTIONAL, &topk) < 0)
		return -1;
	return topk ? fail(FAIL_DATA, "index_topk is given: sparse attention is not supported with "
	    "model_type %s", c->type) : 0;
}

static int
check_groups(const struct config *c)
{
	int size = c->n_routed_experts / c->n_group;

	if (c->n_routed_experts % c->n_group)
		return fail(FAIL_DATA, "n_group is %d, must divide n_routed_experts, %d",
		    c->n_group, c->n_routed_experts);
	if (c->topk_group > c->n_group)
		return fail(FAIL_DATA, "topk_group is %d, must be at most n_group, %d",
		    c->topk_group, c->n_group);
	if (c->topk_method == TOPK_NOAUX_TC && c->n_group > 1 && size < 2)
		return fail(FAIL_DATA, "n_group is %d, must leave two experts a group or more",
		    c->n_group);
	if (c->num_experts_per_tok > c->topk_group * size)
		return fail(FAIL_DATA, "num_experts_per_tok is %d, must be at most %d, the experts "
		    "of topk_group groups", c->num_experts_per_tok, c->topk_group * size);
	return 0;
}

/* The gate.  Defaults that differ between releases are not guessed: their keys are required. */
static int
read_gate(struct config *c, const cJSON *o, int v2)
{
	static const char *const scorings[] = {"softmax", "sigmoid", NULL};
	static const char *const methods[] = {"greedy", "group_limited_greedy", "noaux_tc", NULL};
	enum json_presence need = v2 ? JSON_OPTIONAL : JSON_REQUIRED;
	int scoring = v2 ? SCORE_SOFTMAX : SCORE_SIGMOID;
	int method = v2 ? TOPK_GREEDY : TOPK_NOAUX_TC;

	c->n_group = c->topk_group = 1;
	c->routed_scaling_factor = 1;
	if (json_choice(o, "scoring_func", JSON_OPTIONAL, scorings, &scoring) < 0 ||
	    json_choice(o, "topk_method", JSON_OPTIONAL, methods, &method) < 0 ||
	    json_bool(o, "norm_topk_prob", need, &c->norm_topk_prob) < 0 ||
	    config_float(o, "routed_scaling_factor", need, 1e-6, 1e6,
	    &c->routed_scaling_factor) < 0)
		return -1;
	c->scoring = (enum scoring)scoring;
	c->topk_method = (enum topk_method)method;
	if ((c->scoring == SCORE_SIGMOID) != (c->topk_method == TOPK_NOAUX_TC))
		return fail(FAIL_DATA, "topk_method is '%s', which is not supported with "
		    "scoring_func '%s'", methods[method], scorings[scoring]);
	/* published V2 code disagrees on whether the factor then still counts */
	if (c->scoring == SCORE_SOFTMAX && c->norm_topk_prob)
		return fail(FAIL_DATA, "norm_topk_prob is true, which is not supported with "
		    "scoring_func 'softmax'");
	if (c->topk_method != TOPK_GREEDY && config_fields(c, o, groups) < 0)
		return -1;
	return check_groups(c);
}

static int
read_config(struct config *c, const cJSON *o, int type)
{
	static const char *const architectures[] = {[V2] = "DeepseekV2ForCausalLM",
	    [V3] = "DeepseekV3ForCausalLM", [KIMI_K2] = "DeepseekV3ForCausalLM",
	    [V32] = "DeepseekV32ForCausalLM"};
	int v2 = type == V2;

	c->attention = type == V32 ? ATTENTION_MLA_INDEXED : ATTENTION_MLA;
	if (config_architecture(o, architectures[type], c->type) < 0 ||
	    config_fields(c, o, shape) < 0 || read_fixed(c, o) < 0 ||
	    (type == V32 ? read_indexer(c, o) : read_no_indexer(o, c)) < 0)
		return -1;
	if (c->n_routed_experts > 0 &&
	    (config_fields(c, o, experts) < 0 || read_gate(c, o, v2) < 0))
		return -1;
	return config_rope(c, o);
}

/* --- weights --- */

DIM(q_lora, c->q_lora_rank)
DIM(q_rows, c->num_heads * (c->qk_nope_head_dim + c->qk_rope_head_dim))
DIM(rank, c->kv_lora_rank)
DIM(kv_a_rows, c->kv_lora_rank + c->qk_rope_head_dim)
DIM(kv_b_rows, c->num_heads * (c->qk_nope_head_dim + c->v_head_dim))
DIM(k_b_rows, c->num_heads * c->qk_nope_head_dim)
DIM(index_rows, c->index_n_heads * c->index_head_dim)
DIM(index_heads, c->index_n_heads)
DIM(index_width, c->index_head_dim)
DIM(values, c->num_heads * c->v_head_dim)
DIM(shared, c->n_shared_experts * c->moe_intermediate_size)
DIM(twice_hidden, 2 * c->hidden_size)

EXISTS(has_lora, c->q_lora_rank > 0)
EXISTS(has_no_lora, c->q_lora_rank == 0)
EXISTS(has_kv_b, !c->kv_b_split)
EXISTS(has_halves, c->kv_b_split)
EXISTS(has_index, c->attention == ATTENTION_MLA_INDEXED)
EXISTS(has_bias, config_is_moe(c, l) && c->topk_method == TOPK_NOAUX_TC)
EXISTS(has_shared, config_is_moe(c, l) && c->n_shared_experts > 0)
EXISTS(is_mtp, l >= c->num_layers)

#define INDEX ATTN "indexer."
#define SHARED MLP "shared_experts."

static const struct weight_row weights[] = {
	W_EMBED,

	W(Q, LINEAR, ATTN, ATTN "q_proj.weight", q_rows, hidden, has_no_lora),
	W(Q_A, LINEAR, ATTN, ATTN "q_a_proj.weight", q_lora, hidden, has_lora),
	W(Q, LINEAR, ATTN, ATTN "q_b_proj.weight", q_rows, q_lora, has_lora),
	W(KV_A, LINEAR, ATTN, ATTN "kv_a_proj_with_mqa.weight", kv_a_rows, hidden, NULL),
	W(KV_B, LINEAR, ATTN, ATTN "kv_b_proj.weight", kv_b_rows, rank, has_kv_b),
	W(K_B, LINEAR, ATTN, ATTN "k_b_proj.weight", k_b_rows, rank, has_halves),
	W(V_B, LINEAR, ATTN, ATTN "v_b_proj.weight", values, rank, has_halves),
	W(O, LINEAR, ATTN, ATTN "o_proj.weight", hidden, values, NULL),
	W(ATTN_NORM, NORM, ATTN, LAYER "input_layernorm.weight", hidden, NULL, NULL),
	W(Q_A_NORM, NORM, ATTN, ATTN "q_a_layernorm.weight", q_lora, NULL, has_lora),
	W(KV_A_NORM, NORM, ATTN, ATTN "kv_a_layernorm.weight", rank, NULL, NULL),
	W(INDEX_Q, LINEAR, ATTN, INDEX "wq_b.weight", index_rows, q_lora, has_index),
	W(INDEX_K, LINEAR, ATTN, INDEX "wk.weight", index_width, hidden, has_index),
	W(INDEX_K_NORM, NORM, ATTN, INDEX "k_norm.weight", index_width, NULL, has_index),
	W(INDEX_K_NORM_BIAS, BIAS, ATTN, INDEX "k_norm.bias", index_width, NULL, has_index),
	W(INDEX_WEIGHTS, PLAIN, ATTN, INDEX "weights_proj.weight", index_heads, hidden, has_index),

	W_ROUTER,
	W(ROUTER_BIAS, BIAS, ROUTE, MLP "gate.e_score_correction_bias", routed, NULL, has_bias),

	W_MLP,
	W(SHARED_GATE, SHARED, EXPERT, SHARED "gate_proj.weight", shared, hidden, has_shared),
	W(SHARED_UP, SHARED, EXPERT, SHARED "up_proj.weight", shared, hidden, has_shared),
	W(SHARED_DOWN, SHARED, EXPERT, SHARED "down_proj.weight", hidden, shared, has_shared),

	W_HEAD,

	/* The layer for multi-token prediction also has what any layer has. */
	W(MTP_EMBED, PLAIN, EMBED, LAYER "embed_tokens.weight", vocab, hidden, is_mtp),
	W(MTP_EMBED_NORM, NORM, EMBED, LAYER "enorm.weight", hidden, NULL, is_mtp),
	W(MTP_HIDDEN_NORM, NORM, EMBED, LAYER "hnorm.weight", hidden, NULL, is_mtp),
	W(MTP_JOIN, LINEAR, EMBED, LAYER "eh_proj.weight", hidden, twice_hidden, is_mtp),
	W(MTP_FINAL_NORM, NORM, HEAD, LAYER "shared_head.norm.weight", hidden, NULL, is_mtp),
	W(MTP_HEAD, PLAIN, HEAD, LAYER "shared_head.head.weight", vocab, hidden, is_mtp),
	{0}
};

/* Older gates return the chosen experts and their weights. */
static const char modules[] = MODULES_COMMON "model.layers.{l}.mlp.gate.0 route {l} expert.idx\n";

const struct arch arch_deepseek = {
	.types = types, .layer = LAYER, .weights = weights, .modules = modules,
	.config = read_config,
};
