#!/usr/bin/env python3
"""What ds-bench says adds up.

usage: benched.py FILE CONFIG

FILE is the JSON of a run with --decode 1@C,3@C --prefill 5 and all stages, of the shape of a tiny-r1's CONFIG.  Sizes and
operations of one row are counted here once more, by hand.
"""
import json, math, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
limit, model, stages = lines[0], lines[1], lines[2:]
assert limit["record"] == "limit" and model["record"] == "model" and all(s["record"] == "stage" for s in stages)
runs = {}
for s in stages:
    runs.setdefault((s["work"], s["rows"]), {})[s["part"]] = s
    assert s["ms"] > 0 and s["steps"] >= 1 and s["experts"] <= model["present"], s
    assert math.isclose(s["mb"] / s["ms"], s["gb_s"], rel_tol=1e-6), s
    assert math.isclose(s["gb_s"] / limit["gb_s"], s["of_limit"], rel_tol=1e-6), s
    assert math.isclose(s["gflop_s"] / limit["gflop_s"], s["of_peak"], rel_tol=1e-6), s
assert list(runs) == [("decode", 1), ("decode", 3), ("prefill", 5)], list(runs)
for (work, rows), parts in runs.items():
    a = parts.pop("all")
    assert list(parts) == ["attn", "route", "expert", "head"], parts
    for key in "ms", "mb":
        assert math.isclose(sum(p[key] for p in parts.values()), a[key], rel_tol=1e-6), (work, rows, key)
    assert math.isclose(a["tokens_s"], rows / a["ms"] * 1e3, rel_tol=1e-6), a
    assert all(p["tokens_s"] is None for p in parts.values())

# one row chooses exactly its experts, and reads the weights of these and of the shared ones; all sizes by hand
one, c = runs["decode", 1], json.load(open(sys.argv[2]))
assert one["attn"]["experts"] == c["num_experts_per_tok"], one
D, W, V, L = c["hidden_size"], c["moe_intermediate_size"], c["vocab_size"], c["num_hidden_layers"]
H, R, r, q = c["num_attention_heads"], c["kv_lora_rank"], c["qk_rope_head_dim"], c["q_lora_rank"]
nope, v = c["qk_nope_head_dim"], c["v_head_dim"]
kind = model["weights"]
size = {"f32": 4, "bf16": 2, "f16": 2, "fp8": 1, "q8": 1, "q4": 1 / 2}.get(kind, 0)
# columns and bytes of a block, and what takes its place where columns are too few
blocks = {"q8_0": (32, 34, ""), "q4_0": (32, 18, ""), "mxfp4": (32, 17, ""),
          "q4_k": (256, 144, "q4_0"), "q6_k": (256, 210, "q8_0")}

def mat(n, k):
    block = blocks.get(kind)
    while block and k % block[0]:
        block = blocks[block[2]]
    if block:
        return n * k // block[0] * block[1]
    scales = 4 * -(-n // 128) * -(-k // 128) if model["weights"] == "fp8" else n * -(-k // 16) + 4 if size <= 1 else 0
    return n * k * size + scales

def mlp(width):
    return 2 * mat(width, D) + mat(D, width)

def near(part, want):
    assert math.isclose(one[part]["mb"] * 1e6, want, rel_tol=1e-6), (one[part], want)

near("expert", (L - 1) * (c["num_experts_per_tok"] * mlp(W) + mlp(W * c["n_shared_experts"])) + mlp(c["intermediate_size"]))
plain = 4 if size == 4 else 2
cached = 2 if limit["precision"] == "bf16" else 4
near("head", (V * D + D) * plain)
near("attn", L * (mat(q, D) + mat(H * (nope + r), q) + mat(R + r, D) + mat(H * (nope + v), R) + mat(D, H * v) +
                  plain * (D + R + q) + cached * (one["attn"]["context"] + 1) * (R + r)))
assert math.isclose(one["head"]["gflop_s"], 2 * V * D / one["head"]["ms"] * 1e-6, rel_tol=1e-6), one["head"]
held = one["attn"]["context"] + 1
work = 2 * L * (q * D + H * (nope + r) * q + (R + r) * D + H * (nope + v) * R + D * H * v + held * H * (2 * R + r))
assert math.isclose(one["attn"]["gflop_s"], work / one["attn"]["ms"] * 1e-6, rel_tol=1e-6), one["attn"]
