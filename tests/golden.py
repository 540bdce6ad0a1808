#!/usr/bin/env python3
"""The golden models: what the programs computed against what they must compute.

usage: golden.py layers CASE            "LAYER moe" or "LAYER dense" of each layer
       golden.py prompt CASE            its prompt as frames, logits of all rows wanted, and the end
       golden.py compare CASE POINT     frames that the programs left in files of this folder:
                                        embed, attn.N, route.N, out.N, head.  Fails where a float is off by more
                                        than 1e-3 of the tensor's largest, or an index differs
       golden.py ask CASE               its prompt for the loop: greedy, no stop, as many tokens as were recorded
       golden.py answer CASE            the tokens recorded, a line each
       golden.py greedy CASE COMMAND    feed what COMMAND (frames in, logits out) finds likeliest back to it

POINT: embed, attn, idx, weight, out, norm or logits."""
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
    "idx": ("layers.{}.router.idx", "route.{}", "expert.idx"),
    "weight": ("layers.{}.router.weight", "route.{}", "expert.w"),
    "out": ("layers.{}.out", "out.{}", "h"),
    "norm": ("final_norm", "head", "head.norm"),
    "logits": ("logits", "head", "logits"),
}


def compare(case, point):
    want, file, name = POINTS[point]
    all_wanted = expected(case)
    layers = json.load(open(case + "/config.json"))["num_hidden_layers"]
    names = [(want.format(n), file.format(n)) for n in (range(layers) if "{}" in want else [0])]
    names = [(w, f) for w, f in names if w in all_wanted]
    bad = not names
    for w, f in names:
        a, b = got(f, name), all_wanted[w]
        if a.shape != b.shape:
            off = "shape %s, expected %s" % (a.shape, b.shape)
        elif point == "idx":
            off = "%d rows differ" % (a != b).any(1).sum() if (a != b).any() else ""
        else:
            error = np.abs(a.astype("f8") - b).max() / np.abs(b).max()
            print(f"{w}: {error:.2e}")
            off = "" if error <= TOLERANCE else f"off by {error:.2e} of the largest"
        if off:
            print(f"{w}: {off}")
            bad = True
    return bad


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
            print(n, "dense" if n < c["first_k_dense_replace"] else "moe")
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
    elif verb == "compare":
        return compare(case, *args)
    elif verb == "greedy":
        return greedy(case, *args)
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("layers", "prompt", "ask", "answer", "compare", "greedy"):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
