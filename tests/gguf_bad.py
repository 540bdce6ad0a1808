"""GGUF files that are damaged in one way each: one line says where and what.

usage: gguf_bad.py GOLDEN PROGRAM...    PROGRAM is run with the path of each file, in this folder;
                                        prints 0 or 1, a sentence and what came, with tabs between
"""
import os
import re
import struct
import subprocess
import sys

import numpy as np

import gguf_make
from gguf_make import F32, text, value

HUGE = 2 ** 63
Q8_0, Q8_1, Q4_2 = 8, 9, 4
golden, program = sys.argv[1], sys.argv[2:]


class Options:
    type, kv_b, experts, kv_heads, parts = "f32", "split", "stacked", "one", 0
    pre, set = "default", []


def u64(n):
    return struct.pack("<Q", n)


class File:
    """What a file has, each piece of which a case may replace."""

    def __init__(self, name):
        folder = os.path.join(golden, name)
        c = gguf_make.load(folder, "config.json")
        self.magic, self.version, self.alignment = b"GGUF", 3, 32
        self.kv = [[text(k), value(v)] for k, v in gguf_make.metadata(c, Options, folder).items()]
        self.arch = gguf_make.ARCHES[c["model_type"]]
        self.infos, self.data, at = [], [], 0
        for n, w in gguf_make.converted(c, gguf_make.tensors(folder), Options).items():
            raw = w.astype("<f4").tobytes()
            self.infos.append([text(n), list(reversed(w.shape)), 0, at, None])
            self.data.append(raw + bytes(-len(raw) % 32))
            at += len(self.data[-1])
        self.counts = [0, 0]
        self.cut = None

    def key(self, name, data=None):
        """The encoded value of a key, replaced by data."""
        for pair in self.kv:
            if pair[0] == text(name):
                pair[1] = data
                return
        self.kv.append([text(name), data])

    def drop(self, name):
        self.kv = [p for p in self.kv if p[0] != text(name)]

    def info(self, name):
        return next(i for i in self.infos if i[0] == text(name))

    def bytes(self):
        n = [len(self.infos) + self.counts[0], len(self.kv) + self.counts[1]]
        head = self.magic + struct.pack("<IQQ", self.version, *(x % 2 ** 64 for x in n))
        head += b"".join(k + v for k, v in self.kv)
        for name, dims, type_, at, rank in self.infos:
            head += name + struct.pack("<I", len(dims) if rank is None else rank)
            head += b"".join(map(u64, dims)) + struct.pack("<IQ", type_, at)
        head += bytes(-len(head) % self.alignment)
        self.head = len(head)
        return (head + b"".join(self.data))[:self.cut]


