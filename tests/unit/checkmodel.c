/*
 * checkmodel           TAP: the golden models as they must be read (run in the repository's root)
 * checkmodel open DIR  open every tensor that the forward pass takes, print the model's id
 * checkmodel list DIR  a line for each tensor: name, dtype, shape, sums of its bytes, sums of it as float32
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "arch/model.h"
#include "weights/layout.h"

static int points, failures;

static void
point(int ok, const char *what, const char *of)
{
	points++;
	failures += !ok;
	printf("%sok %d - %s%s%s\n", ok ? "" : "not ", points, of, *of ? ": " : "", what);
	if (!ok)
		printf("# %s\n", fail_text());
}

__attribute__((format(printf, 5, 6)))
static int
take_mat(struct model *m, struct mat *w, int rows, int cols, const char *fmt, ...)
{
	char name[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name) - 8, fmt, ap);
	va_end(ap);
	strcat(name, ".weight");
	return layout_mat(&m->weights, w, rows, cols, name);
}

static int
take_vec(struct model *m, int n, const char *name)
{
	float *v = layout_vector(&m->weights, n, name);

	free(v);
	return v ? 0 : -1;
}

static int
take_mlp(struct model *m, const char *prefix, int size)
{
	struct mat w;
	int D = m->config.hidden_size;

	return take_mat(m, &w, size, D, "%s.gate_proj", prefix) < 0 || take_mat(m, &w, size, D, "%s.up_proj", prefix) < 0 ||
	    take_mat(m, &w, D, size, "%s.down_proj", prefix) < 0 ? -1 : 0;
}

static int
take_gqa(struct model *m, const char *a)
{
	static const char *const products[] = {"q_proj", "k_proj", "v_proj", "o_proj"};
	static const char *const norms[] = {"q_norm", "k_norm"};
	const struct config *c = &m->config;
	int D = c->hidden_size, Q = c->num_heads * c->head_dim, K = c->num_kv_heads * c->head_dim;
	const int rows[] = {Q, K, K, D};
	char name[128];
	struct mat w;

	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "%s.%s.bias", a, products[i]);
		if (take_mat(m, &w, rows[i], i < 3 ? D : Q, "%s.%s", a, products[i]) < 0 ||
		    ((i < 3 ? c->qkv_bias : c->o_bias) && take_vec(m, rows[i], name) < 0))
			return -1;
	}
	for (int i = 0; i < 2 && c->qk_norm; i++) {
		snprintf(name, sizeof(name), "%s.%s.weight", a, norms[i]);
		if (take_vec(m, c->head_dim, name) < 0)
			return -1;
	}
	return 0;
}

static int
take_attention(struct model *m, int layer)
{
	const struct config *c = &m->config;
	int D = c->hidden_size, H = c->num_heads, R = c->kv_lora_rank, Q = c->q_lora_rank;
	int qk = c->qk_nope_head_dim + c->qk_rope_head_dim;
	char a[64], name[128];
	struct mat w;

	snprintf(a, sizeof(a), "model.layers.%d.self_attn", layer);
	if (c->attention == ATTENTION_GQA)
		return take_gqa(m, a);
	if (Q > 0) {
		snprintf(name, sizeof(name), "%s.q_a_layernorm.weight", a);
		if (take_mat(m, &w, Q, D, "%s.q_a_proj", a) < 0 || take_vec(m, Q, name) < 0 ||
		    take_mat(m, &w, H * qk, Q, "%s.q_b_proj", a) < 0)
			return -1;
	} else if (take_mat(m, &w, H * qk, D, "%s.q_proj", a) < 0)
		return -1;
	snprintf(name, sizeof(name), "%s.kv_a_layernorm.weight", a);
	return take_mat(m, &w, R + c->qk_rope_head_dim, D, "%s.kv_a_proj_with_mqa", a) < 0 || take_vec(m, R, name) < 0 ||
	    take_mat(m, &w, H * (c->qk_nope_head_dim + c->v_head_dim), R, "%s.kv_b_proj", a) < 0 ||
	    take_mat(m, &w, D, H * c->v_head_dim, "%s.o_proj", a) < 0 ? -1 : 0;
}

static int
take_layer(struct model *m, int layer)
{
	const struct config *c = &m->config;
	char p[64], name[128];
	struct mat w;

	snprintf(p, sizeof(p), "model.layers.%d", layer);
	snprintf(name, sizeof(name), "%s.input_layernorm.weight", p);
	if (take_vec(m, c->hidden_size, name) < 0 || take_attention(m, layer) < 0)
		return -1;
	snprintf(name, sizeof(name), "%s.post_attention_layernorm.weight", p);
	if (take_vec(m, c->hidden_size, name) < 0)
		return -1;
	snprintf(name, sizeof(name), "%s.mlp", p);
	if (!config_is_moe(c, layer))
		return take_mlp(m, name, c->intermediate_size);
	if (take_mat(m, &w, c->n_routed_experts, c->hidden_size, "%s.gate", name) < 0)
		return -1;
	for (int e = 0; e < c->n_routed_experts; e++) {
		snprintf(name, sizeof(name), "%s.mlp.experts.%d", p, e);
		if (take_mlp(m, name, c->moe_intermediate_size) < 0)
			return -1;
	}
	snprintf(name, sizeof(name), "%s.mlp.gate.e_score_correction_bias", p);
	if (c->topk_method == TOPK_NOAUX_TC && take_vec(m, c->n_routed_experts, name) < 0)
		return -1;
	snprintf(name, sizeof(name), "%s.mlp.shared_experts", p);
	return c->n_shared_experts > 0 ? take_mlp(m, name, c->n_shared_experts * c->moe_intermediate_size) : 0;
}

static int
take_all(struct model *m)
{
	const struct config *c = &m->config;
	struct mat w;

	if (take_mat(m, &w, c->vocab_size, c->hidden_size, "model.embed_tokens") < 0 ||
	    take_vec(m, c->hidden_size, "model.norm.weight") < 0)
		return -1;
	for (int i = 0; i < c->num_layers; i++)
		if (take_layer(m, i) < 0)
			return -1;
	return c->tie_word_embeddings ? 0 : take_mat(m, &w, c->vocab_size, c->hidden_size, "lm_head");
}

static void
print_sums(const void *p, size_t n)
{
	const unsigned char *s = p;
	uint64_t sum = 0, weighted = 0;

	for (size_t i = 0; i < n; i++) {
		sum += s[i];
		weighted += s[i] * (uint64_t)i;
	}
	printf(" %llu %llu", (unsigned long long)sum, (unsigned long long)weighted);
}

static int
list(struct model *m)
{
	for (struct table_slot *s = NULL; (s = table_next(&m->weights.files, s)); ) {
		char is[200];
		const void *data;
		const struct tensor_entry *t = checkpoint_data(&m->weights, s->key, &data);
		float *v = NULL;

		if (!t)
			return -1;
		if (t->dtype >= 0 && (uintptr_t)data % dtype_size((enum dtype)t->dtype))
			return fail(FAIL_DATA, "'%s' is not aligned", t->name);
		printf("%s %s", t->name, tensor_entry_describe(t, is, sizeof(is)));
		print_sums(data, (size_t)(t->end - t->begin));
		if (t->rank == 1 && t->dtype >= 0) {
			if (!(v = layout_vector(&m->weights, (int)t->shape[0], t->name)))
				return -1;
			print_sums(v, (size_t)t->shape[0] * sizeof(*v));
			free(v);
		}
		putchar('\n');
	}
	return 0;
}

static int
opened(const char *mode, const char *dir)
{
	struct model m;
	char id[17];
	int r;

	if (model_open(&m, dir) < 0)
		die_failed();
	r = strcmp(mode, "list") == 0 ? list(&m) : take_all(&m);
	if (r == 0 && strcmp(mode, "open") == 0) {
		if (checkpoint_id(dir, id) < 0 || strcmp(id, m.weights.id) != 0)
			die(1, "checkpoint_id and model_open disagree");
		puts(id);
	}
	model_close(&m);
	if (r < 0)
		die_failed();
	return 0;
}

static const struct facts {
	const char *dir;
	struct config c;
} facts[] = {
	{"v3", {.vocab_size = 320, .num_layers = 4, .q_lora_rank = 128, .moe_intermediate_size = 20, .n_group = 4,
	    .topk_group = 2, .num_experts_per_tok = 4, .n_shared_experts = 1, .scoring = SCORE_SIGMOID, .topk_method = TOPK_NOAUX_TC,
	    .norm_topk_prob = 1, .routed_scaling_factor = 2.5f, .rms_norm_eps = 1e-6f, .fp8 = 1,
	    .rope = {.theta = 10000, .type = ROPE_YARN, .factor = 40, .mscale_all_dim = 1, .original_max_position = 64}}},
	{"v3-fp8-odd", {.vocab_size = 200, .num_layers = 2, .q_lora_rank = 136, .moe_intermediate_size = 96, .n_group = 4,
	    .topk_group = 2, .num_experts_per_tok = 4, .n_shared_experts = 1, .scoring = SCORE_SIGMOID, .topk_method = TOPK_NOAUX_TC,
	    .norm_topk_prob = 1, .routed_scaling_factor = 2.5f, .rms_norm_eps = 1e-6f, .fp8 = 1,
	    .rope = {.theta = 10000, .type = ROPE_YARN, .factor = 40, .mscale_all_dim = 1, .original_max_position = 64}}},
	{"v32", {.vocab_size = 384, .num_layers = 3, .q_lora_rank = 96, .moe_intermediate_size = 24,
	    .n_group = 4, .topk_group = 2, .num_experts_per_tok = 3, .n_shared_experts = 1,
	    .scoring = SCORE_SIGMOID, .topk_method = TOPK_NOAUX_TC, .norm_topk_prob = 1,
	    .routed_scaling_factor = 2.5f, .rms_norm_eps = 1e-6f, .fp8 = 1,
	    .rope = {.theta = 10000, .type = ROPE_YARN, .factor = 40, .mscale_all_dim = 1,
	    .original_max_position = 64}}},
	{"v3-plain", {.vocab_size = 448, .num_layers = 3, .q_lora_rank = 0, .moe_intermediate_size = 16, .n_group = 1,
	    .topk_group = 1, .num_experts_per_tok = 3, .n_shared_experts = 2, .scoring = SCORE_SIGMOID, .topk_method = TOPK_NOAUX_TC,
	    .norm_topk_prob = 1, .routed_scaling_factor = 2.446f, .rms_norm_eps = 1e-5f, .rope = {.theta = 50000}}},
	{"v2-lite", {.vocab_size = 448, .num_layers = 3, .q_lora_rank = 0, .moe_intermediate_size = 16, .n_group = 1,
	    .topk_group = 1, .num_experts_per_tok = 4, .n_shared_experts = 2, .scoring = SCORE_SOFTMAX, .topk_method = TOPK_GREEDY,
	    .routed_scaling_factor = 1, .rms_norm_eps = 1e-6f,
	    .rope = {.theta = 10000, .type = ROPE_YARN, .factor = 40, .mscale_all_dim = 0.707, .original_max_position = 64}}},
	{"v2", {.vocab_size = 400, .num_layers = 3, .q_lora_rank = 64, .moe_intermediate_size = 16, .n_group = 4,
	    .topk_group = 2, .num_experts_per_tok = 3, .n_shared_experts = 2, .scoring = SCORE_SOFTMAX, .topk_method = TOPK_GROUP_MAX,
	    .routed_scaling_factor = 16, .rms_norm_eps = 1e-6f,
	    .rope = {.theta = 10000, .type = ROPE_YARN, .factor = 40, .mscale_all_dim = 0.707, .original_max_position = 64}}},
};

static void
check_config(const struct config *c, const struct config *w, const char *dir)
{
	point(c->vocab_size == w->vocab_size && c->num_layers == w->num_layers && c->q_lora_rank == w->q_lora_rank &&
	    c->moe_intermediate_size == w->moe_intermediate_size && c->rms_norm_eps == w->rms_norm_eps && c->fp8 == w->fp8,
	    "sizes are those of its config.json", dir);
	point(c->n_group == w->n_group && c->topk_group == w->topk_group && c->num_experts_per_tok == w->num_experts_per_tok &&
	    c->n_shared_experts == w->n_shared_experts && c->scoring == w->scoring && c->topk_method == w->topk_method &&
	    c->norm_topk_prob == w->norm_topk_prob && c->routed_scaling_factor == w->routed_scaling_factor,
	    "the gate is that of its config.json", dir);
	point(c->rope.theta == w->rope.theta && c->rope.type == w->rope.type && (c->rope.type != ROPE_YARN ||
	    (c->rope.factor == w->rope.factor && c->rope.mscale_all_dim == w->rope.mscale_all_dim && c->rope.mscale == c->rope.mscale_all_dim &&
	    c->rope.beta_fast == 32 && c->rope.beta_slow == 1 && c->rope.original_max_position == w->rope.original_max_position)),
	    "rope is that of its config.json", dir);
	point(c->bos == 0 && c->generation.neos == 1 && c->generation.eos[0] == 1 && !c->generation.do_sample &&
	    c->generation.temperature == 1 && c->generation.top_p == 1 && c->generation.top_k == 0,
	    "without generation_config.json it is greedy and ends at config.json's eos", dir);
	point(!config_is_moe(c, 0) && config_is_moe(c, 1) && config_is_moe(c, c->num_layers - 1),
	    "its first layer is dense, the others have experts", dir);
}

/* Each tensor of the table is in the checkpoint, and is found by its name. */
static int
table_in_files(struct model *m)
{
	struct layout l;

	for (int i = -1; i < m->config.num_layers; i++)
		for (struct weight w = {0}, x; weight_next(&w, &m->config, i); )
			if (layout_find(&l, &m->weights, w.name, (size_t)w.rows, (size_t)w.cols) < 0 ||
			    !weight_named(&x, &m->config, w.name) || x.layer != i || x.expert != w.expert ||
			    x.rows != w.rows || x.cols != w.cols || x.row->kind > w.row->kind)
				return fail_in("table: '%s'", w.name);
	return 0;
}

