#!/usr/bin/env python3
"""The same run cut into other batches, and single bits changed: what ds-diff and ds-hash must see through, or see.

usage: recut.py cut FROM TO SEED         write folder TO: each stream of FROM (*.dsf) in other random batches
       recut.py flip FILE TO SEED        write TO: FILE with one bit of one tensor changed; print as JSON whose it is
       recut.py hunt FOLDER ROUNDS SEED  a property test of both: streams of FOLDER cut twice are the same for
                                         ds-diff and ds-hash, and a changed bit is found where it is; 1 if not"""
import json
import os
import random
import subprocess
import sys
import tempfile

import numpy as np

import frame


def read(path):
    with open(path, "rb") as f:
        return list(frame.read_frames(f))


def write(path, frames):
    with open(path, "wb") as f:
        f.write(b"".join(x.bytes() for x in frames))


def take(f, rows):
    """The frame of these rows, (span number, row) each: those of a sequence in its order."""
    spans, index = [], []
    for s, i in rows:
        seq, pos, n, flags = f.header["spans"][s]
        last = flags & 2 | (flags & 5 if i == n - 1 else 0)
        if spans and spans[-1][0] == seq and spans[-1][1] + spans[-1][2] == pos + i and not spans[-1][3] & 5:
            spans[-1][2:] = [spans[-1][2] + 1, last]
        else:
            spans.append([seq, pos + i, 1, last])
        index.append(sum(x[2] for x in f.header["spans"][:s]) + i)
    tensors, wanted = {}, f.tensors.get("row")
    for name, a in f.tensors.items():
        if wanted is None:
            tensors[name] = a[index]
        else:
            has = [(k, j) for k, i in enumerate(index) for j in np.flatnonzero(wanted == i)]
            which = [j for _, j in has]
            tensors[name] = np.array([k for k, _ in has], "<i4") if name == "row" else \
                a[index] if name == "ids" else a[which]
    header = {**f.header, "spans": spans}
    header.pop("seqs", None)
    return frame.Frame(header, tensors, f.dtypes)


def recut(frames, rng):
    """The rows of each frame, its sequences mixed at random, in frames of random size."""
    out = []
    for f in frames:
        if "op" in f.header:
            out.append(f)
            continue
        left = [[(s, i) for i in range(x[2])] for s, x in enumerate(f.header["spans"])]
        size = rng.choice([1, 3, 8, 30, 1000])
        while any(left):
            rows = []
            for _ in range(rng.randint(1, size)):
                some = [x for x in left if x]
                if not some:
                    break
                pick = rng.choice(some)
                for _ in range(min(len(pick), rng.randint(1, 5))):
                    rows.append(pick.pop(0))
            out.append(take(f, rows))
    return out


def maker(f, name):
    """Which stage and layer made the tensor."""
    at, layer = f.header["at"], f.header.get("layer")
    if name == "ids":
        return "tokenize", None
    if at == "sample":
        return "head", None
    if at in ("attn", "head"):
        return ("expert", layer - 1) if layer else ("embed", None)
    if at == "route" or name == "h":
        return "attn", layer
    return "route", layer


def flip(frames, rng):
    """Change one bit of one tensor; where it is, as ds-diff says it."""
    f = rng.choice([x for x in frames if "op" not in x.header and any(a.size for n, a in x.tensors.items() if n != "row")])
    name = rng.choice([n for n, a in f.tensors.items() if n != "row" and a.size])
    a = f.tensors[name] = f.tensors[name].copy()
    bit = rng.randrange(a.nbytes * 8)
    a.reshape(-1).view("u1")[bit // 8] ^= 1 << bit % 8
    element = bit // 8 // a.itemsize
    row, index = divmod(element, a.size // len(a))
    if "row" in f.tensors and name != "ids":
        row = int(f.tensors["row"][row])
    stage, layer = maker(f, name)
    seq, pos = f.rows()[row]
    return {"stage": stage, "layer": layer, "tensor": name, "seq": seq, "pos": pos, "index": index}


def diff(a, b, *options):
    p = subprocess.run(["ds-diff", "--json", *options, a, b], capture_output=True)
    return p.returncode, json.loads(p.stdout) if p.returncode < 2 else p.stderr.decode()


def trace(path):
    return subprocess.run(["ds-hash", path], capture_output=True, check=True).stdout.decode().splitlines()


def hunt(folder, rounds, rng):
    files = sorted(os.listdir(folder))
    wrong = 0

    def need(condition, *what):
        nonlocal wrong
        if not condition:
            wrong += 1
            print("WRONG", *what)

    with tempfile.TemporaryDirectory() as d:
        a, b = d + "/a.dsf", d + "/b.dsf"
        for n in range(rounds):
            name = rng.choice(files)
            frames = read(folder + "/" + name)
            other = recut(frames, rng)
            write(a, recut(frames, rng))
            write(b, other)
            status, said = diff(a, b)
            need(status == 0 and said["same"] and said["first"] is None, n, name, "a false difference:", status, said)
            lines = trace(a)
            need(lines == trace(b), n, name, "another trace")
            where = flip(other, rng)
            write(b, other)
            status, said = diff(a, b)
            first = said["first"] if status == 1 else {}
            need({k: first.get(k) for k in where} == where, n, name, "a bit of", where, "was changed:", status, first)
            need(status == 1 and said["differ"] == 1, n, name, "more than one row differs")
            need(sum(x != y for x, y in zip(lines, trace(b))) == 1, n, name, "a trace with the wrong number of other lines")
            status, said = diff(b, a, "--hold", "0")
            first = said["first"] if status == 1 else {}
            need(all(first.get(k) == where[k] for k in where if k != "index"), n, name, "without memory:", status, first)
    print(rounds, "rounds,", wrong, "wrong")
    return wrong > 0


def main(verb, *args):
    rng = random.Random(int(args[2]))
    if verb == "hunt":
        return hunt(args[0], int(args[1]), rng)
    if verb == "cut":
        os.makedirs(args[1], exist_ok=True)
        for name in sorted(os.listdir(args[0])):
            write(args[1] + "/" + name, recut(read(args[0] + "/" + name), rng))
    else:
        frames = read(args[0])
        where = flip(frames, rng)
        write(args[1], frames)
        print(json.dumps(where))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 5 or sys.argv[1] not in ("cut", "flip", "hunt"):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
