"""The shapes that both sides are given, as config.json; layers and experts are few enough for small machines."""

V2 = {"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "topk_method": "greedy", "scoring_func": "softmax",
      "norm_topk_prob": False, "routed_scaling_factor": 1.0, "first_k_dense_replace": 1}
V3 = {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "topk_method": "noaux_tc", "scoring_func": "sigmoid",
      "n_group": 8, "topk_group": 4, "norm_topk_prob": True, "routed_scaling_factor": 2.5, "first_k_dense_replace": 0}
ALL = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "moe_layer_freq": 1,
       "hidden_act": "silu", "rms_norm_eps": 1e-6, "max_position_embeddings": 32768, "rope_theta": 10000.0, "vocab_size": 32000}

GQA = {"hidden_act": "silu", "rms_norm_eps": 1e-6, "max_position_embeddings": 32768,
       "rope_theta": 1000000.0, "tie_word_embeddings": False}

SHAPES = {
    # R1-Distill-Qwen-1.5B
    "qwen2-1.5b": GQA | {"model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960,
                         "num_attention_heads": 12, "num_key_value_heads": 2,
                         "num_hidden_layers": 28, "vocab_size": 151936},
    # 4 of the 32 layers of R1-Distill-Llama-8B
    "llama-8b-4layers": GQA | {"model_type": "llama", "hidden_size": 4096,
                               "intermediate_size": 14336, "num_attention_heads": 32,
                               "num_key_value_heads": 8, "num_hidden_layers": 4,
                               "vocab_size": 128256},
    # one layer of Qwen3-30B-A3B
    "qwen3-moe-layer": GQA | {"model_type": "qwen3_moe", "hidden_size": 2048, "head_dim": 128,
                              "intermediate_size": 6144, "moe_intermediate_size": 768,
                              "num_attention_heads": 32, "num_key_value_heads": 4,
                              "num_experts": 128, "num_experts_per_tok": 8,
                              "num_hidden_layers": 1, "vocab_size": 151936},
    # to try the scripts
    "small-gqa": GQA | {"model_type": "qwen2", "hidden_size": 512, "intermediate_size": 1024,
                        "num_attention_heads": 8, "num_key_value_heads": 2,
                        "num_hidden_layers": 2, "vocab_size": 2048},
    # V2-Lite, but queries have a low rank: llama.cpp takes those that have none only with 27 layers
    "lite": V2 | ALL | {"hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408, "num_attention_heads": 16,
                        "num_hidden_layers": 5, "n_shared_experts": 2, "n_routed_experts": 64, "num_experts_per_tok": 6,
                        "q_lora_rank": 1536},
    # one layer of V3, with 48 of its 256 experts: a row chooses as many as ever
    "v3": V3 | ALL | {"hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_attention_heads": 128,
                      "num_hidden_layers": 1, "n_shared_experts": 1, "n_routed_experts": 48, "num_experts_per_tok": 8,
                      "q_lora_rank": 1536},
    # to try the scripts
    "small": V3 | ALL | {"hidden_size": 512, "intermediate_size": 1024, "moe_intermediate_size": 256, "num_attention_heads": 4,
                         "num_hidden_layers": 2, "n_shared_experts": 1, "n_routed_experts": 16, "num_experts_per_tok": 4,
                         "q_lora_rank": 128, "kv_lora_rank": 128, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32,
                         "v_head_dim": 64, "vocab_size": 2048},
}

def token_weights(c):
    """What a token multiplies with: numbers in matrices of layers, and in other matrices."""
    D, H, L, dense = c["hidden_size"], c["num_attention_heads"], c["num_hidden_layers"], 0
    E = c.get("n_routed_experts") or c.get("num_experts") or 0
    if "kv_lora_rank" in c:
        R, Q, rope = c["kv_lora_rank"], c["q_lora_rank"], c["qk_rope_head_dim"]
        nope, V = c["qk_nope_head_dim"], c["v_head_dim"]
        attn = Q * D + H * (nope + rope) * Q + (R + rope) * D + H * (nope + V) * R + D * H * V
        dense = c["first_k_dense_replace"]
    else:
        head = c.get("head_dim", D // H)
        attn = 2 * D * head * (H + c["num_key_value_heads"])
    mlp = 3 * D * c["intermediate_size"]
    experts = c.get("num_experts_per_tok", 0) + c.get("n_shared_experts", 0)
    moe = 3 * D * experts * c["moe_intermediate_size"] if E else mlp
    return L * attn + dense * mlp + (L - dense) * moe, D * (c["vocab_size"] + (L - dense) * E)


# of dspipe's own types of weights the type of GGUF with as many bits
OWN = {"bf16": "BF16", "q8": "Q8_0", "q4": "Q4_0"}

# types of GGUF; embedding, head and router of shapes with latent attention are BF16, BF16 and F32
KINDS = "bf16 q8_0 q4_0 q4_k q5_k q6_k iq4_nl iq4_xs mxfp4"
SAME = {kind: kind.upper() for kind in KINDS.split()}
BITS = {"bf16": 16, "q8": 8.5, "q8_0": 8.5, "q4": 4.5, "q4_0": 4.5, "q4_k": 4.5, "q5_k": 5.5,
        "q6_k": 6.5625, "iq4_nl": 4.5, "iq4_xs": 4.25, "mxfp4": 4.25}
