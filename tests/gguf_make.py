"""A GGUF file from a checkpoint folder, with the names, orders and metadata that llama.cpp's
convert_hf_to_gguf.py gives them.  It writes the file itself; with --writer gguf-py it lets the
package gguf do that, and needs it for types with blocks.

usage: gguf_make.py [OPTION...] FOLDER FILE
  --type TYPE        of matrices: f32, f16, bf16 (the default), or a type that
                     gguf.quants.quantize knows, such as q8_0; NAME=TYPE,... for those whose
                     name contains NAME, such as ffn_down=q5_0,q8_0
  --kv-b whole       kv_b as older converters store it, with the metadata of that time
  --experts each     a tensor for each expert, as older converters store them
  --kv-heads all     head_count_kv with an element for each layer
  --parts N          N files, FILE being the prefix of their names
  --pre NAME         tokenizer.ggml.pre (default)
  --set KEY=JSON     metadata that replaces what is derived; null leaves the key out
  --folder DIR       write the same values as a checkpoint folder, too
"""
import argparse
import json
import math
import os
import re
import shutil
import struct
import sys

import numpy as np

ARCHES = {"deepseek_v2": "deepseek2", "deepseek_v3": "deepseek2", "kimi_k2": "deepseek2",
          "qwen2": "qwen2", "qwen3": "qwen3", "qwen3_moe": "qwen3moe", "llama": "llama"}
NAMES = [
    (r"model\.embed_tokens\.", "token_embd."), (r"model\.norm\.", "output_norm."),
    (r"lm_head\.", "output."),
    (r"input_layernorm\.", "attn_norm."), (r"post_attention_layernorm\.", "ffn_norm."),
    (r"self_attn\.q_proj\.", "attn_q."), (r"self_attn\.k_proj\.", "attn_k."),
    (r"self_attn\.v_proj\.", "attn_v."),
    (r"self_attn\.o_proj\.", "attn_output."), (r"self_attn\.q_norm\.", "attn_q_norm."),
    (r"self_attn\.k_norm\.", "attn_k_norm."), (r"self_attn\.q_a_proj\.", "attn_q_a."),
    (r"self_attn\.q_b_proj\.", "attn_q_b."), (r"self_attn\.kv_a_proj_with_mqa\.", "attn_kv_a_mqa."),
    (r"self_attn\.kv_b_proj\.", "attn_kv_b."), (r"self_attn\.k_b_proj\.", "attn_k_b."),
    (r"self_attn\.v_b_proj\.", "attn_v_b."), (r"self_attn\.q_a_layernorm\.", "attn_q_a_norm."),
    (r"self_attn\.kv_a_layernorm\.", "attn_kv_a_norm."),
    (r"mlp\.gate\.e_score_correction_bias", "exp_probs_b.bias"),
    (r"mlp\.gate\.", "ffn_gate_inp."),
    (r"mlp\.shared_experts\.(gate|up|down)_proj\.", r"ffn_\1_shexp."),
    (r"mlp\.experts\.(gate|up|down)_proj\.", r"ffn_\1_exps."),
    (r"mlp\.experts\.(\d+)\.(gate|up|down)_proj\.weight", r"ffn_\2.\1.weight"),
    (r"mlp\.(gate|up|down)_proj\.", r"ffn_\1."),
]
FORMATS = {"F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2)}


# --- checkpoint folders ---

def stored(folder):
    """Yields (name, dtype, shape, bytes) of all tensors."""
    for f in sorted(os.listdir(folder)):
        if not re.fullmatch(r"model.*\.safetensors", f):
            continue
        with open(os.path.join(folder, f), "rb") as file:
            data = file.read()
        n, = struct.unpack("<Q", data[:8])
        for name, t in json.loads(data[8:8 + n]).items():
            if name != "__metadata__":
                a, b = t["data_offsets"]
                yield name, t["dtype"], t["shape"], data[8 + n + a:8 + n + b]


def e4m3(b):
    b = b.astype("i4")
    e, m = b >> 3 & 15, b & 7
    x = np.where(e > 0, (8 + m) * 2.0 ** (e - 10.0), m * 2.0 ** -9).astype("f4")
    return np.where(b & 128, -x, x)


def floats(dtype, shape, data):
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("u4") << 16).view("f4").reshape(shape)
    if dtype == "F8_E4M3":
        return e4m3(np.frombuffer(data, "u1")).reshape(shape)
    return np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[dtype]).astype("f4").reshape(shape)


