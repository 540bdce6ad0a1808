"""What the taps hold, against a plain computation from the model's weights.

usage: taps.py check MODEL LAYER IN ATTN ROUTE OUT   streams in front of a layer and behind its three stages, those with all taps;
                                                     a line for each tap that is not what it should be
       taps.py same STREAM STREAM                    the taps of two streams are the same, row by row, however they were batched

MODEL has BF16 weights and no rope scaling."""
import json
import os
import sys

import numpy as np

import frame


def weights(folder):
    out = {}
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".safetensors") or name.startswith("expected"):
            continue
        raw = open(f"{folder}/{name}", "rb").read()
        n = int.from_bytes(raw[:8], "little")
        for key, t in json.loads(raw[8:8 + n]).items():
            if key != "__metadata__":
                a, b = (8 + n + x for x in t["data_offsets"])
                if t["dtype"] == "BF16":
                    x = (np.frombuffer(raw[a:b], "<u2").astype("u4") << 16).view("f4")
                else:
                    x = np.frombuffer(raw[a:b], {"F32": "<f4"}[t["dtype"]])
                out[key] = x.reshape(t["shape"]).astype("f8")
    return out


def batch(file):
    """Its one frame of rows."""
    return next(f for f in frame.read_frames(open(file, "rb")) if "op" not in f.header)


def close(name, got, want, tolerance=1e-4):
    error = np.abs(got - want).max() / max(np.abs(want).max(), 1e-30)
    if got.shape != want.shape or not error <= tolerance:
        print(f"{name}: {got.shape} off by {error:.1e}, expected {want.shape}")


