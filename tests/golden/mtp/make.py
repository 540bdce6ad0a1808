#!/usr/bin/env python3
"""Golden vectors of layers for multi-token prediction: an implementation of its own, in float64.

usage: make.py make FOLDER           a tiny model with random weights, and expected.safetensors
       make.py check MODEL STREAM TO the layer of MODEL for head.hidden of sequence 0 in a stream of
                                    ds-sample --draft; writes ids, hidden, after and guess

It needs numpy, torch and safetensors. Formulas: DeepSeek-V3 Technical Report, sections 2.1 and 2.2.
"""

import json, math, os, sys
import torch
from safetensors import safe_open
from safetensors.torch import save_file

F = torch.float64


class Model:
    def __init__(self, folder):
        self.c = json.load(open(os.path.join(folder, "config.json")))
        self.files = [
            safe_open(os.path.join(folder, f), "pt")
            for f in sorted(os.listdir(folder))
            if f.startswith("model") and f.endswith(".safetensors")
        ]
        self.names = {k: f for f in self.files for k in f.keys()}
        self.layer = self.c["num_hidden_layers"]

    def has(self, name):
        return name in self.names

    def get(self, name):
        t = self.names[name].get_tensor(name)
        scale = name + "_scale_inv"
        if scale not in self.names:
            return t.to(F)
        s = self.names[scale].get_tensor(scale).to(F)
        s = s.repeat_interleave(128, 0).repeat_interleave(128, 1)
        return t.to(torch.float32).to(F) * s[: t.shape[0], : t.shape[1]]

    def own(self, name):
        return self.get(f"model.layers.{self.layer}.{name}")


