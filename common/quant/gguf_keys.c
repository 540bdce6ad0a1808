#include "quant/gguf_keys.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch/config_gguf.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"
#include "token/export.h"

static int
has_windows(const struct config *c)
{
	for (int i = 0; i < c->num_layers; i++)
		if (config_window(c, i) > 0)
			return 1;
	return 0;
}

/* Whether the layers with experts are the last ones; *dense: how many come before. */
static int
experts_last(const struct config *c, int *dense)
{
	for (*dense = 0; *dense < c->num_layers && !config_is_moe(c, *dense); (*dense)++)
		;
	for (int i = *dense; i < c->num_layers; i++)
		if (!config_is_moe(c, i))
			return 0;
	return 1;
}

static const char *
unsupported(const struct config *c)
{
	const struct rope_config *r = &c->rope;
	int dense;

	if (has_windows(c))
		return "sliding windows";
	if (!experts_last(c, &dense) || (dense > 0 && c->n_routed_experts > 0 &&
	    c->attention == ATTENTION_GQA))
		return "experts in some layers only";
	if (c->attention == ATTENTION_GQA && c->n_routed_experts > 0 && !c->norm_topk_prob)
		return "weights of experts that are not normalized";
	if (c->attention == ATTENTION_GQA && c->o_bias && strcmp(c->type, "llama") != 0)
		return "a bias of o_proj";
	/* (only files of llama have a tensor for it) */
	if (r->type == ROPE_LLAMA3 && strcmp(c->type, "llama") != 0)
		return "rope_type llama3";
	/* the tensor has factors, from which only these settings are found again */
	if (r->type == ROPE_LLAMA3 && (r->low_freq_factor != 1 || r->high_freq_factor != 4))
		return "low_freq_factor and high_freq_factor other than 1 and 4";
	if (c->attention == ATTENTION_MLA && r->type == ROPE_YARN && r->mscale != r->mscale_all_dim)
		return "an mscale that is not mscale_all_dim";
	return NULL;
}

const char *
gguf_architecture(const struct config *c)
{
	const char *name = gguf_name_of(c), *why = unsupported(c);

	if (!name)
		fail(FAIL_USAGE, "GGUF has no architecture for a model of type %s", c->type);
	else if (why)
		fail(FAIL_USAGE, "GGUF of architecture %s has no key for %s", name, why);
	return name && !why ? name : NULL;
}

/* "llama.block_count" */
struct name {
	char text[96];
};

static struct name
key(const struct config *c, const char *rest)
{
	struct name n;

	snprintf(n.text, sizeof(n.text), "%s.%s", gguf_name_of(c), rest);
	return n;
}

static void
put_int(struct gguf_file *f, const struct config *c, const char *rest, int value)
{
	gguf_put_int(f, key(c, rest).text, (uint32_t)value);
}

static void
put_float(struct gguf_file *f, const struct config *c, const char *rest, double value)
{
	gguf_put_float(f, key(c, rest).text, (float)value);
}

static void
put_attention(struct gguf_file *f, const struct config *c)
{
	int mla = c->attention == ATTENTION_MLA;
	int rope = mla ? c->qk_rope_head_dim : c->head_dim;

	put_int(f, c, "attention.head_count", c->num_heads);
	put_int(f, c, "attention.head_count_kv", mla ? 1 : c->num_kv_heads);
	put_int(f, c, "attention.key_length", mla ? c->kv_lora_rank + rope : c->head_dim);
	put_int(f, c, "attention.value_length", mla ? c->kv_lora_rank : c->head_dim);
	put_int(f, c, "rope.dimension_count", rope);
	if (!mla)
		return;
	/* 0: else llama.cpp misses the key, unless the model has as many layers as V2-Lite */
	put_int(f, c, "attention.q_lora_rank", c->q_lora_rank);
	put_int(f, c, "attention.kv_lora_rank", c->kv_lora_rank);
	put_int(f, c, "attention.key_length_mla", c->qk_nope_head_dim + rope);
	put_int(f, c, "attention.value_length_mla", c->v_head_dim);
}

