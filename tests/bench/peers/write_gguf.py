"""A GGUF of random weights in the shape of a config.json: for timing only.  write_gguf.py CONFIG TYPE LAYOUT OUT

LAYOUT: gqa, of models without latent attention; new, where each head's keys and values have matrices of their own (llama.cpp); old, where they are one matrix (the
fork, which takes new ones of models only that it knows by their number of layers)."""
import json
import sys

import gguf
import numpy as np

CONFIG, TYPE, LAYOUT, OUT = sys.argv[1:]
# weights and bytes of a block
BYTES = {kind.name: size for kind, size in gguf.GGML_QUANT_SIZES.items()}
# of matrices whose columns are no multiple of a block
SMALLER = {"Q4_K": "Q4_0", "Q5_K": "Q8_0", "Q6_K": "Q8_0", "IQ4_XS": "IQ4_NL"}
with open(CONFIG, encoding="utf-8") as f:
    c = json.load(f)
rng = np.random.default_rng(1)
D, H, L = c["hidden_size"], c["num_attention_heads"], c["num_hidden_layers"]
ARCHES = {"qwen2": "qwen2", "llama": "llama", "qwen3_moe": "qwen3moe"}
ARCH = ARCHES.get(c["model_type"], "deepseek2")
GQA = LAYOUT == "gqa"
if GQA:
    G, HEAD, E = c["num_key_value_heads"], c.get("head_dim", D // H), c.get("num_experts", 0)
else:
    R, E = c["kv_lora_rank"], c["n_routed_experts"]
    rope, nope = c["qk_rope_head_dim"], c["qk_nope_head_dim"]
    V, Q = c["v_head_dim"], c["q_lora_rank"]
PRES = {"llama": "llama-bpe", "deepseek2": "deepseek-llm"}


def blocks(kind):
    """Some blocks of random weights of about 0.02."""
    if kind == "F32":
        return (rng.standard_normal((1 << 14, 1)) * .02).astype("f4").view("u1")
    if kind == "BF16":
        return ((rng.standard_normal((1 << 16, 1)) * .02).astype("f4").view("u4") >> 16).astype("u2").view("u1")
    b = rng.integers(0, 256, (4096, BYTES[kind][1]), dtype="u1")
    if kind in ("Q4_K", "Q5_K"):    # scales of up to 63 for the codes, and as much for the minimum
        b[:, :4] = np.array([8e-5 if kind == "Q4_K" else 4e-5, 6e-4], "f2").view("u1")
    elif kind == "Q6_K":            # signed scales for codes of up to 32
        b[:, -2:] = np.array([1e-5], "f2").view("u1")
    elif kind == "IQ4_XS":          # signed scales of up to 32 for codes of up to 127
        b[:, :2] = np.array([2e-5], "f2").view("u1")
    elif kind == "MXFP4":           # a power of two
        b[:, 0] = 127 - 7
    else:
        b[:, :2] = np.array([.02 / (4 if kind == "Q4_0" else 64)], "f2").view("u1")
    return b


BLOCKS = {kind: blocks(kind) for kind in {TYPE, SMALLER.get(TYPE, TYPE), "BF16", "F32"}}


def tensors():
    """(name, type, shape with the columns last, value or None for random), in the order of the file."""
    outer = TYPE if GQA else "BF16"
    yield "token_embd.weight", outer, (c["vocab_size"], D), None
    yield "output_norm.weight", "F32", (D,), 1
    yield "output.weight", outer, (c["vocab_size"], D), None
    for i in range(L):
        for name, shape in (gqa_layer() if GQA else layer(i)):
            kind = "F32" if len(shape) < 2 or name == "ffn_gate_inp.weight" else \
                TYPE if shape[-1] % BYTES[TYPE][0] == 0 else SMALLER[TYPE]
            yield f"blk.{i}.{name}", kind, shape, None if len(shape) > 1 else 0 if name.endswith("bias") else 1


def layer(i):
    yield "attn_norm.weight", (D,)
    yield "ffn_norm.weight", (D,)
    yield "attn_q_a.weight", (Q, D)
    yield "attn_q_a_norm.weight", (Q,)
    yield "attn_q_b.weight", (H * (nope + rope), Q)
    yield "attn_kv_a_mqa.weight", (R + rope, D)
    yield "attn_kv_a_norm.weight", (R,)
    if LAYOUT == "new":
        yield "attn_k_b.weight", (H, R, nope)
        yield "attn_v_b.weight", (H, V, R)
    else:
        yield "attn_kv_b.weight", (H * (nope + V), R)
    yield "attn_output.weight", (D, H * V)
    if i < c["first_k_dense_replace"]:
        parts = [("", (), c["intermediate_size"])]
    else:
        yield "ffn_gate_inp.weight", (E, D)
        if c["scoring_func"] == "sigmoid":
            yield "exp_probs_b.bias", (E,)
        width = c["moe_intermediate_size"]
        parts = [("_exps", (E,), width), ("_shexp", (), width * c["n_shared_experts"])]
    for suffix, first, width in parts:
        yield f"ffn_gate{suffix}.weight", (*first, width, D)
        yield f"ffn_up{suffix}.weight", (*first, width, D)
        yield f"ffn_down{suffix}.weight", (*first, D, width)


def gqa_layer():
    yield "attn_norm.weight", (D,)
    yield "ffn_norm.weight", (D,)
    for name, rows in ("q", H * HEAD), ("k", G * HEAD), ("v", G * HEAD):
        yield f"attn_{name}.weight", (rows, D)
        if ARCH == "qwen2":
            yield f"attn_{name}.bias", (rows,)
    if ARCH == "qwen3moe":
        yield "attn_q_norm.weight", (HEAD,)
        yield "attn_k_norm.weight", (HEAD,)
        yield "ffn_gate_inp.weight", (E, D)
    yield "attn_output.weight", (D, H * HEAD)
    first, suffix = ((E,), "_exps") if E else ((), "")
    width = c["moe_intermediate_size" if E else "intermediate_size"]
    yield f"ffn_gate{suffix}.weight", (*first, width, D)
    yield f"ffn_up{suffix}.weight", (*first, width, D)
    yield f"ffn_down{suffix}.weight", (*first, D, width)


def data(kind, shape, value):
    if value is not None:
        return np.full(shape, value, "f4")
    per, size = BYTES[kind]
    return np.resize(BLOCKS[kind], (int(np.prod(shape)) // per, size))


def settings(w):
    w.add_block_count(L)
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(D)
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(H)
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_rope_freq_base(c["rope_theta"])
    w.add_vocab_size(c["vocab_size"])
    (gqa_settings if GQA else mla_settings)(w)
    tokenizer(w)


def gqa_settings(w):
    w.add_head_count_kv(G)
    w.add_key_length(HEAD)
    w.add_value_length(HEAD)
    w.add_rope_dimension_count(HEAD)
    if E:
        w.add_expert_count(E)
        w.add_expert_used_count(c["num_experts_per_tok"])
        w.add_expert_feed_forward_length(c["moe_intermediate_size"])


def mla_settings(w):
    w.add_head_count_kv(1 if LAYOUT == "new" else H)
    w.add_leading_dense_block_count(c["first_k_dense_replace"])
    w.add_q_lora_rank(Q)
    w.add_kv_lora_rank(R)
    w.add_key_length(R + rope if LAYOUT == "new" else nope + rope)
    w.add_value_length(R if LAYOUT == "new" else V)
    if LAYOUT == "new":
        w.add_key_length_mla(nope + rope)
        w.add_value_length_mla(V)
    w.add_rope_dimension_count(rope)
    w.add_expert_feed_forward_length(c["moe_intermediate_size"])
    w.add_expert_count(E)
    w.add_expert_used_count(c["num_experts_per_tok"])
    w.add_expert_shared_count(c["n_shared_experts"])
    w.add_expert_weights_scale(c["routed_scaling_factor"])
    w.add_expert_weights_norm(c["norm_topk_prob"])
    sigmoid = c["scoring_func"] == "sigmoid"
    w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID if sigmoid else gguf.ExpertGatingFuncType.SOFTMAX)
    if sigmoid:
        w.add_expert_group_count(c["n_group"])
        w.add_expert_group_used_count(c["topk_group"])


def tokenizer(w):
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(PRES.get(ARCH, "qwen2"))
    w.add_token_list([f"t{i}" for i in range(c["vocab_size"])])
    w.add_token_types([1] * c["vocab_size"])
    w.add_token_merges(["t 0"])
    w.add_bos_token_id(0)
    w.add_eos_token_id(1)


w = gguf.GGUFWriter(OUT, ARCH)
settings(w)
for name, kind, shape, _ in tensors():
    per, size = BYTES[kind]
    if kind == "F32":
        w.add_tensor_info(name, shape, np.dtype("f4"), int(np.prod(shape)) * 4)
    else:   # of raw bytes the writer wants the shape in bytes
        w.add_tensor_info(name, (*shape[:-1], shape[-1] // per * size), np.dtype("u1"), int(np.prod(shape)) // per * size,
                          raw_dtype=gguf.GGMLQuantizationType[kind])
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_ti_data_to_file()
for _, kind, shape, value in tensors():
    w.write_tensor_data(data(kind, shape, value))
w.close()