/* Each tensor of the checkpoint, the layer for multi-token prediction included, is in the table with
 * its shape, or is a scale. */
static int
files_in_table(struct model *m)
{
	struct layout l;
	struct weight w;
	size_t n;

	for (struct table_slot *s = NULL; (s = table_next(&m->weights.files, s)); )
		if (!layout_is_scale(s->key, &n) && (!weight_named(&w, &m->config, s->key) ||
		    layout_find(&l, &m->weights, w.name, (size_t)w.rows, (size_t)w.cols) < 0))
			return fail(FAIL_DATA, "'%s' is not in the weight table", (const char *)s->key);
	return 0;
}

static void
check_table(const char *dir)
{
	struct model m;
	int open = model_open(&m, dir);

	point(open == 0 && table_in_files(&m) == 0, "the weight table's tensors are in the checkpoint", dir);
	point(open == 0 && files_in_table(&m) == 0, "the checkpoint's tensors are in the weight table", dir);
	if (open == 0)
		model_close(&m);
}

static void
check_golden(const struct facts *f)
{
	struct model m;
	struct mat w = {0};
	char dir[256], id[17] = "";
	int open, D;

	snprintf(dir, sizeof(dir), "tests/golden/%s", f->dir);
	open = model_open(&m, dir);
	point(open == 0, "opens", f->dir);
	if (open < 0)
		return;
	check_config(&m.config, &f->c, f->dir);
	for (size_t i = 0; m.weights.nshards > 1 && i < m.weights.nshards; i++)
		point(m.weights.shards[i].file.map.p == NULL, "no file is mapped before a tensor is asked for", f->dir);
	D = m.config.hidden_size;
	point(take_all(&m) == 0, "has every tensor of the forward pass", f->dir);
	point(take_mat(&m, &w, f->c.moe_intermediate_size, D, "model.layers.1.mlp.experts.%d.up_proj", 0) == 0 &&
	    w.rows == f->c.moe_intermediate_size && w.cols == D && w.row0 == 0 && w.dtype == (f->c.fp8 ? F8_E4M3 : BF16) &&
	    (w.scale != NULL) == f->c.fp8 && w.scale_cols == (f->c.fp8 ? (D + 127) / 128 : 0),
	    "an expert's matrix has its shape, its dtype and, in FP8 only, scales", f->dir);
	point(take_mat(&m, &w, D, f->c.moe_intermediate_size, "model.layers.1.mlp.experts.0.up_proj") < 0,
	    "a matrix of another shape than asked for is refused", f->dir);
	point(!checkpoint_has(&m.weights, "model.layers.99.input_layernorm.weight") && checkpoint_has(&m.weights, "model.norm.weight"),
	    "knows which tensors it has", f->dir);
	point(checkpoint_id(dir, id) == 0 && strcmp(id, m.weights.id) == 0 && strlen(id) == 16, "the id alone is the id of the open model", f->dir);
	model_close(&m);
	check_table(dir);
}

