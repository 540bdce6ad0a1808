"""Is the work the same, bit for bit, however it was cut?

usage: bits.py prompts MODEL   into this folder: batch (every sequence in one frame), pieces (the
                               same rows as many small frames, the sequences mixed), alone.N (one
                               sequence each), short (three of them), and for the loop ask, ask.N,
                               left and right (two halves) and clash (under an id that ask has as
                               well); prints the number of layers, of experts
       bits.py rungs STREAM    into this folder: the rows of its frame as rungs.23, frames of 1, 2
                               ... 23 rows, and as rungs.33, frames of 24 ... 33
       bits.py compare LIST    for each line of LIST, which has words with tabs between, prints 0 or 1, DESC and what differs:
    DESC same WANT GOT...      all the rows that the streams GOT have together are those of WANT: where they wait, tensors, bits;
                               for folders, of the streams of the same name
    DESC texts GOT WANT...     the sequences of GOT, whatever their ids, are those that the streams WANT have together
"""
import collections
import functools
import io
import json
import os
import random
import sys

import frame

LENGTHS = (150, 65, 7, 1, 64)       # a page of the cache is 64 positions
SEQS = (5, 2**64 - 2, 0, 2**63, 77)


def tokens(vocabulary):
    """Random ids, the same on every run."""
    dice = random.Random(7)
    return [[dice.randint(3, vocabulary - 1) for _ in range(n)] for n in LENGTHS]


def write(name, frames):
    with open(name, "wb") as out:
        for f in [*frames, frame.Frame({"op": "end"})]:
            out.write(f.bytes())


def pieces(rows):
    """Small frames of one to three spans, some of no rows, until every sequence is whole."""
    dice = random.Random(3)
    at = [0] * len(rows)
    while any(a < len(r) for a, r in zip(at, rows)):
        spans = []
        for i in dice.sample(range(len(rows)), dice.randint(1, 3)):
            n = min(dice.choice((0, 1, 1, 2, 5, 19, 64)), len(rows[i]) - at[i])
            spans.append((SEQS[i], at[i], 3 if at[i] + n == len(rows[i]) else 2, rows[i][at[i]:at[i] + n]))
            at[i] += n
        yield frame.prompt(*spans)


def ask(some, seqs=SEQS):
    """Prompts to be answered: each second one at random, the others greedily."""
    f = frame.prompt(*((seqs[i], 0, 1, ids) for i, ids in some))
    f.header["seqs"] = {seqs[i]: {"greedy": True} if i % 2 else {"temperature": 1.5, "seed": 40 + i, "top_k": 30} for i, _ in some}
    return f


def prompts(model):
    config = json.load(open(model + "/config.json"))
    rows = tokens(config["vocab_size"])
    write("batch", [frame.prompt(*((s, 0, 3, r) for s, r in zip(SEQS, rows)))])
    write("pieces", pieces(rows))
    some = list(enumerate(rows))
    write("ask", [ask(some)])
    for i, r in some:
        write(f"alone.{i}", [frame.prompt((SEQS[i], 0, 3, r))])
        write(f"ask.{i}", [ask([(i, r)])])
    write("short", [frame.prompt(*((SEQS[i], 0, 3, r) for i, r in some[1:4]))])
    write("left", [ask(some[:3])])
    write("right", [ask(some[3:])])
    write("clash", [ask([(1, rows[3])], {1: SEQS[1]})])
    print(config["num_hidden_layers"], config.get("n_routed_experts", config.get("num_experts", 0)))


def rungs(stream):
    import recut
    f = next(frame.read_frames(open(stream, "rb")))
    for sizes in (range(1, 24), range(24, 34)):
        left = [(s, i) for s, (_, _, n, _) in enumerate(f.header["spans"]) for i in range(n)]
        frames = []
        for n in [*sizes, len(left)]:
            frames.append(recut.take(f, left[:n]))
            del left[:n]
        write(f"rungs.{sizes[-1]}", frames)


def bytes_of(name):
    with open(name, "rb") as f:
        return f.read()


@functools.cache        # (many ways to compute write the same bytes)
def rows_of(*streams):
    """Of each (at, layer, tensor, dtype and shape): (seq, pos) -> bytes."""
    found = collections.defaultdict(dict)
    for stream in streams:
        for f in frame.read_frames(io.BytesIO(stream)):
            if "op" in f.header:
                continue
            for tensor, kind, where, rows in frame.rows_of(f):
                key = f.header["at"], f.header.get("layer", -1), tensor, kind
                new, all_of = dict(zip(where, rows)), found[key]
                twice = all_of.keys() & new.keys()
                if len(new) < len(rows) or any(all_of[at] != new[at] for at in twice):
                    raise frame.FrameError(f"a row appears twice and differs: {key}")
                all_of.update(new)
    return {key: rows for key, rows in found.items() if rows}


def same(want, *got):
    """What differs, or an empty string."""
    for name in sorted(os.listdir(want)) if os.path.isdir(want) else [""]:
        a, b = (rows_of(*(bytes_of(os.path.join(f, name) if name else f) for f in files))
                for files in ([want], got))
        for key in [key for key in {**a, **b} if a.get(key) != b.get(key)]:
            x, y = a.get(key, {}), b.get(key, {})
            differ = sorted(at for at in {**x, **y} if x.get(at) != y.get(at))
            return (f"{name} {key}: {len(x)} rows expected, {len(y)} came, {len(differ)} differ: "
                    f"{differ[0]}")
        if not a:
            return f"{name}: no rows"
    return ""


def sequences(files):
    found = []
    for name in files:
        whole = collections.defaultdict(list)
        for f in frame.read_frames(open(name, "rb")):
            if "op" not in f.header:
                for (seq, _), i in zip(f.rows(), f.tensors["ids"]):
                    whole[seq].append(int(i))
        found += whole.values()
    return sorted(found)


def texts(got, *want):
    a, b = sequences([got]), sequences(want)
    return "" if a == b and a else f"{len(b)} sequences expected, {len(a)} came, or they differ"


def compare(path):
    for line in open(path):
        desc, how, *files = line.rstrip("\n").split("\t")
        try:
            why = {"same": same, "texts": texts}[how](*files)
        except (frame.FrameError, OSError) as e:
            why = str(e)
        print(int(why != ""), desc, why, sep="\t")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("prompts", "rungs", "compare"):
        sys.exit(__doc__)
    {"prompts": prompts, "rungs": rungs, "compare": compare}[sys.argv[1]](sys.argv[2])