def rms(x, w, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * w


def yarn(c):
    """Frequencies of rope, factor of cosine and sine, factor of the softmax's scale."""
    d, base, s = c["qk_rope_head_dim"], c["rope_theta"], c.get("rope_scaling")
    freq = base ** (-torch.arange(0, d, 2, dtype=F) / d)
    if not s:
        return freq, 1.0, 1.0
    factor, old = s["factor"], s["original_max_position_embeddings"]
    where = lambda turns: d * math.log(old / (turns * 2 * math.pi)) / (2 * math.log(base))
    low, high = max(math.floor(where(s["beta_fast"])), 0), min(
        math.ceil(where(s["beta_slow"])), d - 1
    )
    ramp = ((torch.arange(d // 2, dtype=F) - low) / max(high - low, 0.001)).clamp(0, 1)
    m = lambda k: 0.1 * k * math.log(factor) + 1
    return (
        freq * (1 - ramp) + freq / factor * ramp,
        m(s["mscale"]) / m(s["mscale_all_dim"]),
        m(s["mscale_all_dim"]) ** 2,
    )


def rotate(x, cos, sin):
    """Pairs are neighbours: x [..., d]."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def attention(m, x):
    c, T, H = m.c, x.shape[0], m.c["num_attention_heads"]
    n, r, v = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    freq, grow, scale = yarn(c)
    angle = torch.arange(T, dtype=F)[:, None] * freq
    cos, sin = angle.cos() * grow, angle.sin() * grow
    x = rms(x, m.own("input_layernorm.weight"), c["rms_norm_eps"])
    a = lambda name: m.own("self_attn." + name + ".weight")
    if c["q_lora_rank"]:
        q = rms(x @ a("q_a_proj").T, a("q_a_layernorm"), 1e-6) @ a("q_b_proj").T
    else:
        q = x @ a("q_proj").T
    q = q.view(T, H, n + r)
    kv = x @ a("kv_a_proj_with_mqa").T
    latent = rms(kv[:, :-r], a("kv_a_layernorm"), 1e-6)
    up = (latent @ a("kv_b_proj").T).view(T, H, n + v)
    key_rope = rotate(kv[:, -r:], cos, sin)
    query_rope = rotate(q[..., n:], cos[:, None], sin[:, None])
    score = torch.einsum("thd,shd->hts", q[..., :n], up[..., :n]) + torch.einsum(
        "thd,sd->hts", query_rope, key_rope
    )
    score = score * (n + r) ** -0.5 * scale
    score = score.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -math.inf)
    out = torch.einsum("hts,shd->thd", score.softmax(-1), up[..., n:])
    return out.reshape(T, H * v) @ a("o_proj").T


def mlp(x, gate, up, down):
    g = x @ gate.T
    return (g * g.sigmoid() * (x @ up.T)) @ down.T


def experts(m, x):
    c, T, E = m.c, x.shape[0], m.c["n_routed_experts"]
    x = rms(x, m.own("post_attention_layernorm.weight"), c["rms_norm_eps"])
    w = lambda p: [m.own(f"mlp.{p}.{k}_proj.weight") for k in ("gate", "up", "down")]
    s = (x @ m.own("mlp.gate.weight").T).sigmoid()
    choice = s + m.own("mlp.gate.e_score_correction_bias")
    groups = choice.view(T, c["n_group"], -1)
    best = groups.topk(2, -1).values.sum(-1).topk(c["topk_group"], -1).indices
    open_ = torch.zeros(T, c["n_group"]).scatter(1, best, 1).bool()
    choice = groups.masked_fill(~open_[..., None], -math.inf).view(T, E)
    idx = choice.topk(c["num_experts_per_tok"], -1).indices
    weight = s.gather(1, idx)
    if c["norm_topk_prob"]:
        weight = weight / weight.sum(-1, keepdim=True)
    weight = weight * c["routed_scaling_factor"]
    out = mlp(x, *w("shared_experts"))
    for e in range(E):
        t, k = (idx == e).nonzero(as_tuple=True)
        if len(t):
            out.index_add_(0, t, mlp(x[t], *w(f"experts.{e}")) * weight[t, k, None])
    return out


def predict(m, hidden, token):
    """hidden [T, D] of positions 0 .., token [T] the one after each: hidden states and logits."""
    eps = m.c["rms_norm_eps"]
    name = f"model.layers.{m.layer}.embed_tokens.weight"
    table = m.get(name if m.has(name) else "model.embed_tokens.weight")
    name = f"model.layers.{m.layer}.shared_head.head.weight"
    head = m.get(name if m.has(name) else "lm_head.weight")
    x = torch.cat(
        [rms(table[token], m.own("enorm.weight"), eps), rms(hidden, m.own("hnorm.weight"), eps)], -1
    )
    x = x @ m.own("eh_proj.weight").T
    x = x + attention(m, x)
    x = x + experts(m, x)
    x = rms(x, m.own("shared_head.norm.weight"), eps)
    return x, x @ head.T


def write(m, hidden, ids, path):
    after, logits = predict(m, hidden.to(F), ids[1:])
    two = logits.topk(2, -1).values
    print(
        f"{len(ids) - 1} rows; the least margin of a guess is {(two[:, 0] - two[:, 1]).min():.4g}"
    )
    save_file(
        {
            "ids": ids.to(torch.int32),
            "hidden": hidden.to(torch.float32).contiguous(),
            "after": after.to(torch.float32),
            "guess": logits.argmax(-1).to(torch.int32),
        },
        path,
    )


def make(folder):
    g = torch.Generator().manual_seed(15)
    D, V, H, R, r, n, v, I, E = 64, 96, 4, 32, 8, 16, 16, 24, 8
    c = {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "vocab_size": V,
        "hidden_size": D,
        "intermediate_size": 96,
        "moe_intermediate_size": I,
        "num_hidden_layers": 2,
        "num_nextn_predict_layers": 1,
        "num_attention_heads": H,
        "num_key_value_heads": H,
        "n_shared_experts": 2,
        "n_routed_experts": E,
        "routed_scaling_factor": 1.5,
        "kv_lora_rank": R,
        "q_lora_rank": None,
        "qk_rope_head_dim": r,
        "v_head_dim": v,
        "qk_nope_head_dim": n,
        "topk_method": "noaux_tc",
        "n_group": 2,
        "topk_group": 1,
        "num_experts_per_tok": 2,
        "moe_layer_freq": 1,
        "first_k_dense_replace": 1,
        "norm_topk_prob": True,
        "scoring_func": "sigmoid",
        "hidden_act": "silu",
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "tie_word_embeddings": False,
        "rope_theta": 10000,
        "rope_scaling": None,
        "attention_bias": False,
        "torch_dtype": "bfloat16",
    }
    t = {}

    def add(name, *shape, dtype=torch.bfloat16):
        x = torch.randn(*shape, generator=g)
        x = 1 + 0.2 * x if len(shape) == 1 and "bias" not in name else x / math.sqrt(shape[-1])
        t[name] = x.to(dtype)

    add("model.embed_tokens.weight", V, D)
    add("lm_head.weight", V, D)
    add("model.norm.weight", D)
    for l in range(3):
        p = f"model.layers.{l}."
        for k, shape in {
            "q_proj": (H * (n + r), D),
            "kv_a_proj_with_mqa": (R + r, D),
            "kv_b_proj": (H * (n + v), R),
            "o_proj": (D, H * v),
        }.items():
            add(p + f"self_attn.{k}.weight", *shape)
        add(p + "self_attn.kv_a_layernorm.weight", R)
        add(p + "input_layernorm.weight", D)
        add(p + "post_attention_layernorm.weight", D)
        for where, width in (
            [("", 96)]
            if l == 0
            else [("shared_experts.", 2 * I)] + [(f"experts.{e}.", I) for e in range(E)]
        ):
            for k, shape in {"gate": (width, D), "up": (width, D), "down": (D, width)}.items():
                add(p + f"mlp.{where}{k}_proj.weight", *shape)
        if l > 0:
            add(p + "mlp.gate.weight", E, D)
            add(p + "mlp.gate.e_score_correction_bias", E, dtype=torch.float32)
    p = "model.layers.2."  # embedding and output matrix are those of the model
    add(p + "enorm.weight", D)
    add(p + "hnorm.weight", D)
    add(p + "eh_proj.weight", D, 2 * D)
    add(p + "shared_head.norm.weight", D)
    os.makedirs(folder, exist_ok=True)
    json.dump(c, open(os.path.join(folder, "config.json"), "w"), indent=1)
    save_file(t, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    ids = torch.randint(2, V, (41,), generator=g)
    write(
        Model(folder),
        torch.randn(40, D, generator=g),
        ids,
        os.path.join(folder, "expected.safetensors"),
    )


def check(folder, stream, path):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    import frame

    hidden, ids = {}, {}
    for f in frame.read_frames(open(stream, "rb")):
        row = 0
        for seq, pos, n, flags in f.header.get("spans", []):
            for i in range(n if seq == 0 else 0):
                ids[pos + i] = int(f.tensors["ids"][row + i])
                if flags & 16:
                    hidden[pos + i] = torch.tensor(f.tensors["head.hidden"][row + i])
            row += n
    hidden = torch.stack([hidden[i] for i in range(len(hidden))])
    write(Model(folder), hidden, torch.tensor([ids[i] for i in range(len(hidden) + 1)]), path)


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](*sys.argv[2:])