/* --- grouped-query attention --- */

static const struct gqa_facts {
	const char *dir, *layers;       /* a letter each: dense, experts; capital: a window */
	int H, G, d, qkv_bias, o_bias, qk_norm, tied, window;
	struct rope_config rope;
} gqa[] = {
	{"llama", "ddd", .H = 4, .G = 2, .d = 48, .rope = {.type = ROPE_LLAMA3, .theta = 500000,
	    .factor = 8, .low_freq_factor = 1, .high_freq_factor = 4, .original_max_position = 32}},
	{"llama-long", "dd", .H = 4, .G = 2, .d = 32, .rope = {.type = ROPE_LLAMA3, .theta = 10000,
	    .factor = 8, .low_freq_factor = 1, .high_freq_factor = 4, .original_max_position = 16}},
	{"llama-linear", "dd", .H = 4, .G = 4, .d = 16, .qkv_bias = 1, .o_bias = 1, .tied = 1,
	    .rope = {.type = ROPE_LINEAR, .theta = 10000, .factor = 4}},
	{"qwen2", "ddd", .H = 4, .G = 2, .d = 32, .qkv_bias = 1, .tied = 1,
	    .rope = {.theta = 10000}},
	{"qwen2-window", "ddDD", .H = 4, .G = 2, .d = 32, .qkv_bias = 1, .window = 20,
	    .rope = {.theta = 10000}},
	{"qwen2-types", "DdD", .H = 4, .G = 1, .d = 32, .qkv_bias = 1, .window = 17,
	    .rope = {.theta = 10000}},
	{"qwen3", "ddd", .H = 4, .G = 2, .d = 48, .qk_norm = 1, .rope = {.type = ROPE_YARN,
	    .theta = 1000000, .factor = 4, .original_max_position = 64}},
	{"qwen3-yarn", "dd", .H = 4, .G = 2, .d = 32, .qkv_bias = 1, .o_bias = 1, .qk_norm = 1,
	    .rope = {.type = ROPE_YARN, .theta = 20000, .factor = 4, .attention_factor = 1.25,
	    .original_max_position = 32}},
	{"qwen3-moe", "eee", .H = 4, .G = 2, .d = 48, .qk_norm = 1, .rope = {.theta = 1000000}},
	{"qwen3-moe-mixed", "DEDDD", .H = 4, .G = 2, .d = 16, .qk_norm = 1, .window = 33,
	    .rope = {.theta = 10000}},
};

