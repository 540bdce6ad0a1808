#include "bench/shape.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"

#define CONFIG_BYTES_MAX (1 << 20)
#define BYTES_MAX (UINT64_C(1) << 50)

static const char v3[] =
	"{\"architectures\": [\"DeepseekV3ForCausalLM\"], \"model_type\": \"deepseek_v3\", \"vocab_size\": 129280, "
	"\"hidden_size\": 7168, \"intermediate_size\": 18432, \"moe_intermediate_size\": 2048, \"num_hidden_layers\": 61, "
	"\"num_attention_heads\": 128, \"n_shared_experts\": 1, \"n_routed_experts\": 256, \"num_experts_per_tok\": 8, "
	"\"n_group\": 8, \"topk_group\": 4, \"topk_method\": \"noaux_tc\", \"scoring_func\": \"sigmoid\", "
	"\"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"first_k_dense_replace\": 3, \"moe_layer_freq\": 1, "
	"\"q_lora_rank\": 1536, \"kv_lora_rank\": 512, \"qk_nope_head_dim\": 128, \"qk_rope_head_dim\": 64, "
	"\"v_head_dim\": 128, \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-06, \"max_position_embeddings\": 163840, "
	"\"rope_theta\": 10000, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 40, \"beta_fast\": 32, \"beta_slow\": 1, "
	"\"mscale\": 1.0, \"mscale_all_dim\": 1.0, \"original_max_position_embeddings\": 4096}}";

static const char v2_lite[] =
	"{\"architectures\": [\"DeepseekV2ForCausalLM\"], \"model_type\": \"deepseek_v2\", \"vocab_size\": 102400, "
	"\"hidden_size\": 2048, \"intermediate_size\": 10944, \"moe_intermediate_size\": 1408, \"num_hidden_layers\": 27, "
	"\"num_attention_heads\": 16, \"n_shared_experts\": 2, \"n_routed_experts\": 64, \"num_experts_per_tok\": 6, "
	"\"topk_method\": \"greedy\", \"scoring_func\": \"softmax\", \"norm_topk_prob\": false, "
	"\"routed_scaling_factor\": 1.0, \"first_k_dense_replace\": 1, \"moe_layer_freq\": 1, \"q_lora_rank\": null, "
	"\"kv_lora_rank\": 512, \"qk_nope_head_dim\": 128, \"qk_rope_head_dim\": 64, \"v_head_dim\": 128, "
	"\"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-06, \"max_position_embeddings\": 163840, \"rope_theta\": 10000, "
	"\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 40, \"beta_fast\": 32, \"beta_slow\": 1, \"mscale\": 0.707, "
	"\"mscale_all_dim\": 0.707, \"original_max_position_embeddings\": 4096}}";

static const struct {
	const char *name, *config, *type, *layers;      /* layers: the first with experts, of a model that no small machine holds */
} known[] = {{"v3", v3, "fp8", "3"}, {"v2-lite", v2_lite, "bf16", NULL}};

#define KNOWN (sizeof(known) / sizeof(known[0]))

/* --- tensors --- */

/* It gets a place later.  0, or -1 and a message. */
static int
add(struct shape_list *l, const struct shape_tensor *t, uint64_t bytes)
{
	if (bytes > BYTES_MAX || l->bytes > BYTES_MAX)
		return fail(FAIL_DATA, "the shape has more than 2^50 bytes of weights");
	if (mem_grow(&l->t, &l->cap, l->n + 1, sizeof(*l->t)) < 0)
		return -1;
	l->t[l->n] = *t;
	l->t[l->n++].bytes = bytes;
	l->bytes += bytes;
	return 0;
}

/* All elements the same: a matrix, or a vector with rows 0.  bits: of an element. */
static int
add_equal(struct shape_list *l, const char *dtype, const char *name, const char *suffix, int rows, int cols, uint32_t bits,
    int expert)
{
	struct shape_tensor t = {.dtype = dtype, .rank = rows > 0 ? 2 : 1, .rows = (uint64_t)(rows > 0 ? rows : 1),
	    .cols = (uint64_t)cols, .expert = expert};
	int wide = strcmp(dtype, "F32") == 0;

	t.set = bits * (wide ? UINT64_C(0x100000001) : UINT64_C(0x1000100010001));
	snprintf(t.name, sizeof(t.name), "%s%s", name, suffix);
	return add(l, &t, t.rows * t.cols * (wide ? 4 : 2));
}

