/*
 * The keys of metadata that an architecture reads in its own way.
 */
#include <stdio.h>
#include <string.h>

#include "arch/config.h"
#include "arch/config_gguf_internal.h"
#include "base/fail.h"

#define ATTN "model.layers.0.self_attn."

static void
add_int(const struct metadata *m, const char *key, int value)
{
	cJSON_AddNumberToObject(m->config, key, value);
}

/* --- grouped-query attention --- */

/* A head has as many numbers in values as in keys, and all of them are rotated. */
static int
add_head_dim(const struct metadata *m)
{
	static const char *const same[] = {"attention.value_length", "rope.dimension_count"};
	int width = 0, heads = 0, head = 0;

	if (metadata_int(m, "embedding_length", JSON_REQUIRED, &width) < 0 ||
	    metadata_int(m, "attention.head_count", JSON_REQUIRED, &heads) < 0 ||
	    metadata_int(m, "attention.key_length", JSON_OPTIONAL, &head) < 0)
		return -1;
	if (head == 0 && heads > 0)
		head = width / heads;
	for (int i = 0; i < 2; i++) {
		int n = head;

		if (metadata_int(m, same[i], JSON_OPTIONAL, &n) < 0)
			return -1;
		if (n != head)
			return fail(FAIL_DATA, "key '%s.%s' is %d, which is not supported with "
			    "heads of %d", m->arch, same[i], n, head);
	}
	add_int(m, "head_dim", head);
	return 0;
}

/* Tensors that another model of the architecture lacks. */
static int
check_tensors(const struct metadata *m, int biases, int norms)
{
	if (!biases && metadata_has_tensor(m, ATTN "o_proj.bias"))
		return fail(FAIL_DATA, "tensor 'blk.0.attn_output.bias' is not supported in "
		    "architecture '%s'", m->arch);
	if (!norms && metadata_has_tensor(m, ATTN "q_norm.weight"))
		return fail(FAIL_DATA, "tensor 'blk.0.attn_q_norm.weight' is not supported in "
		    "architecture '%s'", m->arch);
	return 0;
}

int
metadata_gqa(const struct metadata *m)
{
	int qwen2 = strcmp(m->arch, "qwen2") == 0, llama = strcmp(m->arch, "llama") == 0;
	int groups = 0;

	if (metadata_int(m, "attention.head_count", JSON_REQUIRED, &groups) < 0 ||
	    metadata_int(m, "attention.head_count_kv", JSON_OPTIONAL, &groups) < 0)
		return -1;
	add_int(m, "num_key_value_heads", groups);
	if (!qwen2)
		cJSON_AddBoolToObject(m->config, "attention_bias",
		    metadata_has_tensor(m, ATTN "q_proj.bias"));
	return check_tensors(m, !qwen2, !qwen2 && !llama) < 0 ? -1 : add_head_dim(m);
}

/* Layers without a router have a dense MLP. */
int
metadata_qwen3moe(const struct metadata *m)
{
	cJSON *dense = cJSON_AddArrayToObject(m->config, "mlp_only_layers");
	char name[60];
	int layers = 0;

	cJSON_AddBoolToObject(m->config, "norm_topk_prob", 1);
	if (metadata_int(m, "block_count", JSON_REQUIRED, &layers) < 0)
		return -1;
	for (int l = 0; l < layers && l < LAYERS_MAX; l++) {
		snprintf(name, sizeof(name), "model.layers.%d.mlp.gate.weight", l);
		if (!metadata_has_tensor(m, name))
			cJSON_AddItemToArray(dense, cJSON_CreateNumber(l));
	}
	return metadata_gqa(m);
}

/* --- deepseek2 --- */

/* Files of late 2025 and newer have key_length_mla; it then says how kv_b is stored, too. */
static int
add_heads(const struct metadata *m)
{
	const char *const keys[2][2] = {
		{"attention.key_length", "attention.value_length"},
		{"attention.key_length_mla", "attention.value_length_mla"}
	};
	int split = metadata_has_tensor(m, ATTN "k_b_proj.weight"), qk = 0, rope = 0, v = 0;
	int mla = 0, got = metadata_int(m, keys[1][0], JSON_OPTIONAL, &mla);

	if (got < 0 || metadata_int(m, keys[got][0], JSON_REQUIRED, &qk) < 0 ||
	    metadata_int(m, keys[got][1], JSON_REQUIRED, &v) < 0 ||
	    metadata_int(m, "rope.dimension_count", JSON_REQUIRED, &rope) < 0)
		return -1;
	if (rope >= qk)
		return fail(FAIL_DATA, "key '%s.rope.dimension_count' is %d, must be below %s, %d",
		    m->arch, rope, keys[got][0], qk);
	add_int(m, "qk_nope_head_dim", qk - rope);
	add_int(m, "qk_rope_head_dim", rope);
	add_int(m, "v_head_dim", v);
	cJSON_AddBoolToObject(m->config, "kv_b_split", split);
	return 0;
}

