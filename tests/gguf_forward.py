"""A second forward pass over a GGUF, in numpy's float32 over the weights that the package gguf
dequantizes.  It reads names, shapes and row orders as llama.cpp stores them, and shares no code
with dspipe.  Architectures: llama, qwen2, qwen3, qwen3moe, deepseek2.

usage: gguf_forward.py FILE N PROMPT...    greedy continuations of N tokens, as JSON
       PROMPT is ids with commas.  All prompts run together: each step reads the weights once.

Needs the packages gguf and numpy.
"""
import json
import math
import sys

import gguf
import numpy as np

f32 = np.float32


class Weights:
    """Tensors by name, dequantized when they are first used; experts one at a time."""

    def __init__(self, path):
        self.reader = gguf.GGUFReader(path)
        self.tensors = {t.name: t for t in self.reader.tensors}
        self.made = {}
        self.arch = self.key("general.architecture")

    def key(self, name, default=None):
        f = self.reader.get_field(name.replace("{a}", getattr(self, "arch", "")))
        return default if f is None else f.contents()

    def __contains__(self, name):
        return name in self.tensors

    def __getitem__(self, name):
        if name not in self.made:
            t = self.tensors[name]
            w = gguf.quants.dequantize(t.data, t.tensor_type)
            self.made[name] = np.ascontiguousarray(w.reshape(t.shape[::-1]), f32)
        return self.made[name]


def norm(x, w, eps):
    return (x / np.sqrt((x * x).mean(-1, keepdims=True, dtype=np.float64) + eps)).astype(f32) * w