static int
add_f32(struct shape_list *l, const char *name, const char *suffix, int rows, int cols, float value, int expert)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return add_equal(l, "F32", name, suffix, rows, cols, bits, expert);
}

/* Ones. */
static int
add_norm(struct shape_list *l, const struct weight_type *w, const char *prefix, const char *name, int n)
{
	uint32_t one = strcmp(w->plain, "F32") == 0 ? 0x3f800000 : strcmp(w->plain, "F16") == 0 ? 0x3c00 : 0x3f80;
	char full[128];

	snprintf(full, sizeof(full), "%s%s", prefix, name);
	return add_equal(l, w->plain, full, ".weight", 0, n, one, -1);
}

/* Weights +-[2^-e, 2^(1-e)) with e such that a product of cols of them with ones in the rows comes to about one. */
static int
add_floats(struct shape_list *l, const char *dtype, const char *name, int rows, int cols, int expert)
{
	uint64_t e = 127 - (uint64_t)ceil(log2(sqrt(cols))), half = e - 127 + 15;
	struct shape_tensor t = {.dtype = dtype, .rank = 2, .rows = (uint64_t)rows, .cols = (uint64_t)cols, .expert = expert};
	int size = strcmp(dtype, "F32") == 0 ? 4 : 2;

	if (size == 4) {
		t.mask = UINT64_C(0x807fffff807fffff);
		t.set = e << 23 | e << 55;
	} else if (strcmp(dtype, "BF16") == 0) {
		t.mask = UINT64_C(0x807f807f807f807f);
		t.set = (e << 7) * UINT64_C(0x0001000100010001);
	} else {
		t.mask = UINT64_C(0x83ff83ff83ff83ff);
		t.set = (half << 10) * UINT64_C(0x0001000100010001);
	}
	snprintf(t.name, sizeof(t.name), "%s.weight", name);
	return add(l, &t, t.rows * t.cols * (uint64_t)size);
}

static int
matrix_f32(struct shape_list *l, const char *name, int rows, int cols, int expert)
{
	return add_floats(l, "F32", name, rows, cols, expert);
}

static int
matrix_bf16(struct shape_list *l, const char *name, int rows, int cols, int expert)
{
	return add_floats(l, "BF16", name, rows, cols, expert);
}

static int
matrix_f16(struct shape_list *l, const char *name, int rows, int cols, int expert)
{
	return add_floats(l, "F16", name, rows, cols, expert);
}

/* Any byte with the highest bit of its exponent off: finite, below 2, of either sign; a scale for each 128 by 128. */
static int
matrix_fp8(struct shape_list *l, const char *name, int rows, int cols, int expert)
{
	struct shape_tensor t = {.dtype = "F8_E4M3", .rank = 2, .rows = (uint64_t)rows, .cols = (uint64_t)cols,
	    .mask = UINT64_C(0xbfbfbfbfbfbfbfbf), .expert = expert};

	snprintf(t.name, sizeof(t.name), "%s.weight", name);
	if (add(l, &t, t.rows * t.cols) < 0)
		return -1;
	return add_f32(l, name, ".weight_scale_inv", (rows + 127) / 128, (cols + 127) / 128, 2 / sqrtf((float)cols), expert);
}

/* What goes with a matrix of random codes, the largest of which is some 2^7: scales of groups 1 to 1.875, and their factor. */
static int
add_groups(struct shape_list *l, const char *name, int rows, int cols, int expert)
{
	struct shape_tensor t = {.dtype = "F8_E4M3", .rank = 2, .rows = (uint64_t)rows,
	    .cols = ((uint64_t)cols + QUANT_GROUP - 1) / QUANT_GROUP, .mask = UINT64_C(0x0707070707070707),
	    .set = UINT64_C(0x3838383838383838), .expert = expert};

	snprintf(t.name, sizeof(t.name), "%s.weight_scale", name);
	if (add(l, &t, t.rows * t.cols) < 0)
		return -1;
	return add_f32(l, name, ".weight_scale_2", 0, 1, exp2f(-6 - ceilf(log2f(sqrtf((float)cols)))), expert);
}

static int
matrix_q8(struct shape_list *l, const char *name, int rows, int cols, int expert)
{
	struct shape_tensor t = {.dtype = "I8", .rank = 2, .rows = (uint64_t)rows, .cols = (uint64_t)cols,
	    .mask = UINT64_MAX, .expert = expert};

	snprintf(t.name, sizeof(t.name), "%s.weight", name);
	return add(l, &t, t.rows * t.cols) < 0 ? -1 : add_groups(l, name, rows, cols, expert);
}