/*
 * Groups of experts.  Files of before late 2025 lack the keys: those of V3 and R1 then get what
 * these models have, and all others are without groups, as llama.cpp computes them.
 */
static int
add_groups(const struct metadata *m, int sigmoid)
{
	int experts = 0, width = 0, n = 1, used = 1, got;

	if (metadata_int(m, "expert_count", JSON_OPTIONAL, &experts) < 0 ||
	    metadata_int(m, "embedding_length", JSON_REQUIRED, &width) < 0 ||
	    (got = metadata_int(m, "expert_group_count", JSON_OPTIONAL, &n)) < 0 ||
	    metadata_int(m, "expert_group_used_count", got, &used) < 0)
		return -1;
	if (got == 0 && sigmoid && experts == 256 && width == 7168) {
		n = 8;
		used = 4;
	}
	add_int(m, "n_group", n > 0 ? n : 1);
	add_int(m, "topk_group", n > 0 ? used : 1);
	cJSON_AddStringToObject(m->config, "topk_method", sigmoid ? "noaux_tc" :
	    n > 1 ? "group_limited_greedy" : "greedy");
	return 0;
}

/* V3's bias of the choice.  Some files of other models have it without the key of the function. */
static int
check_no_bias(const struct metadata *m)
{
	char name[80];
	int layers = 0;

	if (metadata_int(m, "block_count", JSON_REQUIRED, &layers) < 0)
		return -1;
	for (int l = 0; l < layers && l < LAYERS_MAX; l++) {
		snprintf(name, sizeof(name), "model.layers.%d.mlp.gate.e_score_correction_bias", l);
		if (metadata_has_tensor(m, name))
			return fail(FAIL_DATA, "tensor 'blk.%d.exp_probs_b.bias' is not supported "
			    "unless key '%s.expert_gating_func' is 2", l, m->arch);
	}
	return 0;
}

static int
add_gate(const struct metadata *m)
{
	int function = 1, norm = 0;
	double scale = 1;

	if (metadata_int(m, "expert_gating_func", JSON_OPTIONAL, &function) < 0 ||
	    metadata_bool(m, "expert_weights_norm", &norm) < 0 ||
	    metadata_number(m, "expert_weights_scale", JSON_OPTIONAL, &scale) < 0)
		return -1;
	if (function < 0 || function > 2)
		return fail(FAIL_DATA, "key '%s.expert_gating_func' is %d, which is not supported",
		    m->arch, function);
	if (function != 2 && check_no_bias(m) < 0)
		return -1;
	cJSON_AddStringToObject(m->config, "model_type", function == 2 ? "deepseek_v3" :
	    "deepseek_v2");
	cJSON_AddStringToObject(m->config, "scoring_func", function == 2 ? "sigmoid" : "softmax");
	cJSON_AddBoolToObject(m->config, "norm_topk_prob", norm);
	cJSON_AddNumberToObject(m->config, "routed_scaling_factor", scale == 0 ? 1 : scale);
	return add_groups(m, function == 2);
}

int
metadata_deepseek2(const struct metadata *m)
{
	int H = 0, groups = 1;

	if (metadata_int(m, "attention.head_count", JSON_REQUIRED, &H) < 0 ||
	    metadata_int(m, "attention.head_count_kv", JSON_OPTIONAL, &groups) < 0)
		return -1;
	if (groups != 1 && groups != H)
		return fail(FAIL_DATA, "key '%s.attention.head_count_kv' is %d, must be 1 or the "
		    "number of heads, %d", m->arch, groups, H);
	if (!cJSON_GetObjectItemCaseSensitive(m->config, "first_k_dense_replace"))
		add_int(m, "first_k_dense_replace", 0);
	return add_heads(m) < 0 ? -1 : add_gate(m);
}