def silu(x):
    return x / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rotary(w, dims, llama=False):
    """The inverse frequencies [dims / 2] and the factor of cosine and sine."""
    base = w.key("{a}.rope.freq_base", 10000.0)
    inv = base ** -(np.arange(0, dims, 2) / dims)
    kind, factor = w.key("{a}.rope.scaling.type", "none"), w.key("{a}.rope.scaling.factor", 1.0)
    if "rope_freqs.weight" in w:
        inv = inv / w["rope_freqs.weight"][:dims // 2]
    if kind == "linear":
        inv = inv / factor
    if kind != "yarn" or factor <= 1:
        return inv, 1.0
    start = w.key("{a}.rope.scaling.original_context_length")
    turns = (32.0, 1.0) if llama else (w.key("{a}.rope.scaling.yarn_beta_fast", 32.0),
                                       w.key("{a}.rope.scaling.yarn_beta_slow", 1.0))
    low, high = (dims * math.log(start / (b * 2 * math.pi)) / (2 * math.log(base)) for b in turns)
    low, high = max(math.floor(low), 0), min(math.ceil(high), dims - 1)
    ramp = np.clip((np.arange(dims // 2) - low) / max(high - low, 0.001), 0, 1)
    inv = inv / factor * ramp + inv * (1 - ramp)
    attn = w.key("{a}.rope.scaling.attn_factor", 1.0)
    return inv, 1.0 if w.arch == "deepseek2" else attn * (1 + 0.1 * math.log(factor))


class Forward:
    """llama: as llama.cpp computes where it does not follow the models' own code: groups of V2 are
    chosen by V3's rule, the latents' norms have the others' epsilon, beta_fast is 32 and beta_slow
    is 1."""

    def __init__(self, path, llama=False):
        w = self.w = Weights(path)
        self.llama = llama
        self.layers, self.heads = w.key("{a}.block_count"), w.key("{a}.attention.head_count")
        self.eps = w.key("{a}.attention.layer_norm_rms_epsilon")
        self.mla = w.arch == "deepseek2"
        width = w.key("{a}.embedding_length") // self.heads
        self.rank = w.key("{a}.attention.kv_lora_rank")
        self.head = w.key("{a}.attention.key_length", width)
        self.rope = w.key("{a}.rope.dimension_count", self.head)
        self.inv, self.magnitude = rotary(w, self.rope, llama)
        self.split = w.arch not in ("llama", "deepseek2")      # pairs are the halves of a head

    def rotate(self, x, at):
        """x [T][heads][rope] at positions [T]."""
        a = (at[:, None] * self.inv[None]).astype(np.float64)[:, None]
        c, s = (f(a).astype(f32) * f32(self.magnitude) for f in (np.cos, np.sin))
        y, half = np.empty_like(x), x.shape[-1] // 2
        i, j = ((slice(0, half), slice(half, None)) if self.split
                else (slice(0, None, 2), slice(1, None, 2)))
        y[..., i], y[..., j] = x[..., i] * c - x[..., j] * s, x[..., j] * c + x[..., i] * s
        return y

    def linear(self, x, name):
        y = x @ self.w[name + ".weight"].T
        return y + self.w[name + ".bias"] if name + ".bias" in self.w else y

    def attend(self, q, k, v, scale, at):
        """One sequence: q [T][H][d], k [S][G][d], v [S][G][e], causal; returns [T][H e]."""
        group = q.shape[1] // k.shape[1]
        k, v = (np.repeat(a.transpose(1, 0, 2), group, 0) for a in (k, v))
        s = q.transpose(1, 0, 2) @ k.transpose(0, 2, 1) * f32(scale)
        s[:, np.arange(k.shape[1])[None] > at[:, None]] = -np.inf
        return (softmax(s) @ v).transpose(1, 0, 2).reshape(len(q), -1)

    def keys(self, x, p, at):
        """q, k and v of grouped-query attention."""
        t = len(x)
        q, k, v = (self.linear(x, p + n).reshape(t, -1, self.head) if n != "attn_v" else
                   self.linear(x, p + n) for n in ("attn_q", "attn_k", "attn_v"))
        if p + "attn_q_norm.weight" in self.w:
            q = norm(q, self.w[p + "attn_q_norm.weight"], self.eps)
            k = norm(k, self.w[p + "attn_k_norm.weight"], self.eps)
        return self.rotate(q, at), self.rotate(k, at), v.reshape(t, k.shape[1], -1)

    def latent(self, x, p, at):
        """The same of latent attention, its keys and values made of the latents."""
        w, t, eps = self.w, len(x), self.eps if self.llama else 1e-6
        if p + "attn_q_a.weight" in w:
            x_q = norm(self.linear(x, p + "attn_q_a"), w[p + "attn_q_a_norm.weight"], eps)
            q = self.linear(x_q, p + "attn_q_b")
        else:
            q = self.linear(x, p + "attn_q")
        q = q.reshape(t, self.heads, -1)
        nope = q.shape[-1] - self.rope
        kv = self.linear(x, p + "attn_kv_a_mqa")
        c = norm(kv[:, :self.rank], w[p + "attn_kv_a_norm.weight"], eps)
        if p + "attn_kv_b.weight" in w:
            both = (c @ w[p + "attn_kv_b.weight"].T).reshape(t, self.heads, -1)
            k, v = both[..., :nope], both[..., nope:]
        else:
            k = np.einsum("tr,hrn->thn", c, w[p + "attn_k_b.weight"])
            v = np.einsum("tr,hvr->thv", c, w[p + "attn_v_b.weight"])
        k_rope = np.repeat(self.rotate(kv[:, None, self.rank:], at), self.heads, 1)
        q = np.concatenate([q[..., :nope], self.rotate(q[..., nope:], at)], -1)
        return q, np.concatenate([k, k_rope], -1), v

    def scale(self, width):
        """Of the scores: yarn's factor where latent attention has it."""
        log = self.w.key("{a}.rope.scaling.yarn_log_multiplier", 0.0)
        factor = self.w.key("{a}.rope.scaling.factor", 1.0)
        m = 1 + log * math.log(factor) if self.mla and factor > 1 else 1
        return m * m / math.sqrt(width)

    def choose(self, s, p):
        """The experts of each row [T][k] and their weights, from the router's products."""
        w = self.w
        k = w.key("{a}.expert_used_count")
        sigmoid = w.key("{a}.expert_gating_func", 1) == 2
        s = (1 / (1 + np.exp(-s))).astype(f32) if sigmoid else softmax(s)
        rank = s + w[p + "exp_probs_b.bias"] if p + "exp_probs_b.bias" in w else s
        groups, used = (w.key("{a}.expert_group_" + n, 1) for n in ("count", "used_count"))
        if groups > 1 and used < groups:
            g = rank.reshape(len(s), groups, -1)
            two = sigmoid or self.llama
            best = np.sort(g, -1)[..., -2:].sum(-1) if two else g.max(-1)
            out = np.argsort(-best, -1, kind="stable")[:, used:]
            g = g.copy()
            g[np.arange(len(s))[:, None], out] = -np.inf
            rank = g.reshape(s.shape)
        chosen = np.argsort(-rank, -1, kind="stable")[:, :k]
        weight = np.take_along_axis(s, chosen, -1)
        if w.arch == "qwen3moe" or w.key("{a}.expert_weights_norm", False):
            weight = weight / weight.sum(-1, keepdims=True)
        return chosen, weight * f32(w.key("{a}.expert_weights_scale", 1.0) or 1.0)

    def mlp(self, x, p, suffix="", expert=None):
        gate, up, down = (self.w[f"{p}ffn_{n}{suffix}.weight"] for n in ("gate", "up", "down"))
        if expert is not None:
            gate, up, down = gate[expert], up[expert], down[expert]
        return (silu(x @ gate.T) * (x @ up.T)) @ down.T

    def experts(self, x, p):
        chosen, weight = self.choose(self.linear(x, p + "ffn_gate_inp"), p)
        y = np.zeros_like(x)
        for e in np.unique(chosen):
            row, slot = np.nonzero(chosen == e)
            y[row] += weight[row, slot, None] * self.mlp(x[row], p, "_exps", e)
        return y + self.mlp(x, p, "_shexp") if p + "ffn_gate_shexp.weight" in self.w else y

    def run(self, batch, caches):
        """batch: ids of each sequence; caches: a dict for each, which keeps keys and values.
        The logits [n][V] of each."""
        ends = np.cumsum([len(b) for b in batch])
        spans = [slice(e - len(b), e) for b, e in zip(batch, ends)]
        at = np.concatenate([np.arange(len(b)) + c.get("n", 0) for b, c in zip(batch, caches)])
        h = self.w["token_embd.weight"][np.concatenate(batch)]
        for i in range(self.layers):
            p = f"blk.{i}."
            x = norm(h, self.w[p + "attn_norm.weight"], self.eps)
            q, k, v = (self.latent if self.mla else self.keys)(x, p, at)
            rows = []
            for s, c in zip(spans, caches):
                old = c.get(i)
                new = (k[s], v[s]) if old is None else tuple(
                    np.concatenate(b) for b in zip(old, (k[s], v[s])))
                c[i] = new
                rows.append(self.attend(q[s], *new, self.scale(q.shape[-1]), at[s]))
            h = h + self.linear(np.concatenate(rows), p + "attn_output")
            x = norm(h, self.w[p + "ffn_norm.weight"], self.eps)
            h = h + (self.experts(x, p) if p + "ffn_gate_inp.weight" in self.w else self.mlp(x, p))
        for b, c in zip(batch, caches):
            c["n"] = c.get("n", 0) + len(b)
        x = norm(h, self.w["output_norm.weight"], self.eps)
        head = "output.weight" if "output.weight" in self.w else "token_embd.weight"
        logits = x @ self.w[head].T
        return [logits[s] for s in spans]

    def logits(self, ids):
        return self.run([np.array(ids)], [{}])[0]

    def greedy(self, prompts, n):
        """(ids, margins) of each prompt: n tokens, and how far the best logit of each was above
        the next one, as a share of the largest magnitude."""
        caches = [{} for _ in prompts]
        found = [([], []) for _ in prompts]
        batch = [np.array(p) for p in prompts]
        for _ in range(n):
            last = [x[-1] for x in self.run(batch, caches)]
            batch = []
            for (ids, margins), x in zip(found, last):
                second, best = np.partition(x, -2)[-2:]
                ids.append(int(x.argmax()))
                margins.append(float((best - second) / np.abs(x).max()))
                batch.append(np.array(ids[-1:]))
        return found


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    all_prompts = [[int(i) for i in p.split(",")] for p in sys.argv[3:]]
    json.dump(Forward(sys.argv[1]).greedy(all_prompts, int(sys.argv[2])), sys.stdout)
