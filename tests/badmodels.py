"""Checkpoints that are broken in one way each, and some that only look odd.

usage: badmodels.py GOLDEN OUT     a folder in OUT for each case, made from GOLDEN/v3 (one file, FP8) or GOLDEN/v3-plain (two files, BF16)
       badmodels.py list DIR       what `checkmodel list DIR` must print, but for the order of its lines

OUT/bad has a line for each broken one: folder, the one-line message as a regular expression, the sentence that a test says; tabs between.
OUT/good has a line for each sound one: folder, the golden model whose id it must have ("-": none), sentence.
"""
import json, os, struct, sys
import numpy as np

def read(path):
    """-> header, data"""
    raw = open(path, "rb").read()
    n = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8:8 + n]), raw[8 + n:]

def write(path, header, data, pad=True):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    text += b" " * ((-len(text)) % 8 if pad is True else (-len(text)) % 8 + pad)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)

class Cases:
    def __init__(self, golden, out):
        self.golden, self.out = golden, out
        self.lists = {kind: open(os.path.join(out, kind), "w") for kind in ("bad", "good")}

    def folder(self, name, base, without=()):
        """OUT/name with links to the files of a golden model, except those that the case writes itself"""
        d, src = os.path.join(self.out, name), os.path.join(self.golden, base)
        os.mkdir(d)
        for f in os.listdir(src):
            if f not in without and f not in ("case.json", "expected.safetensors"):
                os.symlink(os.path.join(src, f), os.path.join(d, f))
        return d, src

    def line(self, kind, *words):
        print(*words, sep="\t", file=self.lists[kind])

    # ---- config.json

    def config(self, name, change, regex, says, base="v3"):
        d, src = self.folder(name, base, ["config.json"])
        c = json.load(open(os.path.join(src, "config.json")))
        change(c)
        json.dump(c, open(os.path.join(d, "config.json"), "w"))
        self.line("bad", name, r"config\.json.*" + regex, says)

    def text(self, name, change, regex, says, file="config.json", base="v3"):
        """change: bytes -> bytes"""
        d, src = self.folder(name, base, [file])
        path = os.path.join(src, file)
        open(os.path.join(d, file), "wb").write(change(open(path, "rb").read() if os.path.exists(path) else b""))
        self.line("bad", name, file.replace(".", r"\.") + ".*" + regex, says)

    # ---- model.safetensors

    def raw(self, name, change, regex, says):
        """change: bytes -> bytes"""
        self.text(name, change, regex, says, file="model.safetensors")

    def header(self, name, change, regex, says):
        d, src = self.folder(name, "v3", ["model.safetensors"])
        h, data = read(os.path.join(src, "model.safetensors"))
        new = change(h)
        write(os.path.join(d, "model.safetensors"), new if isinstance(new, bytes) else h, data)
        self.line("bad", name, regex, says)

    # ---- model.safetensors.index.json

    def index(self, name, change, regex, says):
        d, src = self.folder(name, "v3-plain", ["model.safetensors.index.json"])
        i = json.load(open(os.path.join(src, "model.safetensors.index.json")))
        change(i["weight_map"])
        json.dump(i, open(os.path.join(d, "model.safetensors.index.json"), "w"))
        self.line("bad", name, regex, says)

def put(**keys):
    return lambda c: c.update(keys)

def drop(key):
    return lambda c: c.pop(key)

def within(key, **keys):
    return lambda c: c[key].update(keys)

