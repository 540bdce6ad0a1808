/*
 * What the files of the families share: keys of config.json and rows of weight tables that all
 * releases on Hugging Face have, with the same names.
 */
#ifndef DS_ARCH_INTERNAL_H
#define DS_ARCH_INTERNAL_H

#include "arch/arch.h"
#include "arch/config_internal.h"

/* --- keys: a struct config_field --- */

#define KEY(key, member, min, max, need) \
	{key, offsetof(struct config, member), min, max, JSON_##need}

#define KEYS_COMMON \
	KEY("vocab_size", vocab_size, 1, VOCAB_MAX, REQUIRED), \
	KEY("hidden_size", hidden_size, 1, DIM_MAX, REQUIRED), \
	KEY("num_hidden_layers", num_layers, 1, LAYERS_MAX, REQUIRED), \
	KEY("num_attention_heads", num_heads, 1, HEADS_MAX, REQUIRED), \
	KEY("intermediate_size", intermediate_size, 1, DIM_MAX, REQUIRED), \
	KEY("max_position_embeddings", max_position, 1, 1 << 30, REQUIRED)

/* The sum of an expert layer has one term a chosen expert and one for the shared ones. */
#define KEYS_EXPERTS \
	KEY("moe_intermediate_size", moe_intermediate_size, 1, DIM_MAX, REQUIRED), \
	KEY("num_experts_per_tok", num_experts_per_tok, 1, FIXED_TERMS_MAX - 1, REQUIRED)

/* --- weights: a struct weight_row --- */

#define DIM(name, expression) static int name(const struct config *c) { return expression; }
#define EXISTS(name, expression) \
	static int name(const struct config *c, int l) { (void)l; return expression; }

DIM(vocab, c->vocab_size)
DIM(hidden, c->hidden_size)
DIM(dense, c->intermediate_size)
DIM(expert, c->moe_intermediate_size)
DIM(routed, c->n_routed_experts)

EXISTS(is_tied, c->tie_word_embeddings)
EXISTS(is_untied, !c->tie_word_embeddings)
EXISTS(is_dense, !config_is_moe(c, l))
EXISTS(is_moe, config_is_moe(c, l))

#define LAYER "model.layers.{l}."
#define ATTN LAYER "self_attn."
#define MLP LAYER "mlp."
#define ROUTED MLP "experts.{e}."

#define W(role, kind, stage, name, rows, cols, exists) \
	{ROLE_##role, WEIGHT_##kind, AT_##stage, name, rows, cols, exists}

#define W_EMBED \
	W(EMBED, PLAIN, EMBED, "model.embed_tokens.weight", vocab, hidden, NULL)

#define W_ROUTER \
	W(MLP_NORM, NORM, ROUTE, LAYER "post_attention_layernorm.weight", hidden, NULL, NULL), \
	W(ROUTER, PLAIN, ROUTE, MLP "gate.weight", routed, hidden, is_moe)

#define W_MLP \
	W(DENSE_GATE, LINEAR, EXPERT, MLP "gate_proj.weight", dense, hidden, is_dense), \
	W(DENSE_UP, LINEAR, EXPERT, MLP "up_proj.weight", dense, hidden, is_dense), \
	W(DENSE_DOWN, LINEAR, EXPERT, MLP "down_proj.weight", hidden, dense, is_dense), \
	W(EXPERT_GATE, EXPERT, EXPERT, ROUTED "gate_proj.weight", expert, hidden, is_moe), \
	W(EXPERT_UP, EXPERT, EXPERT, ROUTED "up_proj.weight", expert, hidden, is_moe), \
	W(EXPERT_DOWN, EXPERT, EXPERT, ROUTED "down_proj.weight", hidden, expert, is_moe)

#define W_HEAD \
	W(FINAL_NORM, NORM, HEAD, "model.norm.weight", hidden, NULL, NULL), \
	W(HEAD, HEAD, HEAD, "lm_head.weight", vocab, hidden, is_untied), \
	W(HEAD, PLAIN, HEAD, "model.embed_tokens.weight", vocab, hidden, is_tied)

/* --- modules of transformers --- */

/* What the hook of a module is given ends in .input; .0, .1 and .2 are the values of a module that
 * returns several: of the gate logits, weights and chosen experts. */
#define MODULES_COMMON \
	"model.embed_tokens embed - h\n" \
	"model.layers.{l}.self_attn attn {l} attn.out@{l}\n" \
	"model.layers.{l}.self_attn.0 attn {l} attn.out@{l}\n" \
	"model.layers.{l}.post_attention_layernorm.input attn {l} h\n" \
	"model.layers.{l}.mlp.gate.1 route {l} expert.w\n" \
	"model.layers.{l}.mlp.gate.2 route {l} expert.idx\n" \
	"model.layers.{l}.mlp expert {l} expert.out@{l}\n" \
	"model.layers.{l}.mlp.0 expert {l} expert.out@{l}\n" \
	"model.layers.{l} expert {l} h\n" \
	"model.layers.{l}.0 expert {l} h\n" \
	"model.norm head - head.norm\n" \
	"lm_head head - logits\n"

#endif