/* Of cosine and sine under YaRN, as a share of the default, by which llama.cpp multiplies it. */
static double
attention_factor(const struct rope_config *r)
{
	double normal = 1 + 0.1 * log(r->factor);

	if (r->attention_factor != 0)
		return r->attention_factor / normal;
	return r->mscale == 0 || r->mscale_all_dim == 0 ? 1 : (1 + 0.1 * r->mscale *
	    log(r->factor)) / (1 + 0.1 * r->mscale_all_dim * log(r->factor)) / normal;
}

/* llama3's is a tensor. */
static void
put_rope(struct gguf_file *f, const struct config *c)
{
	static const char *const types[] = {[ROPE_LINEAR] = "linear", [ROPE_YARN] = "yarn"};
	const struct rope_config *r = &c->rope;
	const char *type = r->type == ROPE_LLAMA3 ? NULL : types[r->type];

	put_float(f, c, "rope.freq_base", r->theta);
	if (!type)
		return;
	gguf_put_string(f, key(c, "rope.scaling.type").text, type, strlen(type));
	put_float(f, c, "rope.scaling.factor", r->factor);
	if (r->type != ROPE_YARN)
		return;
	put_int(f, c, "rope.scaling.original_context_length", r->original_max_position);
	put_float(f, c, "rope.scaling.yarn_beta_fast", r->beta_fast);
	put_float(f, c, "rope.scaling.yarn_beta_slow", r->beta_slow);
	if (c->attention == ATTENTION_MLA)
		put_float(f, c, "rope.scaling.yarn_log_multiplier", 0.1 * r->mscale_all_dim);
	else if (attention_factor(r) != 1)
		put_float(f, c, "rope.scaling.attn_factor", attention_factor(r));
}

/* Of a model without experts; llama.cpp misses these keys. */
static void
put_no_experts(struct gguf_file *f, const struct config *c)
{
	if (c->attention == ATTENTION_GQA)
		return;
	put_int(f, c, "leading_dense_block_count", c->num_layers);
	put_int(f, c, "expert_feed_forward_length", c->intermediate_size);
	put_int(f, c, "expert_shared_count", 0);
}

static void
put_experts(struct gguf_file *f, const struct config *c)
{
	int dense;

	if (c->n_routed_experts == 0) {
		put_no_experts(f, c);
		return;
	}
	put_int(f, c, "expert_count", c->n_routed_experts);
	put_int(f, c, "expert_used_count", c->num_experts_per_tok);
	put_int(f, c, "expert_feed_forward_length", c->moe_intermediate_size);
	if (c->attention == ATTENTION_GQA)
		return;
	(void)experts_last(c, &dense);
	put_int(f, c, "leading_dense_block_count", dense);
	put_int(f, c, "expert_shared_count", c->n_shared_experts);
	put_int(f, c, "expert_gating_func", c->scoring == SCORE_SIGMOID ? 2 : 1);
	put_float(f, c, "expert_weights_scale", (double)c->routed_scaling_factor);
	gguf_put_bool(f, key(c, "expert_weights_norm").text, c->norm_topk_prob);
	if (c->n_group > 1) {
		put_int(f, c, "expert_group_count", c->n_group);
		put_int(f, c, "expert_group_used_count", c->topk_group);
	}
}

void
gguf_put_config(struct gguf_file *f, const struct config *c, int file_type)
{
	const char *name = gguf_name_of(c);

	gguf_put_string(f, "general.architecture", name, strlen(name));
	gguf_put_int(f, "general.file_type", (uint32_t)file_type);
	gguf_put_int(f, "general.quantization_version", 2);
	put_int(f, c, "block_count", c->num_layers);
	put_int(f, c, "context_length", c->max_position);
	put_int(f, c, "embedding_length", c->hidden_size);
	put_int(f, c, "feed_forward_length", c->intermediate_size);
	put_int(f, c, "vocab_size", c->vocab_size);
	put_float(f, c, "attention.layer_norm_rms_epsilon", (double)c->rms_norm_eps);
	put_attention(f, c);
	put_rope(f, c);
	put_experts(f, c);
}