def configs(c):
    for key, value, says in (
            ("model_type", "mixtral", "an unknown model type"), ("hidden_act", "gelu", "an unknown activation"),
            ("scoring_func", "tanh", "an unknown scoring function"), ("topk_method", "random", "an unknown top-k method")):
        c.config("config-" + key, put(**{key: value}), f"{key} is '{value}', which is not supported", says)
    c.config("architecture", put(architectures=["LlamaForCausalLM"]), "architectures has 'LlamaForCausalLM', which is not supported", "an unknown architecture")
    c.config("architecture-v2", put(architectures=["DeepseekV2ForCausalLM"]), "architectures has 'DeepseekV2", "an architecture that contradicts the model type")
    c.config("rope-type", within("rope_scaling", type="linear"), "rope_scaling: type is 'linear', which is not supported", "an unknown rope type")
    c.config("rope-none", lambda c: c["rope_scaling"].pop("type"), "rope_scaling: rope_type is missing", "rope scaling without its type")
    c.config("rope-two", within("rope_scaling", rope_type="default"), "rope_scaling: type is 'yarn', but rope_type is 'default'", "two rope types that differ")
    c.config("rope-key", within("rope_scaling", attention_factor=2), "rope_scaling: attention_factor is not supported", "an option of YaRN that is not known")
    c.config("rope-factor", within("rope_scaling", factor=0), "rope_scaling: factor is 0, must be between 1", "a rope factor of 0")
    c.config("rope-original", lambda c: c["rope_scaling"].pop("original_max_position_embeddings"), "rope_scaling: original_max_position_embeddings is missing", "YaRN without the original length")
    c.config("rope-odd", put(qk_rope_head_dim=15), "qk_rope_head_dim is 15, must be even", "an odd rope dimension")
    c.config("quant", within("quantization_config", quant_method="awq"), "quantization_config: quant_method is 'awq', which is not supported", "an unknown quantization")
    c.config("quant-fmt", within("quantization_config", fmt="e5m2"), "quantization_config: fmt is 'e5m2', which is not supported", "an unknown FP8 format")
    c.config("quant-block", within("quantization_config", weight_block_size=[64, 128]), "weight_block_size is not \\[128, 128\\]", "FP8 blocks of another size")
    c.config("quant-block-one", within("quantization_config", weight_block_size=[128]), "weight_block_size is not \\[128, 128\\]", "FP8 blocks of one dimension")
    c.config("no-hidden", drop("hidden_size"), "hidden_size is missing", "a size that is missing")
    c.config("text-hidden", put(hidden_size="128"), "hidden_size is '128', must be a number", "a size that is a string")
    c.config("half-hidden", put(hidden_size=128.5), "hidden_size is 128.5, must be an integer", "a size that is a fraction")
    c.config("negative", put(vocab_size=-320), "vocab_size is -320, must be between", "a negative size")
    c.config("huge", put(num_attention_heads=1 << 40), "num_attention_heads is 1099511627776, must be between", "a size that overflows")
    c.config("layers", put(num_hidden_layers=100000), "num_hidden_layers is 100000, must be between", "too many layers")
    c.config("kv-heads", put(num_key_value_heads=2), "num_key_value_heads is 2, must be num_attention_heads, 4", "fewer key heads than heads")
    c.config("bias", put(attention_bias=True), "attention_bias is true, which is not supported", "biases in attention")
    c.config("sparse", put(index_topk=2048), "index_topk is given", "sparse attention")
    c.config("groups", put(n_group=3), "n_group is 3, must divide n_routed_experts, 16", "groups that don't divide the experts")
    c.config("groups-topk", put(topk_group=5), "topk_group is 5, must be at most n_group, 4", "more groups chosen than there are")
    c.config("groups-one", put(n_group=16), "n_group is 16, must leave two experts a group", "groups of one expert")
    c.config("topk", put(num_experts_per_tok=9), "num_experts_per_tok is 9, must be at most 8", "more experts chosen than the groups hold")
    c.config("topk-sum", put(num_experts_per_tok=31, n_routed_experts=64), "num_experts_per_tok is 31, must be between 1 and 30", "more experts than the fixed-point sum bears")
    c.config("pair", put(scoring_func="softmax"), "topk_method is 'noaux_tc', which is not supported with scoring_func 'softmax'", "a scoring function that its top-k method doesn't know")
    c.config("norm", put(norm_topk_prob=True), "norm_topk_prob is true, which is not supported with", "softmax weights that are normalised", base="v2")
    c.config("eos", put(eos_token_id=[1, 320]), "eos_token_id is 320, must be an id below vocab_size, 320", "an eos id that is not in the vocabulary")
    c.config("eos-text", put(eos_token_id="</s>"), "eos_token_id is no id", "an eos that is text")
    c.config("eos-many", put(eos_token_id=list(range(17))), "eos_token_id has more than 16", "too many eos ids")
    c.config("bos", put(bos_token_id=320), "bos_token_id is 320, must be between 0 and 319", "a bos id that is not in the vocabulary")
    c.text("nan", lambda b: b.replace(b"1e-06", b"NaN"), "byte [0-9]+: NaN is not a JSON number", "NaN in the configuration")
    c.text("infinity", lambda b: b.replace(b"1e-06", b"-Infinity"), "byte [0-9]+: -Infinity is not a JSON number", "-Infinity in the configuration")
    c.text("nearly-nan", lambda b: b.replace(b"1e-06", b"nan"), "byte [0-9]+: not valid JSON", "nan in the configuration")
    c.text("infinite", lambda b: b.replace(b"1e-06", b"1e999"), "rms_norm_eps is inf, must be between", "a number that is infinite")
    c.text("deep", lambda b: b'{"a":' * 100000, "byte [0-9]+: not valid JSON", "nesting without end")
    c.text("twice", lambda b: b.replace(b"{", b'{"hidden_size": 64,', 1), "hidden_size appears twice", "a key that appears twice")
    c.text("trailing", lambda b: b + b"}", "byte [0-9]+: not valid JSON", "something behind the configuration")
    c.text("empty", lambda b: b"", "empty, not JSON", "an empty configuration")
    c.text("list", lambda b: b"[]", "not an object", "a configuration that is a list")
    c.text("latin", lambda b: b.replace(b"silu", b"sil\xfc"), "byte [0-9]+ is not UTF-8", "a configuration that is not UTF-8")
    c.text("long", lambda b: b + b" " * (2 << 20), "more than 1048576 bytes", "a configuration without end")
    c.text("generation", lambda b: b'{"top_p": 1.5}', "top_p is 1.5, must be between 0 and 1", "sampling options out of range", file="generation_config.json")
    c.text("generation-k", lambda b: b'{"top_k": -2}', "top_k is -2, must be between -1", "a top_k below -1", file="generation_config.json")
    c.text("generation-k-half", lambda b: b'{"top_k": 0.5}', "top_k is 0.5, must be an integer", "a top_k that is a fraction", file="generation_config.json")
    alone = "rope_scaling: %s is %s, but %s is missing or 0: implementations differ"
    c.config("mscale", lambda c: c["rope_scaling"].pop("mscale_all_dim"), alone % ("mscale", 1, "mscale_all_dim"), "mscale alone")
    c.config("mscale-all", lambda c: c["rope_scaling"].pop("mscale"), alone % ("mscale_all_dim", 1, "mscale"), "mscale_all_dim alone")
    c.config("mscale-zero", within("rope_scaling", mscale=0.707, mscale_all_dim=0), alone % ("mscale", 0.707, "mscale_all_dim"), "mscale with an mscale_all_dim of 0")
    # what a copy or a download left in place of a file, whichever file it is
    for file in ("config.json", "generation_config.json", "model.safetensors.index.json"):
        base = "v3-plain" if "index" in file else "v3"
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1735\n"
        c.text("lfs-" + file, lambda b: pointer, "a Git LFS pointer, not the file itself", f"a Git LFS pointer for {file}", file=file, base=base)
        c.text("zeros-" + file, lambda b: b"{   " + bytes(5000), "zeros from byte 4 to the end, byte 5004, as after an unfinished", f"zeros at the end of {file}", file=file, base=base)
        c.text("all-zeros-" + file, lambda b: bytes(5000), "zeros from byte 0 to the end", f"nothing but zeros for {file}", file=file, base=base)
        c.text("infinite-" + file, lambda b: b'{"a": [0, Infinity]}', "byte 10: Infinity is not a JSON number", f"Infinity in {file}", file=file, base=base)
    c.text("zero-within", lambda b: b[:-2] + b"\0}", "byte [0-9]+ is NUL", "a NUL within the configuration")

