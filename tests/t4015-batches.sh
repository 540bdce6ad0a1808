#!/bin/sh
# ds-embed with several batches under way, and in a ring.
# only: asan leaks
. "${0%/*}/lib.sh"
export DS_MODEL=$M

cat >shares.py <<'EOP'
import subprocess, sys, numpy as np, frame
with open("asks", "wb") as f:
    frame.write_frame(f, {"at": "embed", "spans": [[i, 0, 1, 1] for i in range(12)]}, {"ids": np.full(12, 5, "<i4")})
    frame.write_frame(f, {"op": "end"})
door = subprocess.Popen(["ds-embed", "--batches", "3", "-i", "asks", "-i", "loop"], stdout=subprocess.PIPE)
loop = open("loop", "wb", buffering=0)
back = frame.read_frames(door.stdout)
def batch():
    for f in back:
        if "op" not in f.header:
            return f
def answer(f, last):
    spans = [[s[0], s[1] + 1, 1, 4 if s[0] in last else 1] for s in f.header["spans"]]
    frame.write_frame(loop, {"at": "embed", "spans": spans}, {"ids": np.full(len(spans), 5, "<i4")})
    for s in spans:
        if s[3] == 4:
            frame.write_frame(loop, {"op": "free", "seq": s[0]})
def seqs(*fs):
    return [[s[0] for s in f.header["spans"]] for f in fs]
one, two, three = batch(), batch(), batch()
print(seqs(one, two, three))
answer(one, (0, 1, 2)); four = batch()
answer(two, ()); five = batch()
answer(three, ()); six = batch()
answer(four, ()); seven = batch()
print(seqs(four), seqs(five, six, seven))
for f in five, six, seven:
    answer(f, range(12))
frame.write_frame(loop, {"op": "end"})
print([f.header["op"] for f in back].count("free"), door.wait(20), flush=True)
EOP
mkfifo loop
is "$(py shares.py)" "[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
[[3]] [[4, 5, 6], [7, 8, 9], [10, 11, 3]]
9 0" "three batches go before the first has come back, and those that live are shared out anew"
rm asks loop
n=0
for args in "1 1" "2 1" "3 1" "8 1" "1 3" "2 4" "8 2"; do
	n=$((n + 1))
	is "$(py "$T/door.py" $args $n)" "True True 0" "prompts, forks and frees at any time, with batches and layers: $args"
	rm -f asks loop
done

# --- a long prompt, and short ones after it ---
cat >fair.py <<'EOP'
import io, subprocess, sys, frame
def spans(more, *options):
    asks = []
    for seq, n in enumerate((1000, 900, 50, 5)):
        asks.append(frame.prompt((seq, 0, 1, [seq] * n)))
        asks[-1].header["seqs"] = {seq: more}
    asks.append(frame.Frame({"op": "end"}))
    p = subprocess.run(["ds-embed", "-B", "128", *options], stdout=subprocess.PIPE,
                       input=b"".join(f.bytes() for f in asks))
    return [f.header["spans"] for f in frame.read_frames(io.BytesIO(p.stdout))
            if "spans" in f.header]
def sampled(batches, seq):
    return next(i for i, b in enumerate(batches) for s in b if s[0] == seq and s[3] == 1)
for options in (), ("--cache-size", "1G"):
    b = spans({"request": {}}, *options)
    least = min(sum(s[2] for s in x if s[0] == 0) for x in b[:sampled(b, 0)])
    print(sampled(b, 3), sampled(b, 2), least, sampled(b, 0) < sampled(b, 1), len(b))
    b = [s[0] for x in spans({"greedy": True}, *options) for s in x]
    print(b == sorted(b), flush=True)
EOP
is "$(py fair.py)" "1 2 96 True 16
True
1 2 96 True 16
True" "short requests overtake a long one, which goes on in each batch; others keep their order"