def tensors(folder):
    """name -> float32; the scales of FP8 multiplied in."""
    all_ = {name: floats(dtype, shape, data) for name, dtype, shape, data in stored(folder)}
    for name in [n for n in all_ if n.endswith("_scale_inv")]:
        scale, w = all_.pop(name), all_[name[:-len("_scale_inv")]]
        scale = scale.repeat(128, 0).repeat(128, 1)[:w.shape[0], :w.shape[1]]
        all_[name[:-len("_scale_inv")]] = w * scale
    return all_


# --- as convert_hf_to_gguf.py has them ---

def permuted(w, heads):
    """Rows of q and k of the llama architecture."""
    pairs = w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2)
    return pairs.reshape(w.shape)


def rope_factors(c, rope):
    """The tensor rope_freqs, of a rope of type llama3.  (convert_hf_to_gguf.py has 8192 for the
    original length if the top level of config.json lacks it.)"""
    dim = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    powers = np.arange(0, dim, 2, dtype="f4") / np.float32(dim)
    freqs = (1.0 / np.float32(c["rope_theta"]) ** powers).astype("f4")
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    old, factors = rope["original_max_position_embeddings"], []
    for f in freqs.tolist():
        wave = 2 * math.pi / f
        smooth = (old / wave - low) / (high - low)
        factors.append(1 if wave < old / high else factor if wave > old / low else
                       1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, "f4")


def split_kv_b(c, all_):
    heads, nope, v = c["num_attention_heads"], c["qk_nope_head_dim"], c["v_head_dim"]
    for name in [n for n in all_ if n.endswith("kv_b_proj.weight")]:
        w = all_.pop(name)
        w = w.reshape(heads, nope + v, w.shape[1])
        all_[name.replace("kv_b", "k_b")] = w[:, :nope].swapaxes(1, 2)
        all_[name.replace("kv_b", "v_b")] = w[:, nope:]


def stack_experts(c, all_):
    n = c.get("n_routed_experts") or c.get("num_experts") or 0
    for name in [n for n in all_ if ".experts.0." in n]:
        names = [name.replace(".experts.0.", f".experts.{e}.") for e in range(n)]
        all_[name.replace(".experts.0.", ".experts.")] = np.stack([all_.pop(e) for e in names])


def converted(c, all_, o):
    """gguf name -> float32."""
    arch, out = ARCHES[c["model_type"]], {}
    def layer(name):
        return int((re.match(r"model\.layers\.(\d+)\.", name) or [0, 0])[1])

    all_ = {n: w for n, w in all_.items() if layer(n) < c["num_hidden_layers"]}
    if c.get("tie_word_embeddings"):
        all_.pop("lm_head.weight", None)
    if arch == "llama":
        heads = c["num_attention_heads"]
        groups = c.get("num_key_value_heads") or heads
        for name in all_:
            if re.search(r"\.[qk]_proj\.(weight|bias)$", name):
                all_[name] = permuted(all_[name], heads if ".q_proj" in name else groups)
    if arch == "deepseek2" and o.kv_b == "split":
        split_kv_b(c, all_)
    if o.experts == "stacked":
        stack_experts(c, all_)
    for name, w in all_.items():
        short = re.sub(r"^model\.layers\.(\d+)\.", "", name)
        block = name[:-len(short)].replace("model.layers.", "blk.")
        for pattern, to in NAMES:
            if re.match(pattern, short):
                out[block + re.sub("^" + pattern, to, short)] = w
                break
        else:
            raise SystemExit(f"gguf_make.py: {name}: no such name in GGUF")
    rope = c.get("rope_scaling") or c.get("rope_parameters") or {}
    if rope.get("rope_type", rope.get("type")) == "llama3":
        theta = rope.get("rope_theta", c.get("rope_theta"))
        out["rope_freqs.weight"] = rope_factors(dict(c, rope_theta=theta), rope)
    return out


