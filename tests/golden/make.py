#!/usr/bin/env python3
"""make.py FOLDER CASE...: create golden models of the Llama and Qwen families in FOLDER.

CASE is one of CASES below, or all.  Weights are random, in BF16.  expected.safetensors is what
transformers computes in float32; README.md describes it.  Seeds are tried until the sixteen greedy
tokens and the choices of experts are clear of ties.  Requires torch, transformers, safetensors."""
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file

BASE = {
    "bos_token_id": 0, "eos_token_id": 1, "hidden_act": "silu", "hidden_size": 64,
    "intermediate_size": 96, "max_position_embeddings": 1024, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_hidden_layers": 2, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 200,
}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
QWEN3 = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 32,
         "attention_bias": False}

# name: what it tests, tokens of the prompt, what its config.json has beyond BASE
CASES = {
    "llama-long": ("llama3 scaling, 9 times as many positions as the original length", 144, {
        **LLAMA, "head_dim": 32,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 16}}),
    "llama-linear": ("linear scaling; four biases; tied embeddings; a key head a query head", 80, {
        **LLAMA, "attention_bias": True, "tie_word_embeddings": True, "num_key_value_heads": 4,
        "rope_scaling": {"type": "linear", "factor": 4.0}}),
    "qwen3-yarn": ("attention_factor; attn_factor, which is ignored; rope_parameters; biases", 80, {
        **QWEN3, "attention_bias": True, "rope_theta": None,
        "rope_parameters": {"rope_type": "yarn", "rope_theta": 20000.0, "factor": 4.0,
                            "original_max_position_embeddings": 32, "attention_factor": 1.25,
                            "attn_factor": 0.7, "beta_fast": 24, "beta_slow": 2}}),
    "qwen2-types": ("layer_types: windows against max_window_layers; head_dim", 80, {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "head_dim": 32,
        "num_hidden_layers": 3, "num_key_value_heads": 1, "use_sliding_window": True,
        "sliding_window": 17, "max_window_layers": 99,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
    "qwen3-moe-mixed": ("decoder_sparse_step, mlp_only_layers; norm_topk_prob false; windows", 80, {
        **QWEN3, "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
        "num_hidden_layers": 5, "hidden_size": 48, "head_dim": 16, "intermediate_size": 80,
        "moe_intermediate_size": 24, "num_experts": 6, "num_experts_per_tok": 2,
        "norm_topk_prob": False, "decoder_sparse_step": 2, "mlp_only_layers": [3],
        "use_sliding_window": True, "sliding_window": 33}),
}


def tensors(c):
    """Random weights under the names of a release.  Scores of attention depend on positions."""
    hidden = c["hidden_size"]
    width = c.get("head_dim") or hidden // c["num_attention_heads"]
    q, kv = c["num_attention_heads"] * width, c["num_key_value_heads"] * width
    qwen2 = c["model_type"] == "qwen2"
    out = {}

    def matrix(name, rows, cols, scale=1.0):
        out[name + ".weight"] = torch.randn(rows, cols) * scale / cols**0.5

    def vector(name, n, mean, scale):
        out[name] = mean + scale * torch.randn(n)

    def mlp(name, n):
        matrix(name + ".gate_proj", n, hidden)
        matrix(name + ".up_proj", n, hidden)
        matrix(name + ".down_proj", hidden, n, 2.0)

    out["model.embed_tokens.weight"] = 0.3 * torch.randn(c["vocab_size"], hidden)
    for n in range(c["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        attn = layer + ".self_attn"
        for name, rows, biased in (("q", q, 1), ("k", kv, 1), ("v", kv, 1)):
            matrix(f"{attn}.{name}_proj", rows, hidden, 2.0 if name != "v" else 1.0)
            if qwen2 or c.get("attention_bias"):
                vector(f"{attn}.{name}_proj.bias", rows, 0, 0.5)
        matrix(attn + ".o_proj", hidden, q)
        if c.get("attention_bias"):
            vector(attn + ".o_proj.bias", hidden, 0, 0.2)
        if c["model_type"].startswith("qwen3"):
            for name in ("q_norm", "k_norm"):
                vector(f"{attn}.{name}.weight", width, 1.5, 0.3)
        for name in ("input_layernorm", "post_attention_layernorm"):
            vector(f"{layer}.{name}.weight", hidden, 1, 0.2)
        experts = c.get("num_experts", 0)
        sparse = experts and (n + 1) % c.get("decoder_sparse_step", 1) == 0
        if sparse and n not in c.get("mlp_only_layers", []):
            matrix(layer + ".mlp.gate", experts, hidden, 2.0)
            for e in range(experts):
                mlp(f"{layer}.mlp.experts.{e}", c["moe_intermediate_size"])
        else:
            mlp(layer + ".mlp", c["intermediate_size"])
    vector("model.norm.weight", hidden, 1, 0.2)
    if not c["tie_word_embeddings"]:
        matrix("lm_head", c["vocab_size"], hidden, 2.0)
    return {name: t.to(torch.bfloat16).contiguous() for name, t in out.items()}


def trace(model, ids):
    """What README.md lists, of one forward pass."""
    out, gates = {"ids": torch.tensor(ids)}, []
    base = model.model
    hooks = [base.embed_tokens.register_forward_hook(lambda m, i, o: out.update(embed=o[0])),
             base.norm.register_forward_hook(lambda m, i, o: out.update(final_norm=o[0]))]
    for n, layer in enumerate(base.layers):
        def attn(m, i, n=n):
            out[f"layers.{n}.attn"] = i[0][0]

        def after(m, i, o, n=n):
            out[f"layers.{n}.out"] = (o[0] if isinstance(o, tuple) else o).reshape(len(ids), -1)

        def gate(m, i, o, n=n):
            logits, weight, idx = o
            order = idx.argsort(-1)
            out[f"layers.{n}.router.idx"] = idx.gather(-1, order).int()
            out[f"layers.{n}.router.weight"] = weight.gather(-1, order)
            top = logits.softmax(-1).sort(-1, descending=True).values
            gates.append((top[:, m.top_k - 1] - top[:, m.top_k]).min().item())
        hooks.append(layer.post_attention_layernorm.register_forward_pre_hook(attn))
        hooks.append(layer.register_forward_hook(after))
        if hasattr(layer.mlp, "gate"):
            hooks.append(layer.mlp.gate.register_forward_hook(gate))
    with torch.no_grad():
        out["logits"] = model(torch.tensor([ids]), use_cache=False).logits[0]
    for h in hooks:
        h.remove()
    return out, min(gates, default=None)


def greedy(model, ids, n=16):
    """The tokens that follow, and the smallest distance of the two likeliest."""
    margin, ids = float("inf"), list(ids)
    for _ in range(n):
        with torch.no_grad():
            top = model(torch.tensor([ids]), use_cache=False).logits[0, -1].topk(2)
        margin = min(margin, (top.values[0] - top.values[1]).item())
        ids.append(top.indices[0].item())
    return ids[-n:], margin


def make(to, name):
    what, length, more = CASES[name]
    config = {k: v for k, v in {**BASE, **more}.items() if v is not None}
    to.mkdir(parents=True, exist_ok=True)
    (to / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for seed in range(100):
        torch.manual_seed(seed)
        save_file(tensors(config), to / "model.safetensors", {"format": "pt"})
        model = transformers.AutoModelForCausalLM.from_pretrained(
            to, dtype=torch.float32, attn_implementation="eager").eval()
        ids = torch.randint(3, config["vocab_size"], (length,)).tolist()
        out, selection = trace(model, ids)
        out["greedy"], margin = greedy(model, ids)
        out["greedy"] = torch.tensor(out["greedy"])
        varied = len(set(out["greedy"].tolist())) >= 6
        if varied and margin > 2e-2 and (selection or 1) > 1e-4:
            break
    else:
        sys.exit(f"{name}: no seed is clear of ties")
    save_file({k: v.contiguous() for k, v in out.items()}, to / "expected.safetensors")
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
    facts = {"name": name, "exercises": what, "tokens": length, "seed": seed,
             "greedy_margin": margin, "selection_margin": selection,
             "tolerance": "max|got - want| <= 1e-3 * max|want| per tensor; idx, greedy: exact",
             "reference": versions + ", float32 on a CPU, eager attention"}
    (to / "case.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(name, "seed", seed, "margin", margin, selection)


if __name__ == "__main__":
    if len(sys.argv) < 3 or not set(sys.argv[2:]) <= {*CASES, "all"}:
        sys.exit(__doc__ + "\n\nCASE: " + ", ".join([*CASES, "all"]))
    torch.set_num_threads(1)
    for case in CASES if "all" in sys.argv[2:] else sys.argv[2:]:
        make(pathlib.Path(sys.argv[1]) / case, case)