static int
matrix_q4(struct shape_list *l, const char *name, int rows, int cols, int expert)
{
	struct shape_tensor t = {.dtype = "U8", .rank = 2, .rows = (uint64_t)rows, .cols = dtype_row(Q4, cols),
	    .mask = UINT64_MAX, .expert = expert};

	snprintf(t.name, sizeof(t.name), "%s.weight", name);
	return add(l, &t, t.rows * t.cols) < 0 ? -1 : add_groups(l, name, rows, cols, expert);
}

static const struct weight_type types[] = {
	{"f32", matrix_f32, "F32"},
	{"bf16", matrix_bf16, "BF16"},
	{"f16", matrix_f16, "F16"},
	{"fp8", matrix_fp8, "BF16"},
	{"q8", matrix_q8, "BF16"},
	{"q4", matrix_q4, "BF16"},
};

#define TYPES (sizeof(types) / sizeof(types[0]))

const struct weight_type *
weight_type_find(const char *name)
{
	char all[128] = "";

	for (size_t i = 0; i < TYPES; i++) {
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i + 1 < TYPES ? i ? ", " : "" : " or ", types[i].name);
	}
	fail(FAIL_USAGE, "--weights '%s': give %s", name, all);
	return NULL;
}

static int
add_mlp(struct shape_list *l, const struct weight_type *w, const char *prefix, int D, int width, int expert)
{
	static const char *const parts[] = {"gate_proj", "up_proj", "down_proj"};
	char name[104];

	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s.%s", prefix, parts[i]);
		if (w->matrix(l, name, i < 2 ? width : D, i < 2 ? D : width, expert) < 0)
			return -1;
	}
	return 0;
}

static int
add_attention(struct shape_list *l, const struct config *c, const struct weight_type *w, const char *prefix)
{
	int D = c->hidden_size, H = c->num_heads, R = c->kv_lora_rank, lora = c->q_lora_rank;
	int qk = c->qk_nope_head_dim + c->qk_rope_head_dim, kv = c->qk_nope_head_dim + c->v_head_dim;
	const struct { const char *name; int rows, cols; } mats[] = {
		{lora ? "q_a_proj" : "q_proj", lora ? lora : H * qk, D}, {"q_b_proj", lora ? H * qk : 0, lora},
		{"kv_a_proj_with_mqa", R + c->qk_rope_head_dim, D}, {"kv_b_proj", H * kv, R}, {"o_proj", D, H * c->v_head_dim}};
	char name[104];

	for (size_t i = 0; i < sizeof(mats) / sizeof(mats[0]); i++) {
		snprintf(name, sizeof(name), "%s.self_attn.%s", prefix, mats[i].name);
		if (mats[i].rows > 0 && w->matrix(l, name, mats[i].rows, mats[i].cols, -1) < 0)
			return -1;
	}
	if (add_norm(l, w, prefix, ".input_layernorm", D) < 0 || add_norm(l, w, prefix, ".post_attention_layernorm", D) < 0 ||
	    add_norm(l, w, prefix, ".self_attn.kv_a_layernorm", R) < 0)
		return -1;
	return lora ? add_norm(l, w, prefix, ".self_attn.q_a_layernorm", lora) : 0;
}

static int
add_moe(struct shape_list *l, const struct config *c, const struct weight_type *w, const char *prefix)
{
	int D = c->hidden_size, width = c->moe_intermediate_size;
	char name[104];

	snprintf(name, sizeof(name), "%s.mlp.gate", prefix);
	if (add_floats(l, w->plain, name, c->n_routed_experts, D, -1) < 0 || (c->topk_method == TOPK_NOAUX_TC &&
	    add_f32(l, name, ".e_score_correction_bias", 0, c->n_routed_experts, 0, -1) < 0))
		return -1;
	for (int e = 0; e < c->n_routed_experts; e++) {
		snprintf(name, sizeof(name), "%s.mlp.experts.%d", prefix, e);
		if (add_mlp(l, w, name, D, width, e) < 0)
			return -1;
	}
	snprintf(name, sizeof(name), "%s.mlp.shared_experts", prefix);
	return c->n_shared_experts > 0 ? add_mlp(l, w, name, D, c->n_shared_experts * width, -1) : 0;
}

