#!/usr/bin/env python3
"""The golden models: what the programs computed against what they must compute.

usage: golden.py layers CASE            "LAYER moe" or "LAYER dense" of each layer
       golden.py prompt CASE            its prompt as frames, logits of all rows wanted, and the end
       golden.py compare CASE POINT     frames that the programs left in files of this folder:
                                        embed, attn.N, route.N, out.N, head.  Fails where a float is off by more
                                        than 1e-3 of the tensor's largest, or an index differs
       golden.py ask CASE               its prompt for the loop: greedy, no stop, as many tokens as were recorded
       golden.py answer CASE            the tokens recorded, a line each
       golden.py fronts CASE P          what waits in front of each stage, from the reference, as frames of precision P:
                                        files front.attn.N, front.route.N, front.expert.N, front.head
       golden.py near CASE              what the stages made of those in precision bf16 (attn.N, out.N, head): fails where the
                                        error is larger than the products of such numbers explain, or too small for them
       golden.py greedy CASE COMMAND    feed what COMMAND (frames in, logits out) finds likeliest back to it

POINT: embed, attn, index, idx, weight, out, norm or logits."""
import json
import subprocess
import sys

import numpy as np

import frame

SEQ = 2**64 - 5
TOLERANCE = 1e-3


def expected(case):
    """The tensors of its expected.safetensors."""
    raw = open(case + "/expected.safetensors", "rb").read()
    n = int.from_bytes(raw[:8], "little")
    kinds = {"F32": "<f4", "I32": "<i4", "I64": "<i8"}
    out = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        if name != "__metadata__":
            a, b = (8 + n + x for x in t["data_offsets"])
            out[name] = np.frombuffer(raw[a:b], kinds[t["dtype"]]).reshape(t["shape"])
    return out


def batches(file):
    return [f for f in frame.read_frames(open(file, "rb")) if "op" not in f.header]


def got(file, name):
    """The rows of a tensor in all of a file's frames."""
    return np.concatenate([f.tensors[name] for f in batches(file)])


# point: the expected tensor's name, the file that has it, its name there
POINTS = {
    "embed": ("embed", "embed", "h"),
    "attn": ("layers.{}.attn", "attn.{}", "h"),
    "index": ("layers.{}.index.idx", "attn.{}", "attn.index@{}"),
    "idx": ("layers.{}.router.idx", "route.{}", "expert.idx"),
    "weight": ("layers.{}.router.weight", "route.{}", "expert.w"),
    "out": ("layers.{}.out", "out.{}", "h"),
    "norm": ("final_norm", "head", "head.norm"),
    "logits": ("logits", "head", "logits"),
}


def compare(case, point):
    all_wanted = expected(case)
    layers = json.load(open(case + "/config.json"))["num_hidden_layers"]
    numbers = range(layers) if "{}" in POINTS[point][0] else [0]
    names = [[s.format(n) for s in POINTS[point]] for n in numbers]
    names = [n for n in names if n[0] in all_wanted]
    bad = not names
    for w, f, of in names:
        a, b = got(f, of), all_wanted[w]
        if a.shape != b.shape:
            off = "shape %s, expected %s" % (a.shape, b.shape)
        elif point in ("idx", "index"):
            off = "%d rows differ" % (a != b).any(1).sum() if (a != b).any() else ""
        else:
            error = np.abs(a.astype("f8") - b).max() / np.abs(b).max()
            print(f"{w}: {error:.2e}")
            off = "" if error <= TOLERANCE else f"off by {error:.2e} of the largest"
        if off:
            print(f"{w}: {off}")
            bad = True
    return bad