class F32(float):
    """A number that is stored as float32."""


def metadata(c, o, folder):
    a = ARCHES[c["model_type"]]
    kv = {"general.architecture": a, "general.type": "model",
          "general.name": os.path.basename(os.path.abspath(folder)),
          "general.file_type": {"f32": 0, "f16": 1, "bf16": 32}.get(o.type, 7),
          "general.quantization_version": 2}

    def put(key, value):
        if value is not None:
            kv[f"{a}.{key}"] = value

    heads = c["num_attention_heads"]
    groups = 1 if a == "deepseek2" and o.kv_b == "split" else c.get("num_key_value_heads") or heads
    put("block_count", c["num_hidden_layers"])
    put("context_length", c["max_position_embeddings"])
    put("embedding_length", c["hidden_size"])
    put("feed_forward_length", c["intermediate_size"])
    put("attention.head_count", heads)
    each = o.kv_heads == "all"
    put("attention.head_count_kv", [groups] * c["num_hidden_layers"] if each else groups)
    rope = c.get("rope_scaling") or c.get("rope_parameters") or {}
    put("rope.freq_base", F32(rope.get("rope_theta", c.get("rope_theta", 10000))))
    put("attention.layer_norm_rms_epsilon", F32(c.get("rms_norm_eps", 1e-6)))
    if rope.get("rope_type", rope.get("type")) in ("yarn", "linear"):
        put("rope.scaling.type", rope.get("rope_type", rope.get("type")))
        put("rope.scaling.factor", F32(rope["factor"]))
        put("rope.scaling.original_context_length", rope.get("original_max_position_embeddings"))
        for key in "attn_factor", "attention_factor", "beta_fast", "beta_slow":
            if key in rope:
                put("rope.scaling.yarn_" + key.replace("attention", "attn"), F32(rope[key]))
    put("expert_count", c.get("n_routed_experts") or c.get("num_experts"))
    put("expert_used_count", c.get("num_experts_per_tok"))
    put("vocab_size", c["vocab_size"])
    if c.get("scoring_func"):
        put("expert_gating_func", {"softmax": 1, "sigmoid": 2}[c["scoring_func"]])
    if a == "deepseek2":
        put("expert_group_count", c.get("n_group"))
        put("expert_group_used_count", c.get("topk_group"))
        put("leading_dense_block_count", c["first_k_dense_replace"])
        put("attention.q_lora_rank", c.get("q_lora_rank"))
        put("attention.kv_lora_rank", c["kv_lora_rank"])
        qk, v = c["qk_nope_head_dim"] + c["qk_rope_head_dim"], c["v_head_dim"]
        if o.kv_b == "split":
            put("attention.key_length", c["kv_lora_rank"] + c["qk_rope_head_dim"])
            put("attention.value_length", c["kv_lora_rank"])
            put("attention.key_length_mla", qk)
            put("attention.value_length_mla", v)
        else:
            put("attention.key_length", qk)
            put("attention.value_length", v)
        put("expert_feed_forward_length", c["moe_intermediate_size"])
        put("expert_shared_count", c.get("n_shared_experts", 0))
        put("expert_weights_scale", F32(c.get("routed_scaling_factor", 1)))
        put("expert_weights_norm", c.get("norm_topk_prob") or None)
        put("rope.dimension_count", c["qk_rope_head_dim"])
        if "mscale_all_dim" in rope:
            put("rope.scaling.yarn_log_multiplier", F32(0.1 * rope["mscale_all_dim"]))
    else:
        if c.get("head_dim"):
            put("attention.key_length", c["head_dim"])
            put("attention.value_length", c["head_dim"])
        if a == "llama":
            put("rope.dimension_count", c.get("head_dim") or c["hidden_size"] // heads)
        put("expert_feed_forward_length", c.get("moe_intermediate_size"))
    kv.update(tokenizer(c, o, folder))
    for key, value in o.set:
        kv.pop(key, None)
        if value is not None:
            kv[key] = F32(value) if isinstance(value, float) else value
    return kv


def load(folder, name):
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def tokenizer(c, o, folder):
    t, settings = load(folder, "tokenizer.json"), load(folder, "tokenizer_config.json")
    kv, model = {}, t.get("model")
    if not model:
        kv["tokenizer.ggml.model"] = "none"
    else:
        added = {a["id"]: a for a in t["added_tokens"]}
        tokens = {i: text for text, i in model["vocab"].items()}
        tokens.update((i, a["content"]) for i, a in added.items())
        kv["tokenizer.ggml.model"] = "gpt2"
        kv["tokenizer.ggml.pre"] = o.pre
        ids = range(c["vocab_size"])
        kv["tokenizer.ggml.tokens"] = [tokens.get(i, f"[PAD{i}]") for i in ids]
        kv["tokenizer.ggml.token_type"] = [
            5 if i not in tokens else 1 if i not in added else 3 if added[i]["special"] or
            re.match(r"<\|.*\|>$|<｜.*｜>$", tokens[i]) else 4 for i in ids]
        kv["tokenizer.ggml.merges"] = [m if isinstance(m, str) else " ".join(m)
                                       for m in model["merges"]]
        if isinstance(settings.get("chat_template"), str):
            kv["tokenizer.chat_template"] = settings["chat_template"]
        for key in "add_bos_token", "add_eos_token":
            if isinstance(settings.get(key), bool):
                kv["tokenizer.ggml." + key] = settings[key]
    eos = load(folder, "generation_config.json").get("eos_token_id", c.get("eos_token_id"))
    ids = {"bos": c.get("bos_token_id"), "eos": eos[0] if isinstance(eos, list) else eos,
           "padding": c.get("pad_token_id")}
    kv.update((f"tokenizer.ggml.{k}_token_id", i) for k, i in ids.items() if i is not None)
    return kv


# --- files ---

def type_of(name, w, o):
    """F32 of what convert_hf_to_gguf.py keeps so."""
    if w.ndim == 1 or "_norm." in name or name.endswith("ffn_gate_inp.weight"):
        return "F32"
    for pair in o.type.split(","):
        if "=" not in pair or pair.split("=")[0] in name:
            return pair.split("=")[-1].upper()
    return "BF16"


def rounded(w):
    """To BF16, to even."""
    b = np.ascontiguousarray(w).view("u4")
    return ((b + 0x7fff + (b >> 16 & 1)) >> 16).astype("<u2")


def encoded(w, type_):
    if type_ == "F32":
        return np.ascontiguousarray(w, "<f4")
    if type_ == "F16":
        return np.ascontiguousarray(w, "<f2")
    if type_ == "BF16":
        return rounded(w)
    import gguf
    t = gguf.GGMLQuantizationType[type_]
    FORMATS[type_] = (int(t), *gguf.GGML_QUANT_SIZES[t])
    return gguf.quants.quantize(np.ascontiguousarray(w), t)


def text(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(s)) + s


def value(v, typed=True):
    """A value with its type before it, as gguf-py chooses it."""
    def of(number, data):
        return (struct.pack("<I", number) if typed else b"") + data
    if isinstance(v, bool):
        return of(7, struct.pack("<?", v))
    if isinstance(v, F32):
        return of(6, struct.pack("<f", v))
    if isinstance(v, int):
        return of(4, struct.pack("<I", v)) if v >= 0 else of(5, struct.pack("<i", v))
    if isinstance(v, (str, bytes)):
        return of(8, text(v))
    element = value(v[0]) if v else struct.pack("<I", 4)
    if v and isinstance(v[0], int) and not isinstance(v[0], bool):  # gguf-py: INT32
        return of(9, struct.pack("<IQ", 5, len(v)) + struct.pack(f"<{len(v)}i", *v))
    data = b"".join(value(x, False) for x in v)
    return of(9, element[:4] + struct.pack("<Q", len(v)) + data)


def write(path, kv, all_, alignment=32, version=3):
    """all_: name -> (type, shape, encoded bytes)."""
    infos, data, at = b"", [], 0
    for name, (type_, shape, w) in all_.items():
        w = w.tobytes()
        infos += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        infos += struct.pack("<IQ", FORMATS[type_][0], at)
        w += bytes(-len(w) % alignment)
        data.append(w)
        at += len(w)
    head = struct.pack("<4sIQQ", b"GGUF", version, len(all_), len(kv))
    head += b"".join(text(k) + value(v) for k, v in kv.items()) + infos
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % alignment))
        f.writelines(data)