def families(c):
    """Llama and Qwen: what cannot be computed is refused by key and value."""
    def bad(base, name, change, regex, says):
        c.config(f"{base}-{name}", change, regex, says, base=base)
    bad("llama", "mlp-bias", put(mlp_bias=True), "mlp_bias is true, which is not supported",
        "biases in the MLP")
    bad("llama", "kv-heads", put(num_key_value_heads=3),
        "num_key_value_heads is 3, must divide num_attention_heads, 4",
        "key heads that don't divide the heads")
    bad("llama", "head-dim", put(head_dim=47), "head_dim is 47, must be even", "an odd head_dim")
    bad("llama", "hidden",
        lambda c: c.update(num_attention_heads=3, num_key_value_heads=3) or c.pop("head_dim"),
        "num_attention_heads is 3, must divide hidden_size, 128", "heads of no whole width")
    bad("llama", "window", put(sliding_window=4096),
        "sliding_window is not supported with model_type llama", "a window in a Llama")
    bad("llama", "gelu", put(hidden_act="gelu"), "hidden_act is 'gelu', which is not supported",
        "a Llama with another activation")
    bad("llama", "partial", put(partial_rotary_factor=0.5),
        "partial_rotary_factor is 0.5, which is not supported", "heads that are rotated in part")
    bad("llama", "original", put(original_max_position_embeddings=64),
        "original_max_position_embeddings is supported in rope_scaling",
        "an original length outside of rope_scaling")
    bad("llama", "dynamic", within("rope_scaling", rope_type="dynamic"),
        "rope_scaling: rope_type is 'dynamic', which is not supported",
        "a rope type that changes with the length")
    bad("llama", "no-high", lambda c: c["rope_scaling"].pop("high_freq_factor"),
        "rope_scaling: high_freq_factor is missing", "llama3 scaling without a bound")
    bad("llama", "bounds", within("rope_scaling", high_freq_factor=1),
        "rope_scaling: high_freq_factor is 1, must be above low_freq_factor, 1",
        "llama3 scaling with bounds that coincide")
    bad("llama", "beta", within("rope_scaling", beta_fast=32),
        "rope_scaling: beta_fast is not supported", "an option of YaRN with llama3 scaling")
    bad("llama", "no-factor", put(rope_scaling={"type": "linear"}),
        "rope_scaling: factor is missing", "linear scaling without a factor")
    bad("qwen3", "factor", within("rope_scaling", attention_factor=0),
        "rope_scaling: attention_factor is 0, must be between", "an attention_factor of 0")
    bad("qwen3", "truncate", within("rope_scaling", truncate=False),
        "rope_scaling: truncate is false, which is not supported", "YaRN without rounding")
    bad("qwen3", "no-head-dim", drop("head_dim"), "head_dim is missing", "a Qwen3 without head_dim")
    bad("qwen2", "no-kv-heads", drop("num_key_value_heads"), "num_key_value_heads is missing",
        "a Qwen2 without num_key_value_heads")
    bad("qwen2", "no-bias", put(attention_bias=False),
        "attention_bias is false, which is not supported", "a Qwen2 without biases")
    bad("qwen2", "mrope", put(use_mrope=True), "use_mrope is true, which is not supported",
        "rope of several dimensions")
    bad("qwen2-window", "zero", put(sliding_window=0), "sliding_window is 0, must be between 1",
        "a window of no positions")
    bad("qwen2-window", "no-first", drop("max_window_layers"), "max_window_layers is missing",
        "windows that may be anywhere")
    bad("qwen2-types", "few", lambda c: c["layer_types"].pop(),
        "layer_types has 2 entries, must have num_hidden_layers, 3",
        "layer_types for too few layers")
    bad("qwen2-types", "chunked", lambda c: c["layer_types"].__setitem__(1, "chunked_attention"),
        "layer_types has 'chunked_attention', which is not supported", "an unknown layer type")
    bad("qwen2-types", "off", put(use_sliding_window=False),
        "layer_types has 'sliding_attention', but no sliding_window is in use",
        "a layer with a window that is switched off")
    bad("qwen3-moe", "experts", put(num_experts_per_tok=13),
        "num_experts_per_tok is 13, must be at most num_experts, 12",
        "more experts chosen than a Qwen3 has")
    bad("qwen3-moe", "norm", drop("norm_topk_prob"), "norm_topk_prob is missing",
        "weights that may be normalised")
    bad("qwen3-moe", "layer", put(mlp_only_layers=[3]),
        "mlp_only_layers has an entry that is no layer, 0 to 2",
        "a dense layer that does not exist")
    bad("qwen3-moe", "window", put(use_sliding_window=True, sliding_window=16),
        "max_window_layers is 36 with use_sliding_window: implementations differ",
        "windows in a mixture that implementations read differently")
    bad("qwen3-moe-mixed", "types", put(layer_types=["full_attention"] * 5),
        "layer_types has layers without a window", "a mixture with windows in some layers")