def cases():
    """(sentence, regular expression, change); change gets the file of qwen2."""
    def case(says, regex):
        def add(change):
            found.append((says, regex, change))
        return add

    def simple(says, regex, **to):
        found.append((says, regex, lambda f: f.__dict__.update(to)))

    def key(says, regex, name, data):
        found.append((says, regex, lambda f: f.key(name, data)))

    def info(says, regex, i, to, name="blk.0.attn_q.weight"):
        def change(f):
            f.info(name)[i] = to
        found.append((says, f"tensor '{name}': " + regex, change))

    found = []
    simple("other first bytes", "not a GGUF file", magic=b"GGML")
    for v in 0, 1, 4, 77:
        simple(f"version {v}", f"GGUF version {v} is not supported", version=v)
    simple("big-endian", "a big-endian GGUF file", version=3 << 24)
    for n in 2, 4, 7, 15, 23, 24, 30, 60, 200:
        simple(f"{n} bytes", "not a GGUF file|ends within its header|more than|ends after", cut=n)
    simple("no bytes", "the file is empty", cut=0)
    simple("a count of tensors of 2^63", "claims .* keys and .* tensors", counts=[HUGE, 0])
    simple("a count of keys of 2^63", "claims .* keys and .* tensors", counts=[0, HUGE])
    simple("a tensor more than there is", ".", counts=[1, 0])
    simple("a key more than there is", ".", counts=[0, 1])
    simple("a tensor fewer", "has no tensor|begins with zeros|.", counts=[-1, 0])

    # metadata
    key("a string of 2^63 bytes", "key 'x': a string of 9223372036854775808 bytes", "x",
        struct.pack("<I", 8) + u64(HUGE))
    key("an array of 2^63 elements", "key 'x': an array of 9223372036854775808", "x",
        struct.pack("<IIQ", 9, 4, HUGE))
    key("an array of 2^63 strings", "key 'x': an array of 9223372036854775808", "x",
        struct.pack("<IIQ", 9, 8, HUGE))
    key("a string of 2^64 - 1 bytes in an array", "key 'x': element 1: a string of", "x",
        struct.pack("<IIQ", 9, 8, 2) + text("a") + u64(2 ** 64 - 1))
    key("an array of arrays", "key 'x': an array of arrays", "x", struct.pack("<IIQ", 9, 9, 1))
    key("an array of type 13", "key 'x': an array of type 13", "x", struct.pack("<IIQ", 9, 13, 1))
    key("a value of type 13", "key 'x': type 13 is not known", "x", struct.pack("<IQ", 13, 0))
    key("a truth value of 2", "key 'x': a truth value of 2", "x", struct.pack("<IB", 7, 2))
    key("the alignment 0", "general.alignment is 0", "general.alignment", value(0))
    key("the alignment 24", "general.alignment is 24", "general.alignment", value(24))
    key("an alignment that is text", "general.alignment is not of type UINT32",
        "general.alignment", value("32"))
    key("an alignment that the offsets lack", "is no multiple of the alignment",
        "general.alignment", value(1 << 20))

    @case("a key of 2^63 bytes", "key 1 of .*: a string of 9223372036854775808")
    def _(f):
        f.kv[0][0] = u64(HUGE)

    @case("a key without a letter", "must have 1 to 65535 bytes")
    def _(f):
        f.kv[0][0] = text("")

    @case("a key with a zero byte", "must have 1 to 65535 bytes")
    def _(f):
        f.kv[0][0] = text("a\0b")

    @case("a key that is there twice", "key 'qwen2.block_count' appears twice")
    def _(f):
        f.kv.append([text("qwen2.block_count"), value(1)])

    # infos of tensors
    info("no dimension", "0 dimensions", 4, 0)
    info("five dimensions", "5 dimensions", 4, 5)
    info("a dimension of 0", "dimension 0 is 0", 1, [0, 4])
    info("a dimension of 2^63", "dimension 1 is 9223372036854775808", 1, [4, HUGE])
    info("dimensions whose product overflows", "its dimensions have more bytes than", 1,
         [2 ** 40, 2 ** 40])
    info("a type that was withdrawn", "type 4 is not known", 2, Q4_2)
    info("a type of 2^32 - 1", "type 4294967295 is not known", 2, 2 ** 32 - 1)
    info("a type for activations", "type Q8_1 is not supported", 2, Q8_1)
    info("an offset that is not aligned", "its offset, 4, is no multiple", 3, 4)
    @case("rows that are no whole blocks", "rows of 33 numbers, must be a multiple of 32")
    def _(f):
        f.info("blk.0.attn_q.weight")[1:3] = [33, 4], Q8_0

    @case("an offset after the file's end", "bytes from byte .*, but the file has")
    def _(f):
        f.info("blk.0.attn_q.weight")[3] = 1 << 40

    @case("an offset near 2^64", "bytes from byte .*, but the file has")
    def _(f):
        f.info("blk.0.attn_q.weight")[3] = 2 ** 64 - 32

    @case("tensors that overlap", "tensors '.*' and '.*' overlap")
    def _(f):
        f.infos[1][3] = f.infos[0][3]

    @case("a file without its last bytes", "but the file has")
    def _(f):
        f.cut = len(f.bytes()) - 100

    @case("a file of zeros from the middle of a tensor on", "unfinished download")
    def _(f):
        whole = b"".join(f.data)
        f.data = [whole[:len(whole) * 2 // 3], bytes(len(whole) - len(whole) * 2 // 3)]

    @case("a tensor that is there twice", "tensor 'output_norm.weight' appears twice")
    def _(f):
        f.infos.append([text("output_norm.weight"), [4], 0, sum(map(len, f.data)), None])
        f.data.append(bytes(32))

    @case("a name without a letter", "name of tensor 1 of .*must have 1 to 65535 bytes")
    def _(f):
        f.infos[0][0] = text("")

    @case("a tensor of no architecture", "tensor 'blk.0.odd.weight': not known .*; this is 'qwen2'")
    def _(f):
        f.infos[0][0] = text("blk.0.odd.weight")

    @case("a tensor that is missing", "has no tensor 'model.norm.weight'")
    def _(f):
        f.infos = [i for i in f.infos if i[0] != text("output_norm.weight")]

    @case("a tensor of another shape", "tensor 'model.layers.0.self_attn.q_proj.weight' is F32")
    def _(f):
        f.info("blk.0.attn_q.weight")[1].reverse()
        f.info("blk.0.attn_q.weight")[1][0] //= 2

    # what metadata say of the model
    @case("no architecture", "key 'general.architecture' is missing")
    def _(f):
        f.drop("general.architecture")

    key("another architecture", "general.architecture is 'mamba', which is not supported",
        "general.architecture", value("mamba"))
    key("an architecture that is a number", "key 'general.architecture' is not a string",
        "general.architecture", value(3))
    key("a key that changes results", "key 'qwen2.logit_scale' is not supported",
        "qwen2.logit_scale", value(F32(0.5)))
    key("attention to later positions", "key 'qwen2.attention.causal' is false, which is not",
        "qwen2.attention.causal", value(False))
    key("another size of the vocabulary", "key 'qwen2.vocab_size' is 7, but token_embd.weight has",
        "qwen2.vocab_size", value(7))
    key("a vocabulary of two tokens", "tokenizer.ggml.tokens has 2 tokens, but token_embd.weight",
        "tokenizer.ggml.tokens", value(["a", "b"]))
    key("no layer", "num_hidden_layers is 0", "qwen2.block_count", value(0))
    key("2^31 layers", "key 'qwen2.block_count' is 4294967295", "qwen2.block_count",
        value(2 ** 32 - 1))
    key("fewer layers than there are", "key 'qwen2.block_count' is 1, but the file has a layer 1",
        "qwen2.block_count", value(1))
    key("layers that differ", "key 'qwen2.attention.head_count_kv' differs between layers",
        "qwen2.attention.head_count_kv", value([2, 1, 2]))
    key("an empty array", "key 'qwen2.attention.head_count_kv' is an array without a size",
        "qwen2.attention.head_count_kv", struct.pack("<IIQ", 9, 5, 0))
    key("a theta that is no number", "key 'qwen2.rope.freq_base' is nan",
        "qwen2.rope.freq_base", value(F32("nan")))
    key("heads of another width in values", "key 'qwen2.attention.value_length' is 8",
        "qwen2.attention.value_length", value(8))
    key("a partial rope", "key 'qwen2.rope.dimension_count' is 8",
        "qwen2.rope.dimension_count", value(8))
    key("longrope", "key 'qwen2.rope.scaling.type' is 'longrope', which is not supported",
        "qwen2.rope.scaling.type", value("longrope"))
    key("yarn without a factor", "key 'qwen2.rope.scaling.factor' is missing",
        "qwen2.rope.scaling.type", value("yarn"))
    key("an attention factor without yarn", "attn_factor' is 0.5, which is not supported",
        "qwen2.rope.scaling.attn_factor", value(F32(0.5)))
    key("as many layers for prediction", "key 'qwen2.nextn_predict_layers' is 99",
        "qwen2.nextn_predict_layers", value(99))
    key("an end that no vocabulary has", "eos_token_id is 99999", "tokenizer.ggml.eos_token_id",
        value(99999))

    @case("no count of layers", "key 'qwen2.block_count' is missing")
    def _(f):
        f.drop("qwen2.block_count")

    return found


def refused(path, regex, command):
    """What is wrong, or nothing."""
    p = subprocess.run([*command, path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE, timeout=60, text=True)
    lines = p.stderr.splitlines()
    named = re.search(r"'(bad|first|p-\S*)\.gguf'|tensor 'model\.", p.stderr)
    if p.returncode == 1 and len(lines) == 1 and named and re.search(regex, lines[0]):
        return ""
    return f"exit status {p.returncode}, looked for {regex}: {p.stderr}"


def point(says, path, regex, command=program):
    why = refused(path, regex, command).replace("\n", " / ").replace("\t", " ")
    print(int(why != ""), f"refused: {says}", why, sep="\t")


def parts():
    """Parts of one model that do not go together."""
    def again():
        gguf_make.main(["--type", "f32", "--parts", "3", os.path.join(golden, "llama"), "p"])

    def patched(path, old, new):
        with open(path, "r+b") as f:
            data = f.read()
            assert data.count(old) == 1
            f.seek(0)
            f.write(data.replace(old, new))

    names = [f"p-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    again()
    point("a later part in place of the first", names[1],
          "part 2 of 3: give the first, whose name ends in '-00001-of-00003.gguf'")
    os.rename(names[2], "gone")
    point("a part is missing", names[0],
          r"part 3 of 3: cannot open 'p-00003-of-00003.gguf': No such file")
    os.rename("gone", names[2])
    os.rename(names[0], "first.gguf")
    point("a first part with another name", "first.gguf",
          "give the first, whose name must end in '-00001-of-00003.gguf'")
    os.rename("first.gguf", names[0])
    patched(names[1], text("split.no") + value(1), text("split.no") + value(2))
    point("a part with another number", names[0], "split.no is 2 and split.count 3, must be 1")
    again()
    patched(names[1], text("split.count") + value(3), text("split.count") + value(4))
    point("a part of another count", names[0], "split.no is 1 and split.count 4, must be 1 and 3")
    again()
    with open(names[0], "rb") as f:
        count, = struct.unpack("<I", f.read().split(text("split.tensors.count"))[1][4:8])
    patched(names[0], text("split.tensors.count") + value(count),
            text("split.tensors.count") + value(count + 1))
    point("another number of tensors", names[0], "split.tensors.count is .*, but the 3 parts have")
    again()
    with open(names[1], "rb") as f, open(names[2], "wb") as to:
        to.write(f.read().replace(text("split.no") + value(1), text("split.no") + value(2)))
    point("a part that is there twice", names[0], "is in another part, too")


def main():
    for says, regex, change in cases():
        f = File("qwen2")
        change(f)
        with open("bad.gguf", "wb") as out:
            out.write(f.bytes())
        point(says, "bad.gguf", regex)
    f = File("qwen3-moe")
    f.infos.append([text("blk.0.ffn_up.3.weight"), [4], 0, sum(map(len, f.data)), None])
    f.data.append(np.ones(8, "f4").tobytes())
    with open("bad.gguf", "wb") as out:
        out.write(f.bytes())
    point("an expert that is in a stack, too", "bad.gguf", "two tensors are 'model.layers.0.mlp.ex")
    f.infos.pop()
    f.key("qwen3moe.expert_count", value(3))
    with open("bad.gguf", "wb") as out:
        out.write(f.bytes())
    point("more experts than expert_count", "bad.gguf",
          r"tensor 'blk\..*_exps.weight': [0-9]+ experts, but expert_count is 3$")
    f.drop("qwen3moe.expert_count")
    f.info("blk.0.ffn_up_exps.weight")[1:3] = [1, 1, 1 << 12 | 1], 1
    with open("bad.gguf", "wb") as out:
        out.write(f.bytes())
    point("a small file with many experts", "bad.gguf", "4097 experts, more than 4096")
    f = File("v3-plain")
    f.info("blk.0.attn_k_b.weight")[1] = [16, 48, 8]
    with open("bad.gguf", "wb") as out:
        out.write(f.bytes())
    point("k_b in heads of another width", "bad.gguf", "has heads of 16 rows, must be 32",
          ["ds-attn", "-m"])
    f = File("v3-plain")
    f.drop("deepseek2.expert_gating_func")
    with open("bad.gguf", "wb") as out:
        out.write(f.bytes())
    point("a bias of the choice without its function", "bad.gguf",
          "tensor 'blk.1.exp_probs_b.bias' is not supported unless key 'deepseek2.expert_gating_fu")
    for says, change, regex in (
            ("a factor of rope that is no number", lambda w: w[:4] + b"\0\0\xc0\x7f" + w[8:],
             "has factors that are not those of rope_type llama3"),
            ("too few factors of rope", lambda w: w[:8],
             "has 2 factors, must be half of head_dim")):
        f = File("llama")
        i = f.infos.index(f.info("rope_freqs.weight"))
        f.data[i] = change(f.data[i])
        f.infos[i][1] = [min(f.infos[i][1][0], len(f.data[i]) // 4)]
        f.data[i] += bytes(-len(f.data[i]) % 32)
        f.infos.append(f.infos.pop(i))
        f.data.append(f.data.pop(i))
        at = 0
        for info, data in zip(f.infos, f.data):
            info[3] = at
            at += len(data)
        with open("bad.gguf", "wb") as out:
            out.write(f.bytes())
        point(says, "bad.gguf", regex)
    parts()


if __name__ == "__main__":
    main()
