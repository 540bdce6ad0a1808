"""A GGUF whose matrices are quantized by llama.cpp's own code, in the package xllamacpp, and what
dspipe makes of it.  Development alone runs this; kernels are held to the package gguf by
tests/unit/checkblocks.c.

usage: gguf_types.py quantize IN.gguf TYPE OUT.gguf    rows whose length is no multiple of the block
                                                       become Q8_0, or stay
       gguf_types.py weights FILE.gguf FOLDER          FOLDER, which ds-quant -f f32 made of FILE,
                                                       has the bits of gguf's dequantize
       gguf_types.py logits FILE.gguf                  random prompts: dspipe's logits are within
                                                       1e-4 of the largest of gguf_forward.py's
       gguf_types.py all                               these three over the families and types
       gguf_types.py llama MODEL                       llama.cpp loads what ds-quant writes of it.
                                                       With the values as F32 its logarithms of
                                                       probabilities are within 1e-4 of the
                                                       largest of gguf_forward.py's

Needs the packages gguf, numpy, msgpack and xllamacpp.
"""
import ctypes
import io
import json
import os
import re
import subprocess
import sys
import tempfile

import gguf
import numpy as np

import gguf_make

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
TYPES = ("Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4 IQ2_XXS IQ2_XS "
         "IQ2_S IQ3_XXS IQ3_S").split()
# Rows of whole blocks of 256; ds-bench makes their weights.
WIDE = {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 64, "num_hidden_layers": 2, "vocab_size": 320,
        "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000,
        "max_position_embeddings": 512, "tie_word_embeddings": False}
SHAPES = {"llama": {}, "qwen2": {}, "qwen3": {}, "qwen3_moe": {
    "moe_intermediate_size": 256, "num_experts": 8, "num_experts_per_tok": 2,
    "norm_topk_prob": True}}


def ggml():
    import xllamacpp
    folder = os.path.dirname(xllamacpp.__file__)
    lib = ctypes.CDLL(next(f"{folder}/{f}" for f in os.listdir(folder) if f.endswith(".so")))
    p, n = ctypes.c_void_p, ctypes.c_int64
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, p, p, n, n, n, p]
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    return lib