def one_file(c):
    norm, up = "model.norm.weight", "model.layers.1.mlp.experts.0.up_proj.weight"
    scale = up + "_scale_inv"
    def shift(h):
        h[norm]["data_offsets"] = [x + 8 for x in h[norm]["data_offsets"]]
    def text(h, find, with_):
        return json.dumps(h).replace(find, with_, 1).encode()
    c.raw("truncated", lambda b: b[:-1000], "its header claims 1100072 bytes, the file has 1099072", "a truncated file")
    c.raw("truncated-header", lambda b: b[:5000], "its first bytes claim a header of 43112 bytes, the file has 5000", "a file that ends in its header")
    c.raw("truncated-all", lambda b: b[:7], "7 bytes are too few", "a file of seven bytes")
    c.raw("lfs", lambda b: b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1100072\n",
        "a Git LFS pointer, not the file itself", "a Git LFS pointer for the weights")
    c.raw("zeros", lambda b: bytes(len(b)), "begins with zeros, as after an unfinished download", "nothing but zeros for the weights")
    c.raw("zeros-header", lambda b: b[:20000] + bytes(len(b) - 20000), "header: zeros from byte 19992 to the end, byte 43112, as after", "a file that is zeros from its header on")
    for at in (500021, 700001, 1000000):
        c.raw(f"zeros-{at}", lambda b: b[:at] + bytes(len(b) - at), "zeros from byte [0-9]*, within tensor '[^']*', to byte 1100072, as after", f"a file that is zeros from byte {at} on")
    c.raw("header-long", lambda b: b"\xff" * 8 + b[8:], "claim a header of 18446744073709551615 bytes", "a header length of 2^64 - 1")
    c.raw("header-short", lambda b: struct.pack("<Q", 100) + b[8:], "header: byte [0-9]+: not valid JSON", "a header that is cut short")
    c.raw("header-none", lambda b: struct.pack("<Q", 0), "begins with zeros, as after an unfinished download", "eight bytes of zeros")
    c.raw("header-none-more", lambda b: struct.pack("<Q", 0) + b"{}" * 40, "header: empty, not JSON", "a header of no bytes")
    c.raw("not-tensors", lambda b: b"PK\x03\x04" * 1000, "claim a header of", "a file in another format")
    c.header("header-list", lambda h: b"[]", "header: not an object", "a header that is a list")
    c.header("header-twice", lambda h: text(h, '"model.norm.weight"', '"lm_head.weight"'), "header: 'lm_head.weight' appears twice", "a tensor that appears twice")
    c.header("header-nul", lambda h: text(h, '"model.norm.weight"', '"model.norm\\u0000.weight"'), "a NUL in a string", "a NUL in a tensor's name")
    c.header("overlap", shift, "tensors '[^']*' and '[^']*' overlap", "tensors that overlap")
    c.header("behind", lambda h: h[norm].update(data_offsets=[1 << 40, (1 << 40) + 256]), "its header claims 10995116[0-9]+ bytes, the file has", "a tensor behind the end of the file")
    c.header("backward", lambda h: h[norm]["data_offsets"].reverse(), f"tensor '{norm}': data_offsets are not a begin and an end", "a tensor that ends before it begins")
    c.header("offsets-three", lambda h: h[norm]["data_offsets"].append(1), f"tensor '{norm}': data_offsets are not", "three offsets")
    c.header("offsets-negative", lambda h: h[norm].update(data_offsets=[-256, 0]), f"tensor '{norm}': data_offsets are not", "a negative offset")
    c.header("size", lambda h: h[norm].update(shape=[127]), r"BF16 \[127\] does not fill the 256 bytes", "a size that is not that of the shape")
    c.header("product", lambda h: h[norm].update(shape=[1 << 32, 1 << 32, 2]), "does not fill the 256 bytes", "a shape whose product overflows")
    c.header("rank", lambda h: h[norm].update(shape=[1] * 9), "more than 8 dimensions", "a shape of nine dimensions")
    c.header("shape-text", lambda h: h[norm].update(shape=["128"]), "shape is not an array of sizes", "a shape of strings")
    c.header("no-dtype", lambda h: h[norm].pop("dtype"), f"tensor '{norm}': dtype is missing", "a tensor without dtype")
    c.header("entry", lambda h: h.update({norm: 5}), f"tensor '{norm}': not an object", "a tensor that is a number")
    c.header("missing", lambda h: h.pop(norm), f"has no tensor '{norm}'", "a tensor that is missing")
    c.header("missing-scale", lambda h: h.pop(scale), f"has no tensor '{scale}'", "FP8 scales that are missing")
    c.header("dtype", lambda h: h[up].update(dtype="F8_E5M2"), f"tensor '{up}' is F8_E5M2 .*, must be F32, BF16, F16 or F8_E4M3", "a matrix of a dtype that is not known")
    c.header("dtype-vector", lambda h: h[norm].update(dtype="U8", shape=[256]), rf"tensor '{norm}' is U8 \[256\], must be \[128\]", "a vector of bytes")
    c.header("dtype-integer", lambda h: h[norm].update(dtype="I16"), f"tensor '{norm}' is I16 .*, must be F32, BF16 or F16", "a vector of integers")
    c.header("dtype-scale", lambda h: h[scale].update(dtype="I32"), f"tensor '{scale}' is I32 .*, must be F32", "FP8 scales that are integers")
    c.header("shape", lambda h: h[up]["shape"].reverse(), rf"tensor '{up}' is F8_E4M3 \[128, 20\], must be \[20, 128\]", "a matrix that lies on its side")
    c.header("shape-scale", lambda h: h[scale].update(shape=[1]), rf"tensor '{scale}' is F32 \[1\], must be \[1, 1\]", "FP8 scales of another shape")

