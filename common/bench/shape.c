#include "bench/shape.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/config.h"
#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"
#include "bench/blocks.h"

#define CONFIG_BYTES_MAX (1 << 20)
#define BYTES_MAX (UINT64_C(1) << 50)

/* What DeepSeek-V3 and V3.2 have in common. */
#define V3 \
	"\"vocab_size\": 129280, \"hidden_size\": 7168, \"intermediate_size\": 18432, " \
	"\"moe_intermediate_size\": 2048, \"num_hidden_layers\": 61, " \
	"\"num_attention_heads\": 128, \"n_shared_experts\": 1, \"n_routed_experts\": " \
	"256, \"num_experts_per_tok\": 8, \"n_group\": 8, \"topk_group\": 4, " \
	"\"topk_method\": \"noaux_tc\", \"scoring_func\": \"sigmoid\", " \
	"\"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, " \
	"\"first_k_dense_replace\": 3, \"moe_layer_freq\": 1, \"q_lora_rank\": 1536, " \
	"\"kv_lora_rank\": 512, \"qk_nope_head_dim\": 128, \"qk_rope_head_dim\": 64, " \
	"\"v_head_dim\": 128, \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-06, " \
	"\"max_position_embeddings\": 163840, \"rope_theta\": 10000, \"rope_scaling\": " \
	"{\"type\": \"yarn\", \"factor\": 40, \"beta_fast\": 32, \"beta_slow\": 1, " \
	"\"mscale\": 1.0, \"mscale_all_dim\": 1.0, " \
	"\"original_max_position_embeddings\": 4096}"

static const char v3[] =
	"{\"architectures\": [\"DeepseekV3ForCausalLM\"], \"model_type\": \"deepseek_v3\", " V3 "}";

static const char v32[] =
	"{\"architectures\": [\"DeepseekV32ForCausalLM\"], \"model_type\": \"deepseek_v32\", "
	"\"index_n_heads\": 64, \"index_head_dim\": 128, \"index_topk\": 2048, " V3 "}";

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

/* DeepSeek-R1-Distill-Qwen-1.5B */
static const char qwen2_1_5b[] =
	"{\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"qwen2\", "
	"\"vocab_size\": 151936, \"hidden_size\": 1536, \"intermediate_size\": 8960, "
	"\"num_hidden_layers\": 28, \"num_attention_heads\": 12, \"num_key_value_heads\": 2, "
	"\"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-06, \"rope_theta\": 10000, "
	"\"max_position_embeddings\": 131072, \"tie_word_embeddings\": false}";

/* DeepSeek-R1-Distill-Llama-8B */
static const char llama_8b[] =
	"{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", "
	"\"vocab_size\": 128256, \"hidden_size\": 4096, \"intermediate_size\": 14336, "
	"\"num_hidden_layers\": 32, \"num_attention_heads\": 32, \"num_key_value_heads\": 8, "
	"\"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-05, \"rope_theta\": 500000, "
	"\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, "
	"\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192}, "
	"\"max_position_embeddings\": 131072, \"tie_word_embeddings\": false}";

/* Qwen3-30B-A3B */
static const char qwen3_moe[] =
	"{\"architectures\": [\"Qwen3MoeForCausalLM\"], \"model_type\": \"qwen3_moe\", "
	"\"vocab_size\": 151936, \"hidden_size\": 2048, \"intermediate_size\": 6144, "
	"\"moe_intermediate_size\": 768, \"num_hidden_layers\": 48, \"num_attention_heads\": 32, "
	"\"num_key_value_heads\": 4, \"head_dim\": 128, \"num_experts\": 128, "
	"\"num_experts_per_tok\": 8, \"norm_topk_prob\": true, \"hidden_act\": \"silu\", "
	"\"rms_norm_eps\": 1e-06, \"rope_theta\": 1000000, \"max_position_embeddings\": 40960, "
	"\"tie_word_embeddings\": false}";

#define SHAPE_ROW(name, config, type, layers, before) {name, config, type, layers},

static const struct {
	const char *name, *config, *type, *layers;
} known[] = {EACH_SHAPE(SHAPE_ROW)};

#define KNOWN (sizeof(known) / sizeof(known[0]))

/* --- tensors --- */

static const struct weight_type types[] = {
	{"f32", F32, F32},
	{"bf16", BF16, BF16},
	{"f16", F16, F16},
	{"fp8", F8_E4M3, BF16},
	{"q8", Q8, BF16},
	{"q4", Q4, BF16},
	{"q8_0", Q8_0, BF16},
	{"q4_0", Q4_0, BF16},
	{"q4_k", Q4_K, BF16},
	{"q5_k", Q5_K, BF16},
	{"q6_k", Q6_K, BF16},
	{"iq4_nl", IQ4_NL, BF16},
	{"iq4_xs", IQ4_XS, BF16},
	{"mxfp4", MXFP4, BF16},
};

#define TYPES (sizeof(types) / sizeof(types[0]))

const struct weight_type *
weight_type_find(const char *name)
{
	char all[160] = "";

	for (size_t i = 0; i < TYPES; i++) {
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s",
		    i + 1 < TYPES ? i ? ", " : "" : " or ", types[i].name);
	}
	fail(FAIL_USAGE, "--weights '%s': give %s", name, all);
	return NULL;
}

/* Every element has these bits, 16 or 32 of them. */
static void
fill_equal(struct shape_tensor *t, uint32_t bits)
{
	t->mask = 0;
	t->set = bits * (strcmp(t->part.dtype, "F32") == 0 ? UINT64_C(0x100000001) :
	    UINT64_C(0x1000100010001));
}

