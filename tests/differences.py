"""Gradients of ds-learn against central differences of a forward pass in float64.

usage: differences.py MODEL RECORDS GRADIENTS [--clip E1,E2] [--beta B --reference MODEL]
           [--advantage std|mean] [--directions N]

MODEL is a DeepSeek-V3 checkpoint, such as tiny-r1; RECORDS those of ds-learn --sft or --records;
GRADIENTS the file of ds-learn --dry-run --gradients.  The weights move along random directions, and
the experts that rows choose stay the same.  Prints the loss and, for each direction, the slope, the
same from the gradients, and their difference relative to the length of both vectors.

It shares no code with dspipe.  Needs numpy.
"""
import argparse
import json
import math
import pathlib

import numpy as np

LORA_EPS = 1e-6


def e4m3():
    byte = np.arange(256)
    exponent, mantissa = byte >> 3 & 15, byte & 7
    value = np.where(exponent, (8 + mantissa) * 2.0 ** (exponent - 10), mantissa * 2.0 ** -9)
    return np.where(byte & 128, -value, value)


def tensors(path):
    """By columns: BLAS multiplies by the transpose of such a matrix twice as fast."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    for name, t in json.loads(raw[8:start]).items():
        if name == "__metadata__":
            continue
        a, b = (start + x for x in t["data_offsets"])
        if t["dtype"] == "F8_E4M3":
            v = e4m3()[np.frombuffer(raw[a:b], "u1")]
        elif t["dtype"] == "BF16":
            v = (np.frombuffer(raw[a:b], "<u2").astype("<u4") << 16).view("<f4")
        else:
            v = np.frombuffer(raw[a:b], {"F32": "<f4", "F64": "<f8"}[t["dtype"]])
        yield name, np.asfortranarray(v.reshape(t["shape"]), "f8")


def checkpoint(folder):
    folder = pathlib.Path(folder)
    w = {n: t for f in sorted(folder.glob("*.safetensors")) for n, t in tensors(f)}
    for name in [n for n in w if n.endswith("_scale_inv")]:
        scale, matrix = w.pop(name), name[:-len("_scale_inv")]
        rows, cols = w[matrix].shape
        w[matrix] = w[matrix] * scale.repeat(128, 0)[:rows].repeat(128, 1)[:, :cols]
    return json.loads((folder / "config.json").read_text()), w


def norm(x, w, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def silu(x):
    return x / (1 + np.exp(-x))


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


class Forward:
    """Log probabilities of a record's tokens.  choices: the experts of earlier calls, by record and
    layer; they are chosen once."""

    def __init__(self, config):
        self.c = config
        self.choices = {}
        self.rope, self.scale = self.yarn()

    def yarn(self):
        c, s = self.c, self.c["rope_scaling"]
        d = c["qk_rope_head_dim"]
        f = c["rope_theta"] ** -(np.arange(0, d, 2) / d)
        scale = (c["qk_nope_head_dim"] + d) ** -0.5
        if not s:
            return f, scale

        def pair(turns):
            return d * math.log(s["original_max_position_embeddings"] / (turns * 2 * math.pi)) / (
                2 * math.log(c["rope_theta"]))

        low = max(math.floor(pair(s["beta_fast"])), 0)
        high = min(math.ceil(pair(s["beta_slow"])), d - 1)
        ramp = np.clip((np.arange(d // 2) - low) / max(high - low, 0.001), 0, 1)
        m = 0.1 * s["mscale_all_dim"] * math.log(s["factor"]) + 1
        return f / s["factor"] * ramp + f * (1 - ramp), scale * m * m

    def rotate(self, x):
        """x [T][..][rope]: neighbours are a pair."""
        angle = np.arange(len(x))[:, None] * self.rope
        cos, sin = np.cos(angle), np.sin(angle)
        if x.ndim == 3:
            cos, sin = cos[:, None], sin[:, None]
        a, b = x[..., 0::2], x[..., 1::2]
        return np.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(x.shape)

    def attention(self, w, p, x):
        c, T = self.c, len(x)
        H, nope, v = c["num_attention_heads"], c["qk_nope_head_dim"], c["v_head_dim"]
        R = c["kv_lora_rank"]
        if c.get("q_lora_rank"):
            q = norm(x @ w[p + "q_a_proj.weight"].T, w[p + "q_a_layernorm.weight"], LORA_EPS)
            q = q @ w[p + "q_b_proj.weight"].T
        else:
            q = x @ w[p + "q_proj.weight"].T
        q = q.reshape(T, H, -1)
        kv = x @ w[p + "kv_a_proj_with_mqa.weight"].T
        latent = norm(kv[:, :R], w[p + "kv_a_layernorm.weight"], LORA_EPS)
        k_rope, q_rope = self.rotate(kv[:, R:]), self.rotate(q[..., nope:])
        kv = (latent @ w[p + "kv_b_proj.weight"].T).reshape(T, H, nope + v)
        score = np.einsum("thd,shd->hts", q[..., :nope], kv[..., :nope]) + np.einsum(
            "thd,sd->hts", q_rope, k_rope)
        score = score * self.scale + np.triu(np.full((T, T), -np.inf), 1)
        out = np.einsum("hts,shd->thd", np.exp(log_softmax(score)), kv[..., nope:])
        return out.reshape(T, -1) @ w[p + "o_proj.weight"].T

    def mlp(self, w, p, x):
        gate = silu(x @ w[p + "gate_proj.weight"].T)
        return (gate * (x @ w[p + "up_proj.weight"].T)) @ w[p + "down_proj.weight"].T

    def choose(self, score, bias):
        c = self.c
        T, E, G = *score.shape, c["n_group"]
        by = (score + bias).reshape(T, G, E // G)
        best = np.sort(by, -1)[..., -2:].sum(-1)
        kept = np.argsort(-best, -1)[:, :c["topk_group"]]
        mask = np.full((T, G), -np.inf)
        np.put_along_axis(mask, kept, 0, 1)
        by = (by + mask[..., None]).reshape(T, E)
        return np.argsort(-by, -1)[:, :c["num_experts_per_tok"]]

    def experts(self, w, p, x, key):
        c = self.c
        score = 1 / (1 + np.exp(-(x @ w[p + "gate.weight"].T)))
        if key not in self.choices:
            self.choices[key] = self.choose(score, w[p + "gate.e_score_correction_bias"])
        chosen = self.choices[key]
        weight = np.take_along_axis(score, chosen, 1)
        if c["norm_topk_prob"]:
            weight = weight / (weight.sum(-1, keepdims=True) + 1e-20)
        weight = weight * c["routed_scaling_factor"]
        out = self.mlp(w, p + "shared_experts.", x)
        for e in np.unique(chosen):
            t, k = np.nonzero(chosen == e)
            out[t] += weight[t, k, None] * self.mlp(w, f"{p}experts.{e}.", x[t])
        return out

    def logprobs(self, w, ids, record):
        """[n - 1]: of ids[1:]."""
        c = self.c
        h = w["model.embed_tokens.weight"][ids]
        for i in range(c["num_hidden_layers"]):
            p = f"model.layers.{i}."
            h = h + self.attention(w, p + "self_attn.", norm(
                h, w[p + "input_layernorm.weight"], c["rms_norm_eps"]))
            x = norm(h, w[p + "post_attention_layernorm.weight"], c["rms_norm_eps"])
            h = h + (self.mlp(w, p + "mlp.", x) if i < c["first_k_dense_replace"] else
                     self.experts(w, p + "mlp.", x, (record, i)))
        y = norm(h, w["model.norm.weight"], c["rms_norm_eps"])
        logp = log_softmax(y @ w["lm_head.weight"].T)
        return logp[np.arange(len(ids) - 1), ids[1:]]


def advantages(records, how):
    groups = {}
    for r in records:
        groups.setdefault(json.dumps(r.get("id")), []).append(r["reward"])
    out = []
    for r in records:
        rewards = np.array(groups[json.dumps(r.get("id"))], "f8")
        a = r["reward"] - rewards.mean()
        out.append(a / (rewards.std() + 1e-6) if how == "std" else a)
    return out


class Loss:
    def __init__(self, options, records, forward):
        self.o, self.records, self.forward = options, records, forward
        self.policy = "reward" in records[0]
        self.ids, self.old = [], []
        for r in records:
            if self.policy:
                whole = r["prompt_ids"] + r["ids"] if "prompt_ids" in r else r["ids"]
                self.ids.append(np.array(whole))
            else:
                self.ids.append(np.array(r["ids"]))
        if self.policy:
            self.advantage = advantages(records, options.advantage)
        if options.beta:
            config, w = checkpoint(options.reference)
            other = Forward(config)
            self.reference = [other.logprobs(w, ids, i) for i, ids in enumerate(self.ids)]

    def cross_entropy(self, w):
        total = weights = 0
        for i, r in enumerate(self.records):
            weight = np.array(r["weights"][1:], "f8")
            total -= weight @ self.forward.logprobs(w, self.ids[i], i)
            weights += weight.sum()
        return total / weights

    def grpo(self, w):
        total = tokens = 0
        for i, r in enumerate(self.records):
            n = len(r["logprobs"])
            new, A = self.forward.logprobs(w, self.ids[i], i)[-n:], self.advantage[i]
            ratio = np.exp(new - np.array(r["logprobs"], "f8"))
            low, high = (float(x) for x in self.o.clip.split(","))
            total -= np.minimum(ratio * A, np.clip(ratio, 1 - low, 1 + high) * A).sum()
            if self.o.beta:
                d = self.reference[i][-n:] - new
                total += self.o.beta * (np.exp(d) - d - 1).sum()
            tokens += n
        return total / tokens

    def __call__(self, w):
        return self.grpo(w) if self.policy else self.cross_entropy(w)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("records", type=pathlib.Path)
    p.add_argument("gradients", type=pathlib.Path)
    p.add_argument("--clip", default="0.2,0.2")
    p.add_argument("--beta", type=float, default=0)
    p.add_argument("--reference")
    p.add_argument("--advantage", default="std")
    p.add_argument("--directions", type=int, default=4)
    o = p.parse_args()
    config, w = checkpoint(o.model)
    gradient = dict(tensors(o.gradients))
    records = [json.loads(line) for line in o.records.read_text().splitlines()]
    loss = Loss(o, records, Forward(config))
    print(f"loss {loss(w):.9g}")
    rng, step = np.random.default_rng(1), 1e-7
    for _ in range(o.directions):
        v = {n: rng.standard_normal(w[n].shape[::-1]).T * np.sqrt(np.mean(w[n] ** 2))
             for n in gradient}
        # of the gradient itself, too: a random direction is nearly orthogonal to it
        part = sum((g * g).sum() for g in gradient.values()) ** 0.5
        size = sum((x * x).sum() for x in v.values()) ** 0.5
        v = {n: v[n] + gradient[n] / part * size for n in v}
        slope = (loss({**w, **{n: w[n] + step * v[n] for n in v}}) -
                 loss({**w, **{n: w[n] - step * v[n] for n in v}})) / (2 * step)
        given = sum((gradient[n] * v[n]).sum() for n in v)
        error = abs(slope - given) / (abs(slope) + abs(given))
        print(f"slope {slope:.9g} gradient {given:.9g} error {error:.2e}")


if __name__ == "__main__":
    main()
