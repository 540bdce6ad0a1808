#!/usr/bin/env python3
"""Batches of rows for the tests of the stages: rows.py WORD... writes frames at attn layer 0 to standard output.

SEQ:POS+N[:VARIANT][/FLAGS]   a span, in a frame of its own; its rows of h depend on SEQ, POS and VARIANT alone
A,B                           several spans in one frame
free=SEQ fork=FROM,TO,N end   control frames
save=SEQ,N,KEY[,ID] load=...  likewise, of the tokens ID, ID+1, ... (0)
at=STAGE layer=N d=WIDTH model=HEX key=VALUE    for the frames that follow"""
import sys

import numpy as np

import frame


def batch(spans, width):
    """h of the rows of (seq, pos, n, flags, variant)"""
    h = [np.random.default_rng([seq, p, variant]).standard_normal(width)
         for seq, pos, n, _, variant in spans for p in range(pos, pos + n)]
    return np.array(h, "<f4").reshape(len(h), width)


def span(word):
    word, _, flags = word.partition("/")
    seq, where, variant = (word + ":0").split(":")[:3]
    pos, n = map(int, where.split("+"))
    return int(seq), pos, n, int(flags or 0), int(variant)


def main(words):
    header, width, out = {"at": "attn", "layer": 0}, 256, sys.stdout.buffer
    for word in words:
        key, _, value = word.partition("=")
        if word == "end":
            frame.write_frame(out, {"op": "end"})
        elif key == "free":
            frame.write_frame(out, {"op": "free", "seq": int(value)})
        elif key == "fork":
            frame.write_frame(out, dict(zip(("op", "from", "to", "n"), ["fork", *map(int, value.split(","))])))
        elif key in ("save", "load"):
            seq, n, name, first = (value + ",0").split(",")[:4]
            frame.write_frame(out, {"op": key, "seq": int(seq), "n": int(n), "key": name},
                              {"ids": np.arange(int(first), int(first) + int(n), dtype="<i4")})
        elif key == "d":
            width = int(value)
        elif value:
            header[key] = int(value) if value.isdigit() else value
        else:
            spans = [span(w) for w in word.split(",")]
            frame.write_frame(out, {**header, "spans": [list(s[:4]) for s in spans]}, {"h": batch(spans, width)})


if __name__ == "__main__":
    main(sys.argv[1:])
