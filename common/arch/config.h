/*
 * config.json and generation_config.json of a checkpoint, checked, as a struct.  All shapes come
 * from it.
 */
#ifndef DS_CONFIG_H
#define DS_CONFIG_H

enum attention { ATTENTION_MLA };        /* its kind: attention/attention.h */
enum scoring { SCORE_SOFTMAX, SCORE_SIGMOID };
/* greedy, group_limited_greedy, noaux_tc */
enum topk_method { TOPK_GREEDY, TOPK_GROUP_MAX, TOPK_NOAUX_TC };

#define LAYERS_MAX 1024
#define EXPERTS_MAX 4096
#define CONFIG_EOS_MAX 16

struct rope_config {
	double theta;
	int yarn;                       /* 0: plain rope, the rest unused */
	double factor, beta_fast, beta_slow, mscale, mscale_all_dim;
	int original_max_position;
};

struct generation {                     /* generation_config.json, with its defaults */
	int do_sample;                  /* 0: greedy */
	float temperature;              /* 1; 0: greedy */
	float top_p;                    /* 1: off */
	int top_k;                      /* 0: off */
	int eos[CONFIG_EOS_MAX], neos;  /* eos_token_id here, else config.json's */
};

struct arch;

struct config {
	const struct arch *arch;                /* the family: arch/arch.h */
	const char *type;                       /* model_type */
	enum attention attention;
	int vocab_size;                         /* V */
	int hidden_size;                        /* D */
	int num_layers;
	int num_heads;                          /* H */
	int q_lora_rank;                        /* 0: queries are one product */
	int kv_lora_rank;                       /* R */
	int qk_nope_head_dim, qk_rope_head_dim, v_head_dim;
	int intermediate_size;                  /* of the dense MLP */
	int moe_intermediate_size;
	int n_routed_experts;                   /* E; 0: every layer is dense */
	int num_experts_per_tok;                /* K */
	int n_shared_experts;                   /* one MLP of n moe_intermediate_size */
	int n_group, topk_group;
	int first_k_dense_replace, moe_layer_freq;
	enum scoring scoring;
	enum topk_method topk_method;
	int norm_topk_prob;
	float routed_scaling_factor;
	float rms_norm_eps;                     /* q_a and kv_a norms use 1e-6 whatever this says */
	int max_position;
	int tie_word_embeddings;
	int fp8;                                /* quantization_config: F8_E4M3 in 128x128 blocks */
	int quant;                              /* of ds-quant: 8 or 4, its Q8 or Q4; 0: none */
	int quant_experts, quant_head;          /* of experts only; of the output matrix, too */
	int bos;                                /* -1: none */
	struct rope_config rope;
	struct generation generation;
};

/* Read and check dir/config.json, and generation_config.json if it exists.  A key or value that is
 * not supported, or a number out of range, is an error that names both.  0, or -1 and a message
 * (FAIL_DATA). */
int config_load(struct config *c, const char *dir);

int config_is_moe(const struct config *c, int layer);  /* 1: routed experts; 0: dense MLP */

/* The quantization_config of an FP8 checkpoint, to be deleted by the caller. */
struct cJSON *config_fp8(void);

#endif