def fronts(case, precision):
    """Each stage of each layer gets what the reference has in front of it, so that errors do not add up."""
    e, c = expected(case), json.load(open(case + "/config.json"))
    layers = c["num_hidden_layers"]

    def write(name, at, layer, **tensors):
        with open("front." + name, "wb") as out:
            header = {"at": at, "layer": layer, "spans": [[SEQ, 0, len(e["ids"]), 3]], "precision": precision}
            out.write(frame.Frame(header, {"ids": e["ids"].astype("<i4"), **tensors}).bytes())
            out.write(frame.Frame({"op": "end"}).bytes())

    for n in range(layers):
        h, attn = e[f"layers.{n - 1}.out"] if n else e["embed"], e[f"layers.{n}.attn"]
        write(f"attn.{n}", "attn", n, h=h)
        write(f"route.{n}", "route", n, h=attn)
        routed = {f"expert.{to}": e[f"layers.{n}.router.{of}"].astype(kind)
                  for to, of, kind in (("idx", "idx", "<i4"), ("w", "weight", "<f4")) if f"layers.{n}.router.{of}" in e}
        write(f"expert.{n}", "expert", n, h=attn, **routed)
    write("head", "head", layers, h=e[f"layers.{layers - 1}.out"])


def near(case):
    """A number in BF16 has 8 significant bits: each factor is off by 2^-9 of itself at most, a product by 2^-8.  The errors
    within a sum have any sign, and so have the weights: by the root of squares the sum is off by as much as its terms
    are, and n products one behind another by sqrt(n) 2^-8.  What float32 adds is nothing beside that."""
    e, bad = expected(case), 0
    layers = range(json.load(open(case + "/config.json"))["num_hidden_layers"])
    names = [(f"attn.{n}", "h", f"front.attn.{n}", e[f"layers.{n}.attn"], 7) for n in layers]   # q twice, keys, scores, values twice, out
    names += [(f"out.{n}", "h", f"front.expert.{n}", e[f"layers.{n}.out"], 3) for n in layers]  # gate and up, down
    for file, name, front, want, products in names + [("head", "logits", "", e["logits"], 1)]:
        base = got(front, "h").astype("f8") if front else 0     # what a stage adds, not what was there
        error = np.linalg.norm(got(file, name) - want.astype("f8")) / np.linalg.norm(want - base)
        limit = products ** 0.5 * 2**-8
        print(f"{file}: {error:.2e}, at most {limit:.2e}")
        bad |= not 2**-13 < error <= limit
    return bad


def has_experts(c, layer):
    if "num_experts" in c:
        step, dense = c.get("decoder_sparse_step", 1), c.get("mlp_only_layers", [])
        return (layer + 1) % step == 0 and layer not in dense
    return layer >= c.get("first_k_dense_replace", layer + 1)


def prompt(ids, pos, flags):
    return frame.prompt((SEQ, pos, flags, ids)).bytes()


def greedy(case, command):
    e = expected(case)
    p = subprocess.Popen(["bash", "-o", "pipefail", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    chosen, ids, pos = [], e["ids"], 0
    while len(chosen) < len(e["greedy"]):
        p.stdin.write(prompt(ids, pos, 1))
        p.stdin.flush()
        pos += len(ids)
        ids = [int(frame.read_frame(p.stdout).tensors["logits"][-1].argmax())]
        chosen += ids
    p.stdin.write(frame.Frame({"op": "end"}).bytes())
    p.stdin.close()
    ended = frame.read_frame(p.stdout).header.get("op") == "end" and p.wait() == 0
    print("got     ", *chosen)
    print("expected", *e["greedy"], "" if ended else "and no clean end")
    return chosen != list(e["greedy"]) or not ended


def main(verb, case, *args):
    if verb == "layers":
        c = json.load(open(case + "/config.json"))
        for n in range(c["num_hidden_layers"]):
            print(n, "moe" if has_experts(c, n) else "dense")
    elif verb == "prompt":
        e = expected(case)
        sys.stdout.buffer.write(prompt(e["ids"], 0, 3) + frame.Frame({"op": "end"}).bytes())
    elif verb == "ask":
        e = expected(case)
        f = frame.prompt((SEQ, 0, 1, e["ids"]))
        f.header["seqs"] = {SEQ: {"greedy": True, "stop": [], "max_new": len(e["greedy"])}}
        sys.stdout.buffer.write(f.bytes() + frame.Frame({"op": "end"}).bytes())
    elif verb == "answer":
        print(*expected(case)["greedy"], sep="\n")
    elif verb == "fronts":
        fronts(case, *args)
    elif verb == "near":
        return near(case)
    elif verb == "compare":
        return compare(case, *args)
    elif verb == "greedy":
        return greedy(case, *args)
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("layers", "prompt", "ask", "answer", "compare", "fronts", "near", "greedy"):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
