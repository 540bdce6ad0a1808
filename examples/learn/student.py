#!/usr/bin/env python3
"""student.py TEACHER OUT [SEED]: make a Qwen3-shaped student with random weights.

It has about a quarter of tiny-r1's parameters, in BF16, and the tokenizer of TEACHER.  Requires
numpy.
"""
import json
import pathlib
import sys

try:
    import numpy as np
except ImportError:
    sys.exit("student.py: no numpy for Python: python3-numpy is its Debian package")

HIDDEN, LAYERS, HEADS, KEY_HEADS, WIDTH, INNER = 192, 5, 6, 3, 32, 512


def config(teacher):
    return {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "torch_dtype": "bfloat16",
        "attention_bias": False, "attention_dropout": 0.0, "hidden_act": "silu",
        "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS, "head_dim": WIDTH, "intermediate_size": INNER,
        "vocab_size": teacher["vocab_size"], "tie_word_embeddings": True,
        "max_position_embeddings": 1024, "rms_norm_eps": 1e-6, "rope_theta": 10000,
        "rope_scaling": None, "sliding_window": None, "use_sliding_window": False,
        "initializer_range": 0.02, "use_cache": True, "bos_token_id": teacher["bos_token_id"],
        "eos_token_id": teacher["eos_token_id"]}


def shapes(c):
    yield "model.embed_tokens.weight", (c["vocab_size"], HIDDEN)
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", (HIDDEN,)
        yield layer + "self_attn.q_proj.weight", (HEADS * WIDTH, HIDDEN)
        yield layer + "self_attn.k_proj.weight", (KEY_HEADS * WIDTH, HIDDEN)
        yield layer + "self_attn.v_proj.weight", (KEY_HEADS * WIDTH, HIDDEN)
        yield layer + "self_attn.o_proj.weight", (HIDDEN, HEADS * WIDTH)
        yield layer + "self_attn.q_norm.weight", (WIDTH,)
        yield layer + "self_attn.k_norm.weight", (WIDTH,)
        yield layer + "post_attention_layernorm.weight", (HIDDEN,)
        yield layer + "mlp.gate_proj.weight", (INNER, HIDDEN)
        yield layer + "mlp.up_proj.weight", (INNER, HIDDEN)
        yield layer + "mlp.down_proj.weight", (HIDDEN, INNER)
    yield "model.norm.weight", (HIDDEN,)


def values(rng, name, shape):
    """Norms are 1; what is added to the residual stream is smaller, as in GPT-2."""
    if len(shape) == 1:
        return np.ones(shape, "f4")
    scale = shape[1] ** -0.5 if "embed" not in name else 0.02
    if "o_proj" in name or "down_proj" in name:
        scale /= (2 * LAYERS) ** 0.5
    return rng.standard_normal(shape, "f4") * np.float32(scale)


def bf16(a):
    """Round to nearest, ties to even."""
    bits = a.view("<u4").astype("u8")
    return (bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype("<u2")


def main(teacher, out, seed="1"):
    teacher, out = pathlib.Path(teacher), pathlib.Path(out)
    c = config(json.loads((teacher / "config.json").read_text()))
    rng = np.random.default_rng(int(seed))
    out.mkdir()
    header, data = {}, bytearray()
    for name, shape in shapes(c):
        raw = bf16(values(rng, name, shape)).tobytes()
        header[name] = {"dtype": "BF16", "shape": shape,
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (out / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    (out / "config.json").write_text(json.dumps(c, indent=1) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        (out / name).write_bytes((teacher / name).read_bytes())
    print(f"{len(data) // 2} parameters")


if __name__ == "__main__":
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__.strip())
        sys.exit(0)
    if len(sys.argv) not in (3, 4):
        print("student.py: wrong operands: see student.py -h", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