static int
add_layer(struct shape_list *l, const struct config *c, const struct weight_type *w, int layer)
{
	char prefix[48], mlp[64];

	snprintf(prefix, sizeof(prefix), "model.layers.%d", layer);
	snprintf(mlp, sizeof(mlp), "%s.mlp", prefix);
	if (add_attention(l, c, w, prefix) < 0)
		return -1;
	return config_is_moe(c, layer) ? add_moe(l, c, w, prefix) : add_mlp(l, w, mlp, c->hidden_size, c->intermediate_size, -1);
}

/* One behind the other.  What does not end at a multiple of 64 bytes comes last, so that it moves nothing else from such a
 * place: the matrices of all real shapes lie there. */
static void
place_all(struct shape_list *l)
{
	uint64_t at = 0;

	for (int odd = 0; odd < 2; odd++)
		for (size_t i = 0; i < l->n; i++)
			if ((l->t[i].bytes % 64 != 0) == odd) {
				l->t[i].begin = at;
				at += l->t[i].bytes;
			}
}

static int
add_all(struct shape_list *l, const struct config *c, const struct weight_type *type,
    const struct layers *layers, int head, int embed)
{
	int V = c->vocab_size, D = c->hidden_size;

	for (int i = 0; i < c->num_layers; i++)
		if (layers->has[i] && add_layer(l, c, type, i) < 0)
			return -1;
	if (head && (add_norm(l, type, "model", ".norm", D) < 0 ||
	    (!c->tie_word_embeddings && add_floats(l, type->plain, "lm_head", V, D, -1) < 0)))
		return -1;
	return embed || (head && c->tie_word_embeddings) ? add_floats(l, type->plain, "model.embed_tokens", V, D, -1) : 0;
}

int
shape_tensors(struct shape_list *l, const struct config *c, const struct weight_type *type,
    const struct layers *layers, int head, int embed)
{
	if (add_all(l, c, type, layers, head, embed) < 0)
		return -1;
	place_all(l);
	return 0;
}

void
shape_free(struct shape_list *l)
{
	free(l->t);
	*l = (struct shape_list){0};
}

/* --- config.json --- */

/* What a config says of its weights. */
static const char *
type_of(const cJSON *o)
{
	const cJSON *d = cJSON_GetObjectItemCaseSensitive(o, "torch_dtype");

	if (cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(o, "quantization_config")))
		return "fp8";
	return cJSON_IsString(d) && strcmp(d->valuestring, "float32") == 0 ? "f32" :
	    cJSON_IsString(d) && strcmp(d->valuestring, "float16") == 0 ? "f16" : "bf16";
}

static int
set_quantization(cJSON *o, const struct weight_type *type)
{
	cJSON *q;

	cJSON_DeleteItemFromObjectCaseSensitive(o, "quantization_config");
	if (strcmp(type->name, "fp8") != 0)
		return 0;
	q = cJSON_Parse("{\"quant_method\": \"fp8\", \"fmt\": \"e4m3\", \"weight_block_size\": [128, 128]}");
	return cJSON_AddItemToObject(o, "quantization_config", q) ? 0 : fail(FAIL_SYSTEM, "no memory for config.json");
}

static int
print_config(struct buf *b, cJSON *o, const struct weight_type *type)
{
	char *text;
	int r;

	if (set_quantization(o, type) < 0)
		return -1;
	if (!(text = cJSON_Print(o)))
		return fail(FAIL_SYSTEM, "no memory for config.json");
	r = buf_addf(b, "%s\n", text);
	cJSON_free(text);
	return r;
}

int
shape_config(struct buf *b, const char *shape, const struct weight_type **type, const char **layers)
{
	const char *published = NULL;
	cJSON *o = NULL;
	int r;

	*layers = NULL;
	for (size_t i = 0; i < KNOWN; i++)
		if (strcmp(shape, known[i].name) == 0) {
			o = json_parse(known[i].config, strlen(known[i].config));
			published = known[i].type;
			*layers = known[i].layers;
		}
	if (!published && access(shape, R_OK) < 0)
		return fail(FAIL_USAGE, "--shape '%s': give v3, v2-lite or a config.json that can be read", shape);
	if (!o && !(o = json_load(shape, CONFIG_BYTES_MAX)))
		return -1;
	if (!cJSON_IsObject(o)) {
		cJSON_Delete(o);
		return fail(FAIL_DATA, "'%s': not an object", shape);
	}
	if (!*type)
		*type = weight_type_find(published ? published : type_of(o));
	r = print_config(b, o, *type);
	cJSON_Delete(o);
	return r;
}