def norm(x, w, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def silu(x):
    return x / (1 + np.exp(-x))


def rotate(x, angle):
    """x [..., 2 half], angle [T, half], a row for each of x's first dimension"""
    a = angle.reshape(angle.shape[0], *[1] * (x.ndim - 2), -1)
    even, odd = x[..., ::2], x[..., 1::2]
    out = np.empty_like(x)
    out[..., ::2], out[..., 1::2] = even * np.cos(a) - odd * np.sin(a), odd * np.cos(a) + even * np.sin(a)
    return out


def check_attn(c, w, p, before, after, tap):
    T, H, R, r = before.shape[0], c["num_attention_heads"], c["kv_lora_rank"], c["qk_rope_head_dim"]
    nope, v, eps = c["qk_nope_head_dim"], c["v_head_dim"], c["rms_norm_eps"]
    pos = np.array([q for _, q in rows])
    seq = np.array([s for s, _ in rows])
    angle = pos[:, None] / c["rope_theta"] ** (np.arange(0, r, 2) / r)
    x = norm(before, w[p + "input_layernorm.weight"], eps)
    close("attn.norm", tap("attn.norm"), x)
    p += "self_attn."
    q = (x @ w[p + "q_proj.weight"].T).reshape(T, H, nope + r)
    q[..., nope:] = rotate(q[..., nope:], angle)
    close("attn.q", tap("attn.q"), q)
    kv = x @ w[p + "kv_a_proj_with_mqa.weight"].T
    latent = norm(kv[:, :R], w[p + "kv_a_layernorm.weight"], 1e-6)
    close("attn.latent", tap("attn.latent"), latent)
    krope = rotate(kv[:, R:], angle)
    close("attn.krope", tap("attn.krope"), krope)
    kv_b = w[p + "kv_b_proj.weight"].reshape(H, nope + v, R)
    keys = np.concatenate([np.einsum("tr,hnr->thn", latent, kv_b[:, :nope]), np.repeat(krope[:, None], H, 1)], 2)
    values = np.einsum("tr,hvr->thv", latent, kv_b[:, nope:])
    probs = np.zeros((T, H, pos.max() + 1))
    heads = np.zeros((T, H, v))
    for t in range(T):
        mine = (seq == seq[t]) & (pos <= pos[t])
        s = np.einsum("hn,shn->hs", q[t], keys[mine]) / np.sqrt(nope + r)
        s = np.exp(s - s.max(1, keepdims=True))
        probs[t][:, pos[mine]] = s / s.sum(1, keepdims=True)
        heads[t] = np.einsum("hs,shv->hv", probs[t][:, pos[mine]], values[mine])
    close("attn.probs", tap("attn.probs"), probs)
    each = np.einsum("thv,dhv->thd", heads, w[p + "o_proj.weight"].reshape(-1, H, v))
    close("attn.heads", tap("attn.heads"), each)
    close("attn.out", tap("attn.out"), each.sum(1))
    if not np.array_equal(before.astype("f4") + tap("attn.out"), after):
        print("attn.out: is not what was added")


def check_experts(c, w, p, before, route, after, tap):
    x = norm(before, w[p + "post_attention_layernorm.weight"], c["rms_norm_eps"])
    close("expert.in", tap("expert.in"), x)
    p += "mlp."

    def mlp(name, x):
        gate, up, down = (w[f"{p}{name}{m}_proj.weight"] for m in ("gate", "up", "down"))
        return (silu(x @ gate.T) * (x @ up.T)) @ down.T

    if p + "gate.weight" not in w:
        close("expert.shared", tap("expert.shared"), mlp("", x))
        close("expert.out", tap("expert.out"), mlp("", x))
        return
    scores = 1 / (1 + np.exp(-(x @ w[p + "gate.weight"].T)))
    close("route.norm", tap("route.norm"), x)
    close("route.scores", tap("route.scores"), scores)
    close("route.choice", tap("route.choice"), scores + w[p + "gate.e_score_correction_bias"])
    idx, weight = route.tensors["expert.idx"], route.tensors["expert.w"]
    if not np.array_equal(np.sort(np.argsort(-tap("route.choice"), 1)[:, :idx.shape[1]], 1), idx):
        print("route.choice: the largest are not those chosen")
    each = np.array([[mlp(f"experts.{e}.", x[t]) * f for e, f in zip(idx[t], weight[t])] for t in range(len(x))])
    close("expert.each", tap("expert.each"), each)
    shared = mlp("shared_experts.", x)
    close("expert.shared", tap("expert.shared"), shared)
    close("expert.out", tap("expert.out"), each.sum(1) + shared)
    close("h", after, before + tap("expert.out"), 1e-6)


def check(folder, layer, *files):
    global rows
    c, w = json.load(open(folder + "/config.json")), weights(folder)
    before, attn, route, out = map(batch, files)
    rows = before.rows()

    def tap(name):
        return out.tensors[f"{name}@{layer}"]

    p = f"model.layers.{layer}."
    check_attn(c, w, p, before.tensors["h"].astype("f8"), attn.tensors["h"], tap)
    check_experts(c, w, p, attn.tensors["h"].astype("f8"), route, out.tensors["h"], tap)


def taps(file):
    """(name, seq, pos) -> the bytes of a row; of attn.probs without the zeros behind it, which depend on the batch"""
    out = {}
    for f in frame.read_frames(open(file, "rb")):
        for name, a in f.tensors.items() if "op" not in f.header else ():
            if "@" in name:
                for (s, p), row in zip(f.rows(), a):
                    if name.startswith("attn.probs") and row[:, p + 1:].any():
                        print(f"{name}: not 0 behind position {p}")
                    out[name, s, p] = (row[:, :p + 1] if name.startswith("attn.probs") else row).tobytes()
    return out


def same(*files):
    a, b = map(taps, files)
    for key in sorted(a.keys() | b.keys()):
        if a.get(key) != b.get(key):
            print(*key, "differs" if key in a and key in b else "is in one only")
    if not a:
        print("no taps")


if __name__ == "__main__":
    {"check": check, "same": same}[sys.argv[1]](*sys.argv[2:])
