"""Plays the rest of the pipeline for ds-embed --cache-size, with caches of its own.

usage: cached.py PAGES BATCHES ROWS DRAFTS REQUESTS SEED

Prompts come whole or in several frames, many with a beginning that others have, some as forks,
some that are not sampled, some with a wrong token; some are freed by their owner.  Each row's cache
must hold the tokens before it, and all caches together at most PAGES pages.  With DRAFTS, tokens
come with guesses, and some are taken back.  With REQUESTS, short prompts overtake long ones.
Prints what was wrong, then whether every sequence got its tokens, whether ds-embed counted the
pages that were in use, and its exit status.
"""
import os
import random
import re
import subprocess
import sys
import threading

import numpy as np

import frame

PAGES, BATCHES, ROWS, DRAFTS, REQUESTS, SEED = map(int, sys.argv[1:])
PAGE, VOCABULARY, LIMIT = 64, 512, 4096
dice, other = random.Random(SEED), random.Random(SEED + 1)
for name in "asks", "loop":
    os.mkfifo(name)
door = subprocess.Popen(["ds-embed", "-v", "--cache-size", "1G", "--batches", str(BATCHES),
                         "-B", str(ROWS), "-i", "asks", "-i", "loop"],
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
asks, loop = open("asks", "wb", buffering=0), open("loop", "wb", buffering=0)
lock = threading.Lock()


def wrong(*what):
    print("wrong:", *what, flush=True)


# --- prompts ---

want, left, prompts = {}, {}, {}        # of sequences: tokens so far, tokens to come, prompts
regretted, faulty = set(), set()


def feed():
    stems = [[dice.randrange(VOCABULARY) for _ in range(dice.choice([3, 12, 40, 64, 90, 130]))]
             for _ in range(5)]
    seq = 0
    for _ in range(40):
        with lock:
            ids = list(dice.choice(stems)) if dice.random() < 0.8 else []
            ids += [dice.randrange(VOCABULARY) for _ in range(dice.choice([0, 0, 1, 5, 20, 70]))]
            ids = ids or [1]
            kind, seq = dice.random(), seq + 1
            frames = []
            if kind < 0.1 and seq > 1:
                source = dice.randrange(1, seq)
                n = dice.randrange(1, len(prompts[source]) + 1)
                frames.append(frame.Frame({"op": "fork", "from": source, "to": seq, "n": n}))
                want[seq], left[seq] = prompts[source][:n] + ids, dice.randrange(1, 40)
                faulty.add(seq)         # it is refused if the source has ended
                at = n
            else:
                want[seq], left[seq] = list(ids), dice.choice([1, 9, 40, 120])
                at = 0
            prompts[seq] = list(want[seq])
            if kind > 0.95:
                ids[-1] = LIMIT + 90000
                faulty.add(seq)
            if 0.85 < kind < 0.9:
                left[seq] = 0
            flag = 1 if left.get(seq, 1) else 4
            if flag == 4:
                ids.append(7)
            while len(ids) > 1 and dice.random() < 0.3:
                n = dice.randrange(1, len(ids))
                frames.append(frame.prompt((seq, at, 0, ids[:n])))
                ids, at = ids[n:], at + n
            frames.append(frame.prompt((seq, at, flag, ids)))
            if REQUESTS:
                first = next(f for f in frames if "spans" in f.header)
                first.header["seqs"] = {seq: {"request": {}}}
            if 0.9 < kind < 0.95:
                regretted.add(seq)
                frames.append(frame.Frame({"op": "free", "seq": seq}))
            bytes_ = b"".join(f.bytes() for f in frames)
        asks.write(bytes_)
    asks.write(frame.Frame({"op": "end"}).bytes())


threading.Thread(target=feed, daemon=True).start()

# --- caches ---


class Page:
    def __init__(self, ids):
        self.ids, self.refs = ids, 1


used = peak = 0
caches = {}


def page(ids):
    global used, peak
    used += 1
    peak = max(peak, used)
    if used > PAGES:
        wrong("pages in use:", used)
    return Page(ids)


def drop(p):
    global used
    p.refs -= 1
    used -= p.refs == 0


def cut(c, n):
    while len(c["pages"]) > -(-n // PAGE):
        drop(c["pages"].pop())
    c["n"] = n


def append(c, token):
    at = c["n"] % PAGE
    if at == 0:
        c["pages"].append(page([]))
    elif c["pages"][-1].refs > 1:
        old = c["pages"][-1]
        c["pages"][-1] = page(list(old.ids))
        drop(old)
    p = c["pages"][-1]
    del p.ids[at:]
    p.ids.append(token)
    c["n"] += 1


def tokens(c):
    return [t for p in c["pages"] for t in p.ids][:c["n"]]


# --- the pipeline ---

returned, refused, ended = set(), set(), False


def control(h):
    global ended
    if h["op"] == "fork":
        c = caches.get(h["from"])
        if not c or c["n"] < h["n"] or h["to"] in caches:
            return wrong("fork", h, c and c["n"])
        pages = c["pages"][:-(-h["n"] // PAGE)]
        for p in pages:
            p.refs += 1
        caches[h["to"]] = {"pages": pages, "n": h["n"]}
    elif h["op"] in ("free", "error"):
        if h["op"] == "error":
            refused.add(h["seq"])
            frame.write_frame(loop, h)
        c = caches.pop(h["seq"], None)
        if c:
            cut(c, 0)
    elif h["op"] == "cache":
        frame.write_frame(loop, {**h, "positions": PAGES * PAGE + 63})
    else:
        ended = True


def token_of(seq, pos):
    return (seq * 7919 + pos * 104729) % VOCABULARY


def guesses(seq, pos):
    """Guesses of the tokens from pos on; some are wrong."""
    n = other.randrange(4)
    return [token_of(seq, pos + i) if other.random() < 0.6 else 3 for i in range(n)]


def rows(f):
    spans, ids, freed, at = [], [], [], 0
    for seq, pos, n, flags in f.header["spans"]:
        c = caches.setdefault(seq, {"pages": [], "n": 0})
        if c["n"] < pos:
            return wrong("rows of", seq, "at", pos, "of", c["n"])
        cut(c, pos)
        for t in f.tensors["ids"][at:at + n]:
            append(c, int(t))
        at += n
        if not flags & 1 or not n:
            continue
        with lock:
            told = want[seq]
        if tokens(c)[:pos + 1] != told[:pos + 1]:
            return wrong("the cache of", seq, "at", pos)
        held = []
        p = pos + n if not flags & 8 else pos + 1       # the new token's position
        while True:
            if len(told) != p:
                return wrong("a token of", seq, "at", p, "of", len(told))
            t = token_of(seq, p)
            told.append(t)
            left[seq] -= 1
            if left[seq] <= 0 or not flags & 8 or p >= pos + n:
                break
            if int(f.tensors["ids"][at - n + p - pos]) != t:
                break
            held.append(t)
            p += 1
        if held:
            spans.append([seq, p - len(held), len(held), 16])
            ids += held
        if left[seq] > 0:
            g = guesses(seq, p + 1)[:left[seq] - 1] if DRAFTS else []
            spans.append([seq, p, 1 + len(g), 11 if g else 1])
            ids += [t] + g
        else:
            spans.append([seq, p, 1, 4])
            ids.append(t)
            freed.append(seq)
            returned.add(seq)
    if spans:
        frame.write_frame(loop, {"at": "embed", "spans": spans}, {"ids": np.array(ids, "<i4")})
    for seq in freed:
        frame.write_frame(loop, {"op": "free", "seq": seq})


for f in frame.read_frames(door.stdout):
    control(f.header) if "op" in f.header else rows(f)
frame.write_frame(loop, {"op": "end"})
said = door.stderr.read().decode()
expected = {s for s in left if left[s] >= 0 and s not in regretted}
lost = {s for s in want if s not in returned | refused | regretted and left.get(s)}
never = {s for s in refused if s not in faulty and len(want[s]) <= PAGES * PAGE}
counted = re.search(r"(\d+) pages of 64 positions in use, at most (\d+) of (\d+)", said)
if lost or never or not counted or list(map(int, counted.groups())) != [used, peak, PAGES]:
    print("lost", lost, "refused", never, "pages", used, peak, PAGES, said, flush=True)
if os.environ.get("TOLD"):
    print(said)
print(not lost and not never, bool(counted), door.wait(20), flush=True)