def quantized(lib, w, kind):
    """w [..][rows][cols] float32: bytes of each row.  Types of 2 bits need the importance of each
    column; here all are alike."""
    per, size = gguf.GGML_QUANT_SIZES[kind]
    w = np.ascontiguousarray(w, "f4")
    out = np.zeros((*w.shape[:-1], w.shape[-1] // per * size), "u1")
    alike = np.ones(w.shape[-1], "f4")
    n = lib.ggml_quantize_chunk(int(kind), w.ctypes.data, out.ctypes.data, 0,
                                w.size // w.shape[-1], w.shape[-1], alike.ctypes.data)
    assert n == out.nbytes
    return out


def quantize(path, name, to):
    r, lib, want = gguf.GGUFReader(path), ggml(), gguf.GGMLQuantizationType[name]
    w = gguf.GGUFWriter(to, r.get_field("general.architecture").contents())
    for k, f in r.fields.items():
        if k.startswith("GGUF.") or k == "general.architecture":
            continue
        kind = f.types[0]
        if kind == gguf.GGUFValueType.ARRAY:
            w.add_array(k, f.contents())
        else:
            w.add_key_value(k, f.contents(), kind)
    for t in r.tensors:
        x = gguf.quants.dequantize(t.data, t.tensor_type).reshape(t.shape[::-1])
        kinds = [k for k in (want, gguf.GGMLQuantizationType.Q8_0)
                 if x.ndim > 1 and x.shape[-1] % gguf.GGML_QUANT_SIZES[k][0] == 0]
        if not kinds or t.name.endswith("ffn_gate_inp.weight"):
            w.add_tensor(t.name, np.ascontiguousarray(x, "f4"))
        else:
            w.add_tensor(t.name, quantized(lib, x, kinds[0]), raw_dtype=kinds[0])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def in_order(name, r, tensors):
    """A tensor of a folder from those of a GGUF."""
    short = re.sub(r"^model\.layers\.\d+\.", "", name)
    block = name[:-len(short)].replace("model.layers.", "blk.")
    expert = re.match(r"mlp\.experts\.(\d+)\.(gate|up|down)_proj\.weight", short)
    if expert:
        return tensors[f"{block}ffn_{expert[2]}_exps.weight"][int(expert[1])]
    if short == "self_attn.kv_b_proj.weight":
        k, v = (tensors[f"{block}attn_{x}_b.weight"] for x in "kv")
        return np.concatenate([k.swapaxes(1, 2), v], 1).reshape(-1, k.shape[1])
    pattern, to = next(p for p in gguf_make.NAMES if re.match(p[0], short))
    w = tensors[block + re.sub("^" + pattern, to, short)]
    arch = r.get_field("general.architecture").contents()
    if arch == "llama" and re.search(r"\.[qk]_proj\.", short):
        key = ".attention.head_count" + ("_kv" if "k_proj" in short else "")
        heads = r.get_field(arch + key).contents()
        pairs = w.reshape(heads, len(w) // heads // 2, 2, *w.shape[1:])
        return pairs.swapaxes(1, 2).reshape(w.shape)
    return w


def weights(path, folder):
    r = gguf.GGUFReader(path)
    tensors = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).reshape(t.shape[::-1])
               for t in r.tensors}
    n = 0
    for name, dtype, shape, data in gguf_make.stored(folder):
        got = np.ascontiguousarray(gguf_make.floats(dtype, shape, data), "f4")
        want = np.ascontiguousarray(in_order(name, r, tensors), "f4")
        assert got.shape == want.shape and (got.view("u4") == want.view("u4")).all(), name
        n += 1
    return n


def logits(path):
    import frame
    from gguf_forward import Forward
    f = Forward(path)
    rng = np.random.default_rng(7)
    ids = rng.integers(3, len(f.w["token_embd.weight"]), 40).tolist()
    prompt = frame.prompt((1, 0, 3, ids)).bytes() + frame.Frame({"op": "end"}).bytes()
    line = f"ds-embed -m {path} | ds-block -m {path} | ds-head -m {path}"
    p = subprocess.run(["bash", "-o", "pipefail", "-c", line], input=prompt, check=True,
                       stdout=subprocess.PIPE, env=os.environ | {"PATH": ROOT + "/bin:" +
                                                                 os.environ["PATH"]})
    got = next(x for x in frame.read_frames(io.BytesIO(p.stdout)) if "logits" in x.tensors)
    want = f.logits(ids)
    error = float(np.abs(got.tensors["logits"] - want).max() / np.abs(want).max())
    assert error < 1e-4, error
    return error


def run(*command):
    subprocess.run(command, check=True)


def one_model(name, folder, d):
    run(sys.executable, TESTS + "/gguf_make.py", "--type", "f32", folder, d + "/f32.gguf")
    for kind in TYPES:
        quantize(d + "/f32.gguf", kind, d + "/q.gguf")
        run(ROOT + "/bin/ds-quant", "-f", "f32", "--head", "-m", d + "/q.gguf", d + "/folder")
        n = weights(d + "/q.gguf", d + "/folder")
        kinds = {t.tensor_type.name for t in gguf.GGUFReader(d + "/q.gguf").tensors}
        print(f"{name:10} {kind:8} {n} tensors equal, logits within {logits(d + '/q.gguf'):.1e} "
              f"({' '.join(sorted(kinds))})", flush=True)
        run("rm", "-r", d + "/folder")


def all_types():
    with tempfile.TemporaryDirectory() as d:
        one_model("tiny-r1", ROOT + "/examples/tiny-r1", d)
        for name, more in SHAPES.items():
            with open(d + "/shape.json", "w", encoding="utf-8") as f:
                json.dump(WIDE | {"model_type": name} | more, f)
            run(ROOT + "/bin/ds-bench", "--shape", d + "/shape.json", "--weights", "f32",
                "--write", f"{d}/{name}")
            one_model(name, f"{d}/{name}", d)


def as_f32(path, to):
    """The same values as F32.  llama.cpp rounds what it multiplies with rows of other types.  It
    also aborts on a request without a vocabulary, so there is one."""
    r = gguf.GGUFReader(path)
    w = gguf.GGUFWriter(to, r.get_field("general.architecture").contents())
    keys = {k: (f.contents(), f.types) for k, f in r.fields.items() if not k.startswith("GGUF.")}
    del keys["general.architecture"]
    if keys["tokenizer.ggml.model"][0] == "none":
        rows = next(int(t.shape[1]) for t in r.tensors if t.name == "token_embd.weight")
        del keys["tokenizer.ggml.model"]
        w.add_tokenizer_model("gpt2")
        w.add_token_list([f"t{i}" for i in range(rows)])
        w.add_token_types([1] * rows)
        w.add_token_merges(["t 1"])
    for k, (v, types) in keys.items():
        w.add_key_value(k, v, types[0], *types[1:2])
    for t in r.tensors:
        x = gguf.quants.dequantize(t.data, t.tensor_type).reshape(t.shape[::-1])
        w.add_tensor(t.name, np.ascontiguousarray(x, "f4"))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def server(path):
    """llama.cpp; keys and values as float32."""
    import xllamacpp as x
    p = x.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.warmup, p.verbosity = path, 512, 1, False, 1
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
    p.cache_type_k = p.cache_type_v = x.ggml_type.GGML_TYPE_F32
    p.flash_attn_type = x.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return x.Server(p)


def logprobs(s, ids, n):
    """llama.cpp's, of the token after ids; n: of the vocabulary."""
    o = s.handle_completions({"prompt": ids, "n_predict": 1, "temperature": 0, "n_probs": n,
                              "cache_prompt": False})
    x = np.full(n, np.nan)
    for t in o["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
        x[t["id"]] = t["logprob"]
    return x


def llama(model):
    from gguf_forward import Forward
    rng, servers = np.random.default_rng(5), []
    with tempfile.TemporaryDirectory() as d:
        for kind in "gguf-bf16", "gguf-q8_0":
            path = f"{d}/{kind}"
            run(ROOT + "/bin/ds-quant", "-f", kind, "-m", model, path)
            as_f32(path, path + ".f32")
            servers.extend((server(path), server(path + ".f32")))
            f, s, error = Forward(path + ".f32", llama=True), servers[-1], 0
            for n in (1, 2, 3, 4, 9, 17, 30, 40, 12):
                ids = rng.integers(3, len(f.w["token_embd.weight"]), n).tolist()
                want = f.logits(ids)[-1].astype("f8")
                want -= want.max() + np.log(np.exp(want - want.max()).sum())
                got = logprobs(s, ids, len(want))
                error = max(error, np.abs(got - want).max() / np.abs(want).max())
            print(f"{kind}: within {error:.1e}", flush=True)
            assert error < 1e-4


if __name__ == "__main__":
    commands = {"quantize": quantize, "weights": lambda *a: print(weights(*a)),
                "logits": lambda a: print(logits(a)), "all": all_types,
                "llama": llama}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