static int
same_layers(const struct config *c, const struct gqa_facts *f)
{
	for (int i = 0; i < c->num_layers; i++) {
		char is = config_is_moe(c, i) ? 'e' : 'd';
		int window = config_window(c, i);

		if (f->layers[i] != (window ? is - 'a' + 'A' : is) ||
		    (window && window != f->window))
			return 0;
	}
	return (int)strlen(f->layers) == c->num_layers;
}

static int
same_rope(const struct rope_config *a, const struct rope_config *b)
{
	return a->type == b->type && a->theta == b->theta && a->factor == b->factor &&
	    a->original_max_position == b->original_max_position &&
	    a->attention_factor == b->attention_factor &&
	    a->low_freq_factor == b->low_freq_factor && a->high_freq_factor == b->high_freq_factor;
}

static void
check_gqa(const struct gqa_facts *f)
{
	struct config c;
	char dir[256];

	snprintf(dir, sizeof(dir), "tests/golden/%s", f->dir);
	point(config_load(&c, dir) == 0 && c.attention == ATTENTION_GQA && c.rope_half &&
	    c.num_heads == f->H && c.num_kv_heads == f->G && c.head_dim == f->d &&
	    c.qkv_bias == f->qkv_bias && c.o_bias == f->o_bias && c.qk_norm == f->qk_norm &&
	    c.tie_word_embeddings == f->tied,
	    "heads, biases and norms are those of its config.json", f->dir);
	point(same_layers(&c, f), "its layers have experts and windows where config.json says so",
	    f->dir);
	point(same_rope(&c.rope, &f->rope), "rope is that of its config.json", f->dir);
	check_table(dir);
}

static void
check_tiny(void)
{
	struct config c;

	check_table("examples/tiny-r1");

	point(config_load(&c, "examples/tiny-r1") == 0 && c.generation.do_sample && c.generation.temperature == 0.6f &&
	    c.generation.top_p == 0.95f && c.generation.top_k == 0 && c.generation.neos == 1 && c.generation.eos[0] == 1,
	    "generation_config.json says how to sample", "tiny-r1");
}

int
main(int argc, char **argv)
{
	program = "checkmodel";
	if (argc == 3)
		return opened(argv[1], argv[2]);
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
		check_golden(&facts[i]);
	for (size_t i = 0; i < sizeof(gqa) / sizeof(gqa[0]); i++)
		check_gqa(&gqa[i]);
	check_tiny();
	printf("1..%d\n", points);
	return failures != 0;
}
