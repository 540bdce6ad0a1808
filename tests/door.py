"""Plays the rest of the pipeline for ds-embed, and watches what it sends.

usage: door.py BATCHES LAYERS SEED

Prompts come now and then, some in two frames, some as forks, some that nobody samples; some are freed by their owner.  With
LAYERS above 1 each frame is sent round that often, as in a ring.  Prints what was wrong, then whether all sequences were
answered as they should, batches were never too many, and the exit status of ds-embed.
"""
import os
import queue
import random
import subprocess
import sys
import threading

import numpy as np

import frame

BATCHES, LAYERS, SEED = map(int, sys.argv[1:])
RING = LAYERS > 1
dice = random.Random(SEED)
for name in "asks", "loop":
    os.mkfifo(name)
door = subprocess.Popen(["ds-embed", "--batches", str(BATCHES), "-B", "8", *["--ring"] * RING, "-i", "asks", "-i", "loop"],
                        stdout=subprocess.PIPE)
asks, loop = open("asks", "wb", buffering=0), open("loop", "wb", buffering=0)
came = queue.Queue()


def listen():
    for f in frame.read_frames(door.stdout):
        came.put(f)
    came.put(None)


threading.Thread(target=listen, daemon=True).start()


def say(to, header, ids=None):
    frame.write_frame(to, header, {} if ids is None else {"ids": np.array(ids, "<i4")})


def wrong(*what):
    print("wrong:", *what, flush=True)


class Seq:
    def __init__(self, n, left):
        self.caches = [n] * LAYERS      # positions that each layer has
        self.left = left                # tokens that it is still to get; 0: nobody samples it
        self.away = 0                   # frames with rows of it
        self.sampled = False            # a row to be sampled is under way
        self.freed = False


alive, under_way, most, answered, ended = {}, [], 0, 0, False
begun, regretted = {}, set()


def rows(f):
    """A batch has come, for the first time or once more."""
    global most
    layer, spans = f.header["layer"], f.header["spans"]
    for seq, pos, n, flags in spans:
        s = alive.get(seq)
        if s is None and pos == 0 and layer == 0:
            s = alive[seq] = Seq(0, begun[seq])
        if s is None or s.freed or s.caches[layer] != pos:
            return wrong("rows of", seq, "at", pos, "in layer", layer, s and s.caches)
        s.caches[layer] = pos + n
        if layer == 0:
            s.away += 1
            if flags & 1 and s.sampled:
                wrong("rows of", seq, "while its token is under way")
            s.sampled |= bool(flags & 1)
    if layer == 0 and sum(n for _, _, n, _ in spans) > 8:
        wrong("too large a batch", spans)
    under_way.append(f)
    most = max(most, sum(any(s[3] & 1 for s in f.header["spans"]) for f in under_way))


def control(f):
    global ended
    h = f.header
    if h["op"] == "end":
        ended = True
        if alive or under_way:
            wrong("an end while there is work", list(alive))
    elif h["op"] == "fork":
        s = alive[h["from"]]
        if min(s.caches) < h["n"]:
            wrong("fork of", h["n"], "from", s.caches)
        alive[h["to"]] = Seq(h["n"], begun[h["to"]])
    elif h["op"] == "free":
        s = alive.pop(h["seq"], None)
        if s is None and h["seq"] not in regretted or s and RING and s.away:
            wrong("free of", h["seq"], s and s.away)


def answer():
    """The oldest batch: a layer further, or its tokens."""
    global answered
    f = under_way.pop(0)
    h = f.header
    if h["layer"] < LAYERS - 1:
        return frame.write_frame(loop, {**h, "layer": h["layer"] + 1}, f.tensors)
    spans, freed = [], []
    for seq, pos, n, flags in h["spans"]:
        s = alive.get(seq)
        if s is None:
            continue
        s.away -= 1
        if not flags & 1:
            if RING:
                spans.append([seq, pos + n, 0, 0])
            continue
        s.sampled = False
        s.left -= 1
        spans.append([seq, pos + n, 1, 1 if s.left else 4])
        if not s.left:
            freed.append(seq)
            answered += 1
    if spans:
        say(loop, {"at": "embed", "spans": spans}, [3] * sum(s[2] for s in spans))
    for seq in freed:
        say(loop, {"op": "free", "seq": seq})


def ask(seq):
    """Something new."""
    kind = dice.randrange(6)
    n = dice.randint(1, 20)
    begun[seq] = 0 if kind == 0 or kind == 3 and dice.random() < 0.3 else dice.randint(1, 12)
    if kind == 1:                       # in two frames
        say(asks, {"at": "embed", "spans": [[seq, 0, n, 0]]}, [5] * n)
        say(asks, {"at": "embed", "spans": [[seq, n, 1, 1]]}, [6])
    elif kind == 2:                     # the prompt is shared with another
        say(asks, {"at": "embed", "spans": [[seq, 0, n, 0]]}, [5] * n)
        say(asks, {"op": "fork", "from": seq, "to": seq + 1000, "n": n})
        begun[seq + 1000] = begun[seq]
        for s in seq, seq + 1000:
            say(asks, {"at": "embed", "spans": [[s, n, 1, 1]]}, [6])
        return 2
    else:
        say(asks, {"at": "embed", "spans": [[seq, 0, n, 1 if begun[seq] else 2]]}, [5] * n)
        if kind == 3:                   # its owner has changed his mind
            say(asks, {"op": "free", "seq": seq})
            regretted.add(seq)
            return 0
    return kind != 0


def main():
    want, seq = 0, 0
    while not ended:
        if seq < 24 and dice.random() < 0.3:
            want += ask(seq)
            seq += 1
            if seq == 24:
                say(asks, {"op": "end"})
        try:
            f = came.get(timeout=0.004)
            if f is None:
                return wrong("ds-embed is gone")
            control(f) if "op" in f.header else rows(f)
        except queue.Empty:
            for _ in range(dice.randint(1, max(1, len(under_way)))):
                if under_way:
                    answer()
    say(loop, {"op": "end"})
    print(want <= answered <= seq + 24, most <= BATCHES, door.wait(20))


main()
sys.stdout.flush()
os._exit(0)