/* --- tokens --- */

static void
put_text(struct gguf_file *f, const char *name, const char *s)
{
	if (s)
		gguf_put_string(f, name, s, strlen(s));
}

static void
put_sampling(struct gguf_file *f, const struct generation *g)
{
	if (!g->do_sample)
		return;
	gguf_put_float(f, "general.sampling.temp", g->temperature);
	gguf_put_float(f, "general.sampling.top_p", g->top_p);
	gguf_put_signed(f, "general.sampling.top_k", g->top_k);
}

static void
put_id(struct gguf_file *f, enum gguf_id which, int64_t id)
{
	if (id >= 0)
		gguf_put_int(f, gguf_id_keys[which], (uint32_t)id);
}

static void
put_tokens(struct gguf_file *f, const struct export *e)
{
	put_text(f, "tokenizer.ggml.model", "gpt2");
	put_text(f, "tokenizer.ggml.pre", e->pre->name);
	gguf_put_array(f, "tokenizer.ggml.tokens", GGUF_STRING, e->n);
	for (size_t i = 0; i < e->n; i++)
		gguf_put_element_string(f, e->tokens[i].s, e->tokens[i].n);
	gguf_put_array(f, "tokenizer.ggml.token_type", GGUF_INT32, e->n);
	for (size_t i = 0; i < e->n; i++)
		gguf_put_element_int(f, e->types[i]);
	gguf_put_array(f, "tokenizer.ggml.merges", GGUF_STRING, e->nmerges);
	for (size_t i = 0; i < e->nmerges; i++)
		gguf_put_element_string(f, e->merges[i].s, e->merges[i].n);
	for (int i = 0; i < GGUF_IDS; i++)
		put_id(f, (enum gguf_id)i, e->ids[i]);
	gguf_put_bool(f, "tokenizer.ggml.add_bos_token", e->add_bos);
	gguf_put_bool(f, "tokenizer.ggml.add_eos_token", e->add_eos);
	put_text(f, "tokenizer.chat_template", e->template);
	put_text(f, "tokenizer.chat_template.tool_use", e->tool_use);
}

static int
has_tokenizer(const struct model *m)
{
	static const char *const files[] = {"tokenizer.json", "tiktoken.model"};
	const struct gguf *g = checkpoint_gguf(&m->weights);
	char path[4096];

	if (g)
		return gguf_find(g, "tokenizer.ggml.tokens") != NULL;
	for (int i = 0; i < 2; i++)
		if (io_path(path, sizeof(path), m->weights.dir, files[i]) == 0 && file_exists(path))
			return 1;
	return 0;
}

int
gguf_put_tokenizer(struct gguf_file *f, const struct model *m)
{
	struct export e = {0};
	int r;

	put_sampling(f, &m->config.generation);
	if (!has_tokenizer(m)) {
		put_text(f, "tokenizer.ggml.model", "none");
		put_id(f, GGUF_BOS, m->config.bos);
		put_id(f, GGUF_EOS, m->config.generation.neos ? m->config.generation.eos[0] : -1);
		return 0;
	}
	if ((r = export_open(&e, m->weights.dir)) == 0) {
		if (e.pre)
			put_tokens(f, &e);
		else
			r = fail(FAIL_USAGE, "'%s': GGUF has no name for its pre-tokenizer",
			    m->weights.dir);
	}
	export_close(&e);
	return r;
}

/* --- rope --- */

/* In the precisions of llama.cpp's converter. */
float
gguf_rope_factor(const struct config *c, int i)
{
	const struct rope_config *r = &c->rope;
	float power = (float)(2 * i) / (float)c->head_dim;
	double wave = 2 * 3.14159265358979323846 / (double)(1 / powf((float)r->theta, power));
	double keep = (r->original_max_position / wave - r->low_freq_factor) /
	    (r->high_freq_factor - r->low_freq_factor);

	keep = fmin(fmax(keep, 0), 1);
	return (float)(1 / ((1 - keep) / r->factor + keep));
}
