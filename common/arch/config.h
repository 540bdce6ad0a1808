/*
 * config.json and generation_config.json of a checkpoint, checked, as a struct.  All shapes come
 * from it.
 */
#ifndef DS_CONFIG_H
#define DS_CONFIG_H

/* Its kind: attention/attention.h. */
enum attention { ATTENTION_MLA, ATTENTION_GQA, ATTENTION_MLA_INDEXED };
enum scoring { SCORE_SOFTMAX, SCORE_SIGMOID };
/* greedy, group_limited_greedy, noaux_tc */
enum topk_method { TOPK_GREEDY, TOPK_GROUP_MAX, TOPK_NOAUX_TC };

#define LAYERS_MAX 1024
#define EXPERTS_MAX 4096
#define CONFIG_EOS_MAX 16

enum rope_type { ROPE_DEFAULT, ROPE_LINEAR, ROPE_YARN, ROPE_LLAMA3 };

struct rope_config {
	enum rope_type type;
	double theta;
	double factor;                  /* of all types but the default */
	int original_max_position;      /* of yarn and llama3 */
	double beta_fast, beta_slow, mscale, mscale_all_dim;            /* of yarn */
	double attention_factor;        /* of yarn, on cosine and sine; 0: from the others */
	double low_freq_factor, high_freq_factor;                       /* of llama3 */
};

/* Layers, a bit each. */
struct layer_set {
	unsigned char bits[LAYERS_MAX / 8];
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
	int num_kv_heads, head_dim;             /* G, d: of grouped-query attention */
	int qkv_bias, o_bias;                   /* whether its products have biases */
	int qk_norm;                            /* norms of each head of q and k */
	int sliding_window;                     /* of the layers in windowed: config_window */
	struct layer_set windowed;
	int index_n_heads, index_head_dim, index_topk;  /* of the indexer of V3.2 */
	int q_lora_rank;                        /* 0: queries are one product */
	int kv_lora_rank;                       /* R */
	int qk_nope_head_dim, qk_rope_head_dim, v_head_dim;
	int kv_b_split;                         /* keys and values of kv_b are two matrices: GGUF */
	int intermediate_size;                  /* of the dense MLP */
	int moe_intermediate_size;
	int n_routed_experts;                   /* E; 0: every layer is dense */
	int num_experts_per_tok;                /* K */
	int n_shared_experts;                   /* one MLP of n moe_intermediate_size */
	int n_group, topk_group;
	int first_k_dense_replace, moe_layer_freq;
	struct layer_set dense;                 /* layers without experts whatever these say */
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
	int rope_half;                          /* pairs are (i, i + half); 0: (2 i, 2 i + 1) */
	struct generation generation;
};

/* Read and check config.json of a folder, and generation_config.json if it exists, or the metadata
 * of a GGUF file.  A key or value that is not supported, or a number out of range, is an error that
 * names both.  0, or -1 and a message (FAIL_DATA). */
int config_load(struct config *c, const char *path);

/* The same of a checkpoint that is open. */
struct checkpoint;
int config_read(struct config *c, struct checkpoint *w);

int config_is_moe(const struct config *c, int layer);  /* 1: routed experts; 0: dense MLP */

/* How many last positions a row of the layer sees, itself included; 0: all. */
int config_window(const struct config *c, int layer);

/* The quantization_config of an FP8 checkpoint, to be deleted by the caller. */
struct cJSON *config_fp8(void);

#endif