static void
fill_f32(struct shape_tensor *t, float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	fill_equal(t, bits);
}

/* A norm is ones, a bias zeros. */
static void
fill_vector(struct shape_tensor *t, const struct weight *w, enum dtype dtype)
{
	fill_equal(t, w->row->kind == WEIGHT_BIAS ? 0 :
	    dtype == F32 ? 0x3f800000 : dtype == F16 ? 0x3c00 : 0x3f80);
}

/* Weights +-[2^-e, 2^(1-e)), with e such that their products with ones sum up to about one.  FP8
 * codes are finite and below 2, those of Q8 and Q4 are any. */
static void
fill_matrix(struct shape_tensor *t, enum dtype dtype, int cols)
{
	uint64_t e = 127 - (uint64_t)ceil(log2(sqrt(cols))), half = e - 127 + 15;

	switch (dtype) {
	case F32:
		t->mask = UINT64_C(0x807fffff807fffff);
		t->set = e << 23 | e << 55;
		break;
	case BF16:
		t->mask = UINT64_C(0x807f807f807f807f);
		t->set = (e << 7) * UINT64_C(0x0001000100010001);
		break;
	case F16:
		t->mask = UINT64_C(0x83ff83ff83ff83ff);
		t->set = (half << 10) * UINT64_C(0x0001000100010001);
		break;
	case F8_E4M3:
		t->mask = UINT64_C(0xbfbfbfbfbfbfbfbf);
		break;
	default:
		t->mask = UINT64_MAX;
	}
}

/* FP8: such that a row of random codes sums up to about one.  Q8 and Q4, with codes up to about
 * 2^7: 1 to 1.875, and a factor. */
static void
fill_scale(struct shape_tensor *t, int i, enum dtype dtype, int cols)
{
	if (dtype == F8_E4M3) {
		fill_f32(t, 2 / sqrtf((float)cols));
	} else if (i == 2) {
		fill_f32(t, exp2f(-6 - ceilf(log2f(sqrtf((float)cols)))));
	} else {
		t->mask = UINT64_C(0x0707070707070707);
		t->set = UINT64_C(0x3838383838383838);
	}
}

static enum dtype
dtype_of(const struct weight_type *type, const struct weight *w)
{
	if (w->row->kind > WEIGHT_EXPERT)
		return w->row->kind == WEIGHT_BIAS ? F32 : type->plain;
	return weight_type_gguf(type) ? blocks_type(type->dtype, w->cols) : type->dtype;
}

/* A tensor of the model and its scales, without offsets yet.  0, or -1 and a message. */
static int
add(struct shape_list *l, const struct weight_type *type, const struct weight *w)
{
	enum dtype dtype = dtype_of(type, w);
	struct layout_part parts[LAYOUT_PARTS];
	int n = layout_parts(parts, dtype, (uint64_t)w->rows, (uint64_t)w->cols);

	for (int i = 0; i < n; i++) {
		struct shape_tensor *t;

		if (parts[i].bytes > BYTES_MAX || l->bytes > BYTES_MAX)
			return fail(FAIL_DATA, "the shape has more than 2^50 bytes of weights");
		if (mem_grow(&l->t, &l->cap, l->n + 1, sizeof(*l->t)) < 0)
			return -1;
		t = &l->t[l->n++];
		*t = (struct shape_tensor){.part = parts[i], .expert = w->expert, .dtype = dtype,
		    .cols = w->cols};
		snprintf(t->name, sizeof(t->name), "%s%s", w->name, parts[i].suffix);
		if (i > 0)
			fill_scale(t, i, dtype, w->cols);
		else if (w->cols == 0)
			fill_vector(t, w, dtype);
		else
			fill_matrix(t, dtype, w->cols);
		l->bytes += parts[i].bytes;
	}
	return 0;
}

/* Tensors whose size is no multiple of 64 bytes come last, so that all others are aligned to 64, as
 * are the matrices of all real shapes. */
static void
layout_all(struct shape_list *l)
{
	uint64_t at = 0;

	for (int odd = 0; odd < 2; odd++)
		for (size_t i = 0; i < l->n; i++)
			if ((l->t[i].part.bytes % 64 != 0) == odd) {
				l->t[i].begin = at;
				at += l->t[i].part.bytes;
			}
}

/* Of the tensors that belong to no layer. */
static int
is_needed(const struct config *c, enum role role, int head, int embed)
{
	int tied = c->tie_word_embeddings;

	return role == ROLE_EMBED ? embed || (head && tied) : head && !(role == ROLE_HEAD && tied);
}

int
shape_tensors(struct shape_list *l, const struct config *c, const struct weight_type *type,
    const struct layers *layers, int head, int embed)
{
	int gguf = weight_type_gguf(type);

	for (int i = 0; i <= c->num_layers; i++)
		for (struct weight w = {0}; weight_next(&w, c, i < c->num_layers ? i : -1); ) {
			int here = i < c->num_layers ? layers->has[i] :
			    is_needed(c, w.row->role, head, embed);
			int hole = !here && gguf && w.row->role == ROLE_EMBED;

			if (!here && !hole)
				continue;
			if (add(l, type, &w) < 0)
				return -1;
			l->t[l->n - 1].hole = hole;
		}
	layout_all(l);
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
print_config(struct buf *b, cJSON *o, const struct weight_type *type)
{
	char *text;
	int r;

	cJSON_DeleteItemFromObjectCaseSensitive(o, "quantization_config");
	if (type->dtype == F8_E4M3)
		cJSON_AddItemToObject(o, "quantization_config", config_fp8());
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
		return fail(FAIL_USAGE, "--shape '%s': give " SHAPE_WORDS
		    ", or a config.json that can be read", shape);
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