# --- what ds-embed does not know goes round once ---
cat >once.py <<'EOP'
import subprocess, frame, numpy as np
door = subprocess.Popen(["ds-embed", "-i", "asks", "-i", "loop"], stdout=subprocess.PIPE)
asks, loop = open("asks", "wb", buffering=0), open("loop", "wb", buffering=0)
back = frame.read_frames(door.stdout)
for op in {"op": "later"}, {"op": "save", "seq": 1, "n": 1, "key": "0" * 16}:
    frame.write_frame(asks, op, {"ids": np.zeros(1, "<i4")} if "seq" in op else {})
    loop.write(next(back).raw)
frame.write_frame(asks, {"op": "last"})
frame.write_frame(asks, {"op": "end"})
print([f.header["op"] for f in back])
frame.write_frame(loop, {"op": "end"})
print(door.wait(20), flush=True)
EOP
mkfifo asks loop
is "$(py once.py)" "['last', 'end']
0" "an unknown frame from a prompt is forwarded once"
rm asks loop

# --- auto: a pipeline that takes 4 ms for a batch, and computes three at once ---
cat >climb.py <<'EOP'
import collections, os, subprocess, sys, threading, time, numpy as np, frame
least = int(sys.argv[1])
with open("asks", "wb") as f:
    f.write(frame.prompt(*[(i, 0, 1, [5]) for i in range(24)]).bytes())
    frame.write_frame(f, {"op": "end"})
door = subprocess.Popen(["ds-embed", "--batches", "auto", "-i", "asks", "-i", "loop"],
                        stdout=subprocess.PIPE)
loop = open("loop", "wb", buffering=0)
came, lock, most, away = collections.deque(), threading.Condition(), 0, 0
start, last = time.monotonic(), False
def compute():
    global away, last
    while True:
        with lock:
            while not came:
                lock.wait()
            f = came.popleft()
        if not f:
            return
        time.sleep(0.004)
        with lock:
            away -= 1
            last |= most >= least or time.monotonic() - start > 20
            spans = [[s[0], s[1] + 1, 1, 4 if last else 1] for s in f.header["spans"]]
            ids = np.full(len(spans), 5, "<i4")
            frame.write_frame(loop, {"at": "embed", "spans": spans}, {"ids": ids})
            for s in spans if last else []:
                frame.write_frame(loop, {"op": "free", "seq": s[0]})
threads = [threading.Thread(target=compute, daemon=True) for _ in range(3)]
for t in threads:
    t.start()
for f in frame.read_frames(door.stdout):
    if "op" not in f.header:
        with lock:
            away += 1
            most = max(most, away)
            came.append(f)
            lock.notify()
frame.write_frame(loop, {"op": "end"})
print(most >= least, door.wait(20), flush=True)
EOP
mkfifo loop
is "$(py climb.py 3)" "True 0" "auto finds that three batches are faster than one"
rm asks loop
fails_with 2 "batches 'all': give an integer from 1 to 64" "no other word than auto" \
    ds-embed --batches all

fails_with 2 "batches '0': give an integer from 1 to 64" "at least one batch is under way" ds-embed --batches 0
{ frame prompt 7 0 2 5; frame end; } >asks
py -c '
import frame, numpy as np
frame.write_frame(open("round", "wb"), {"at": "attn", "layer": 2, "spans": [[7, 0, 1, 2]]}, {"h": np.zeros((1, 256), "<f4")})'
cat round >late; frame end >>late
cat >late.py <<'EOP'
import subprocess, frame
door = subprocess.Popen(["ds-embed", "-i", "asks", "-i", "loop"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
loop = open("loop", "wb", buffering=0)
print([f.header.get("op") for f in frame.read_frames(door.stdout)])     # up to the end
loop.write(open("late", "rb").read())
print(door.stderr.read().decode().strip(), door.wait(20), flush=True)
EOP
mkfifo loop
is "$(py late.py)" "[None, 'free', 'end']
ds-embed: loop: rows arrived after the end that still wait for attn layer 2: in a ring give --ring to ds-embed, ds-head and ds-sample 1" \
    "a ring of which ds-embed knows nothing is noticed"
done_testing