def write_py(path, kv, all_):
    import gguf
    w = gguf.GGUFWriter(path, kv.get("general.architecture", ""))
    for key, v in kv.items():
        if key != "general.architecture":
            t = gguf.GGUFValueType
            kinds = ((bool, t.BOOL), (F32, t.FLOAT32), (int, t.UINT32), (str, t.STRING),
                     (list, t.ARRAY))
            w.add_key_value(key, v, next(k for type_, k in kinds if isinstance(v, type_)))
    for name, (type_, shape, data) in all_.items():
        t = gguf.GGMLQuantizationType[type_]
        data = data.reshape(*shape[:-1], -1)
        w.add_tensor(name, data if type_ in ("F32", "F16") else data.view("u1"), raw_dtype=t)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_parts(prefix, kv, all_, parts, put):
    """As llama-gguf-split does: all metadata in the first."""
    names = list(all_)
    for i in range(parts):
        own = names[i * len(names) // parts:(i + 1) * len(names) // parts]
        keys = dict(kv) if i == 0 else {}
        keys.update({"split.no": i, "split.count": parts, "split.tensors.count": len(names)})
        put(f"{prefix}-{i + 1:05}-of-{parts:05}.gguf", keys, {n: all_[n] for n in own})


def write_folder(folder, from_, c, all_, o):
    """The values as a checkpoint: matrices in the type of the GGUF file, which is F32, F16 or
    BF16; the rest in F32."""
    os.makedirs(folder, exist_ok=True)
    for f in os.listdir(from_):
        if re.match("tokenizer|generation", f):
            shutil.copy(os.path.join(from_, f), folder)
    c = {k: v for k, v in c.items() if k != "quantization_config"}
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(c, f)
    header, data, at = {}, [], 0
    for name, w in all_.items():
        short = name.replace("mlp.gate.weight", "ffn_gate_inp.weight").replace("layernorm", "_norm")
        type_ = type_of(short, w, o)
        raw = encoded(w, type_).tobytes()
        header[name] = {"dtype": type_, "shape": list(w.shape), "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        f.writelines(data)


def setting(arg):
    key, _, v = arg.partition("=")
    return key, json.loads(v)


def main(args):
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--type", default="bf16")
    p.add_argument("--kv-b", default="split")
    p.add_argument("--experts", default="stacked")
    p.add_argument("--kv-heads", default="one")
    p.add_argument("--parts", type=int, default=0)
    p.add_argument("--pre", default="default")
    p.add_argument("--set", action="append", type=setting, default=[])
    p.add_argument("--folder")
    p.add_argument("--writer", default="own")
    p.add_argument("from_")
    p.add_argument("to")
    o = p.parse_args(args)
    c, all_ = load(o.from_, "config.json"), tensors(o.from_)
    if o.folder:
        write_folder(o.folder, o.from_, c, all_, o)
    made = {}
    for name, w in converted(c, all_, o).items():
        type_ = type_of(name, w, o)
        made[name] = type_, w.shape, encoded(w, type_)
    kv, put = metadata(c, o, o.from_), write_py if o.writer == "gguf-py" else write
    if o.parts:
        write_parts(o.to, kv, made, o.parts, put)
    else:
        put(o.to, kv, made)


if __name__ == "__main__":
    main(sys.argv[1:])