def many_files(c):
    second = "model-00002-of-00002.safetensors"
    norm = "model.norm.weight"
    c.index("index-missing", put(**{norm: "model-00003-of-00002.safetensors"}), "cannot open '.*model-00003-of-00002.safetensors': No such file", "an index that names a missing file")
    c.index("index-wrong", put(**{norm: second}), f"{second}' has no tensor '{norm}', which the index says is there", "an index that names the wrong file")
    c.index("index-drop", drop(norm), f"has no tensor '{norm}'", "an index that lacks a tensor")
    for i, name in enumerate(("../../etc/passwd", "/etc/passwd", "..", ".hidden", "", "sub/model.safetensors")):
        c.index(f"index-path-{i}", put(**{norm: name}), f"index.json': weight_map: '{norm}' is in '{name}', which is not a plain file name", f"an index that leads to '{name}'")
    c.index("index-number", put(**{norm: 1}), f"weight_map: '{norm}' has no file name", "an index that names a number")
    c.index("index-folder", put(**{norm: "folder"}), "folder': not a regular file", "an index that names a folder")
    os.mkdir(os.path.join(c.out, "index-folder", "folder"))
    index = "model.safetensors.index.json"
    c.text("index-twice", lambda b: b.replace(b'"model.norm.weight"', b'"lm_head.weight"'), "weight_map: 'lm_head.weight' appears twice", "an index that has a tensor twice", file=index, base="v3-plain")
    c.text("index-map", lambda b: b.replace(b"weight_map", b"weightmap"), "weight_map is missing", "an index without its map", file=index, base="v3-plain")
    c.text("index-cut", lambda b: b[:500], "byte [0-9]+: not valid JSON", "an index that is cut short", file=index, base="v3-plain")
    d, _ = c.folder("no-weights", "v3", ["model.safetensors"])
    c.line("bad", "no-weights", "has no model.safetensors and no model.safetensors.index.json", "a folder without weights")
    d, _ = c.folder("no-config", "v3", ["config.json"])
    c.line("bad", "no-config", "cannot open '.*config.json': No such file", "a folder without configuration")

def sound(c):
    def one(name, base, change, same_id, says, pad=True, files=("model.safetensors",)):
        d, src = c.folder(name, base, [*files, "model.safetensors.index.json"] if len(files) > 1 else files)
        header, data = {}, b""
        for f in files:                                         # one file out of all
            h, more = read(os.path.join(src, f))
            for k, v in h.items():
                if "data_offsets" in v:
                    v["data_offsets"] = [x + len(data) for x in v["data_offsets"]]
            header.update(h)
            data += more
        data = change(header, data) or data
        write(os.path.join(d, "model.safetensors"), header, data, pad)
        c.line("good", name, base if same_id else "-", says)
    def extra(h, data):
        h["other"] = {"dtype": "F4_NEW", "shape": [3], "data_offsets": [len(data), len(data) + 1]}
        h["nothing"] = {"dtype": "F32", "shape": [7, 0], "data_offsets": [16, 16]}
        return data + b"x"
    def half(h, data):
        out = b""
        for k, v in h.items():
            if v.get("dtype") == "BF16":
                a, b = v["data_offsets"]
                x = (np.frombuffer(data[a:b], "<u2").astype("<u4") << 16).view("<f4")
                x = x.astype("<f2") if v["shape"][0] % 3 else x.astype("<f4")
                v.update(dtype="F16" if x.itemsize == 2 else "F32", data_offsets=[len(out), len(out) + x.nbytes])
                out += x.tobytes()
            elif "data_offsets" in v:
                a, b = v["data_offsets"]
                v["data_offsets"] = [len(out), len(out) + b - a]
                out += data[a:b]
        return out
    both = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    one("merged", "v3-plain", lambda h, d: None, True, "one file instead of two: the same tensors and the same id", files=both)
    one("odd", "v3", lambda h, d: None, True, "a header of odd length: the same tensors, aligned", pad=1)
    one("extra", "v3", extra, False, "tensors of an unknown dtype and of no elements, which nobody asks for")
    def unusual(h, data):
        for v in h.values():
            v.update(reversed([(k, v.pop(k)) for k in list(v)]), note="\u00e9")
    one("unusual", "v3", unusual, True, "keys in another order, and one that is not known")
    one("half", "v3", half, True, "F16 and F32 instead of BF16")
    def zeros(from_):                                           # from_(end of the header's last entry): where zeros begin
        def change(h, data):
            last = max((v for k, v in h.items() if "data_offsets" in v), key=lambda v: v["data_offsets"][1])
            at = from_(last)
            return data[:at] + bytes(len(data) - at)
        return change
    def wide(h, data):                                          # a last tensor of 200 rows, the last 150 zeros
        h["wide"] = {"dtype": "F32", "shape": [200, 250], "data_offsets": [len(data), len(data) + 200000]}
        return data + b"\x01" * 50000 + bytes(150000)
    one("zeros-all", "v3", lambda h, d: bytes(len(d)), True, "weights that are all zeros")
    one("zeros-rows", "v3", wide, False, "a last tensor whose last rows are zeros")
    one("zeros-tensor", "v3", lambda h, d: h.update(z={"dtype": "F8_E4M3", "shape": [1000, 100], "data_offsets": [len(d), len(d) + 100000]}) or d + bytes(100000), False, "a last tensor of zeros")
    one("zeros-few", "v3", zeros(lambda last: last["data_offsets"][1] - 100), True, "a hundred zeros at the end")
    d, _ = c.folder("stale", "v3")
    os.symlink(os.path.join(c.golden, "v3-plain", "model.safetensors.index.json"), os.path.join(d, "model.safetensors.index.json"))
    c.line("good", "stale", "v3", "model.safetensors beside the index of an earlier save")
    d, _ = c.folder("stale-shards", "v3")
    for f in os.listdir(os.path.join(c.golden, "v3-plain")):
        if f not in os.listdir(d) and "safetensors" in f:
            os.symlink(os.path.join(c.golden, "v3-plain", f), os.path.join(d, f))
    c.line("good", "stale-shards", "v3", "model.safetensors beside an index and its files")
    for k in (-1, 0, 1 << 30):
        d, _ = c.folder(f"top-k{k}", "v3", ["generation_config.json"])
        json.dump({"top_k": k}, open(os.path.join(d, "generation_config.json"), "w"))
        c.line("good", f"top-k{k}", "v3", f"a top_k of {k}")
    d, _ = c.folder("link", "v3-plain")
    c.line("good", "link", "v3-plain", "files that are links")

def sums(b):
    a = np.frombuffer(b, "u1").astype("u8")
    return f" {int(a.sum())} {int((a * np.arange(len(a), dtype='u8')).sum())}"

def listing(d):
    for f in sorted(os.listdir(d)):
        if not (f.startswith("model") and f.endswith(".safetensors")) or f != "model.safetensors" and os.path.exists(d + "/model.safetensors"):
            continue
        h, data = read(os.path.join(d, f))
        for k, v in h.items():
            if k == "__metadata__":
                continue
            a, b = v["data_offsets"]
            raw, floats = data[a:b], ""
            if len(v["shape"]) == 1 and k != "other":
                x = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4") if v["dtype"] == "BF16" else np.frombuffer(raw, {"F16": "<f2", "F32": "<f4"}[v["dtype"]])
                floats = sums(x.astype("<f4").tobytes())
            print(f"{k} {v['dtype']} {v['shape']}{sums(raw)}{floats}")

if __name__ == "__main__":
    if sys.argv[1] == "list":
        listing(sys.argv[2])
    else:
        c = Cases(*sys.argv[1:])
        for write_cases in (configs, families, one_file, many_files, sound):
            write_cases(c)
