#!/bin/sh
# also: asan leaks
# ds-embed: the door of the pipeline.
. "${0%/*}/lib.sh"

# what a stream's frames are, a line each: op or stage, spans
shape() {
	py -c '
import sys, frame
for f in frame.read_frames(sys.stdin.buffer):
    h = f.header
    print(h["op"], *[v for k, v in h.items() if k != "op"]) if "op" in h else print(h["at"], h.get("layer"), *["%d:%d+%d/%d" % tuple(s) for s in h["spans"]])
'
}

# embed [OPTION...]: the frames on standard input through the straight line
embed() {
	ds-embed -m "$M" "$@" | tee last.dsf | shape
}

{ frame prompt 7 0 1 0 5 6 / 9 0 3 8; frame end; } >two.dsf
is "$(embed <two.dsf)" "attn 0 7:0+3/1 9:0+1/3
end" "one frame of two prompts becomes one batch"
ok "what it writes is as the page says" sh -c "$FRAME check <last.dsf"
like "$($FRAME show <last.dsf)" '"model": *"[0-9a-f]{16}"|model.*[0-9a-f]{16}' "the model is filled in"
is "$(embed -B 2 <two.dsf)" "attn 0 7:0+2/0
attn 0 7:2+1/1 9:0+1/3
end" "a prompt that does not fit is cut, its last flags on the last piece"
is "$(embed -B 1 <two.dsf | wc -l)" 5 "batches of one row"
cat two.dsf two.dsf >both.dsf
fails_with 3 "both.dsf: another stream follows the end frame, and is left unread: give a file with one stream" "a file given by name has one stream" ds-embed -m "$M" -i both.dsf
ds-embed -m "$M" <two.dsf >one.dsf && cat one.dsf one.dsf >both.dsf
for stage in ds-attn ds-block ds-relay; do
	fails_with 3 "both.dsf: another stream follows" "for $stage as well" $stage -m "$M" -i both.dsf
done
(ds-block -m "$M" >first.dsf && ds-block -m "$M" >second.dsf) <both.dsf 2>said
is "$? $(cmp first.dsf second.dsf)$(cat said)" "0 " "standard input is read on by the next program"
ds-embed -m "$M" <two.dsf | frame tensors >whole.txt
ds-embed -m "$M" -B 1 <two.dsf | frame tensors >cut.txt
same whole.txt cut.txt "cutting changes no bit"

{ frame prompt 7 0 0 0 5; frame prompt 7 2 1 6; frame end; } >goes-on.dsf
is "$(embed <goes-on.dsf | tail -2)" "attn 0 7:2+1/1
end" "a prompt may come in several frames"
{ frame prompt 7 0 2 0 5 6; frame end; } >scored.dsf
is "$(embed <scored.dsf)" "attn 0 7:0+3/2
free 7
end" "a sequence that asks for no sampled row is freed"
{ frame prompt 7 0 4 0 5 6; frame prompt 7 0 1 3; frame end; } >last.in
is "$(embed <last.in)" "attn 0 7:0+2/0
free 7
attn 0 7:0+1/1
end" "the last token of a sequence is text, and frees it"
{ frame prompt 7 0 2; frame prompt 8 0 1 4; frame end; } >empty.dsf
is "$(embed <empty.dsf)" "attn 0 7:0+0/2
attn 0 8:0+1/1
free 7
end" "an empty prompt is a span without rows"
{ frame prompt 7 0 0 0 5 6; frame fork 7 8 2; frame prompt 8 2 1 9; frame end; } >fork.dsf
is "$(embed <fork.dsf)" "attn 0 7:0+3/0
fork 7 8 2
attn 0 8:2+1/1
free 7
end" "a fork is passed on, and its sequence goes on where it was cut"
{ frame prompt 18446744073709551615 0 1 4; frame end; } >big.dsf
is "$(embed <big.dsf | head -1)" "attn 0 18446744073709551615:0+1/1" "a sequence id is any number of 64 bits"

# keys that it does not know
{ frame prompt 1 0 1 4 5 6 | frame set note '{"a": [1, null]}'; frame prompt 2 0 1 4; frame end; } >other.dsf
is "$(embed -B 2 <other.dsf)" "attn 0 1:0+2/0
attn 0 1:2+1/1
attn 0 2:0+1/1
end" "a frame with unknown keys is a batch of its own"
is "$(frame show <last.dsf | grep -c note)" 2 "and its pieces copy them"
{ py -c '
import sys, numpy as np, frame
ids = np.arange(3, dtype=np.int32)
frame.write_frame(sys.stdout.buffer, {"at": "embed", "spans": [[1, 0, 3, 1]]},
    {"ids": ids, "mine": np.arange(6, dtype=np.float32).reshape(3, 2), "all": np.arange(4, dtype=np.uint8)})'; frame end; } >own.dsf
ds-embed -m "$M" -B 2 <own.dsf >own.out
is "$(py -c '
import frame
print([(k, v.tolist()) for f in frame.read_frames(open("own.out", "rb")) for k, v in f.tensors.items() if k in ("mine", "all")])')" \
    "[('mine', [[0.0, 1.0], [2.0, 3.0]]), ('all', [0, 1, 2, 3]), ('mine', [[4.0, 5.0]]), ('all', [0, 1, 2, 3])]" \
    "a frame's own tensors are cut with its rows"

# the loop: a second program plays ds-sample
mkfifo loop
# answer TOKENS FLAGS...: for each sampled row send the next token of the list back, the last with flag 4
player() {
	py -c '
import sys, numpy as np, frame
out = open(sys.argv[1], "wb", buffering=0)
left = {}
for f in frame.read_frames(sys.stdin.buffer):
    h = f.header
    if h.get("op") == "end":
        frame.write_frame(out, h)
        print("end"); break
    if "op" in h:
        print(h["op"], h.get("seq")); continue
    spans, frees = [], []
    print(h["at"], *["%d:%d+%d/%d" % tuple(s) for s in h["spans"]])
    for seq, pos, n, flags in h["spans"]:
        if flags & 1 and n:
            left[seq] = left.get(seq, int(sys.argv[2])) - 1
            spans.append([seq, pos + n, 1, 1 if left[seq] else 4])
            if not left[seq]: frees.append(seq)
    if spans:
        frame.write_frame(out, {"at": "embed", "spans": spans}, {"ids": np.full(len(spans), 3, np.int32)})
    for s in frees: frame.write_frame(out, {"op": "free", "seq": s})
' loop "$1"
}
# door TOKENS INPUT...: ds-embed with the loop; its exit status comes last
door() {
	n=$1; shift
	opts=
	for f; do opts="$opts -i $f"; done
	{ timeout 20 ds-embed -m "$M" $opts -i loop 2>err; echo $? >status; } | player "$n"
	cat status
}
is "$(door 2 two.dsf)" "attn 7:0+3/1 9:0+1/3
attn 7:3+1/1 9:1+1/1
free 7
free 9
end
0" "the loop runs until every sequence is free"
is "$(door 2 scored.dsf)" "attn 7:0+3/2
free 7
end
0" "one that nobody samples does not keep it waiting"
is "$(door 1 two.dsf two.dsf | head -1)" "attn 7:0+3/1 9:0+1/3 9223372036854775808:0+3/1 9223372036854775809:0+1/3" \
    "sequences of a second input that clash get ids of their own"
{ frame prompt 1 0 1 4; frame prompt 2 0 1 4; frame prompt 3 0 1 4; frame end; } >three.dsf
is "$(n=1; { timeout 20 ds-embed -m "$M" -B 1 -i three.dsf -i loop; echo $? >status; } | player 1 | grep -c attn; cat status)" "3
0" "prompts are taken in as room is made"

# --- what waits is bounded, whatever it is ---
cat >stalled.py <<'EOP'
# stalled.py KIND: write frames of it to ds-embed, whose output is not read until it reads no more; print whether what it took
# is little.  With a loop all of that comes out then, and the loop has been read all the time
import os, select, subprocess, sys
import numpy as np
import frame
kinds = {
    "unknown": frame.Frame({"op": "later"}).bytes(),
    "free": frame.Frame({"op": "free", "seq": 5}).bytes(),
    "failed": frame.prompt((5, 0, 1, [5000])).bytes(),
    "empty": frame.prompt(*[(i, 0, 2, []) for i in range(4096)]).bytes(),
    "other": frame.Frame({"at": "attn", "layer": 0, "spans": [[1, 0, 0, 0]], "x": "y" * 200000}, {}).bytes(),
    "large": frame.Frame({"at": "head", "layer": 4, "spans": [[1, 0, 0, 0]]}, {"x": np.zeros(4 << 20, "u1")}).bytes(),
}
unit = kinds[sys.argv[1]]
unit *= max(1, 65536 // len(unit))
os.mkfifo(sys.argv[1])
p = subprocess.Popen(["ds-embed", "-m", os.environ["M"], "-i", "-", "-i", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
loop = open(sys.argv[1], "wb", buffering=0)
w = p.stdin.fileno()
os.set_blocking(w, False)
sent = 0
while select.select([], [w], [], 0.8)[1] and sent < 200e6:
    sent += os.write(w, unit[sent % len(unit):])
rss = next(int(l.split()[1]) for l in open(f"/proc/{p.pid}/status") if l.startswith("VmRSS"))
loop.write(frame.Frame({"op": "later", "from": "the loop"}).bytes() * 2000)    # more than a pipe holds
print("few" if sent < 40e6 else f"{sent} bytes", "small" if rss < 90000 or "asan" in os.readlink(f"/proc/{p.pid}/exe") else f"{rss} kB")
os.set_blocking(w, True)
rest = unit[sent % len(unit):] if sent % len(unit) else b""
if os.fork() == 0:
    p.stdout.close()
    os.write(w, rest + frame.Frame({"op": "end"}).bytes()) if len(rest) < 65536 else p.stdin.write(rest + frame.Frame({"op": "end"}).bytes())
    p.stdin.flush()
    os._exit(0)
p.stdin.close()
n = sum(1 for f in frame.read_frames(p.stdout) if f.header.get("from") != "the loop")
loop.write(frame.Frame({"op": "end"}).bytes())
loop.close()
print("all" if n >= sent // len(unit) else n, p.wait())
EOP
for kind in unknown free failed empty other large; do
	is "$(py stalled.py $kind | tr '\n' ' ')" "few small all 0 " "frames that are not read do not fill its memory: $kind"
done

# --- linear in sequences, and in what they bring ---
cat >many.py <<'EOP'
# many.py N [BYTES]: N sequences, in frames of 4096, that ask for nothing; with parameters of so many bytes
import sys
import frame
n, size = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
for i in range(0, n, 4096):
    seqs = range(i, min(n, i + 4096))
    f = frame.prompt(*[(s, 0, 2, [5] if size else []) for s in seqs])
    if size:
        f.header["seqs"] = {s: {"mine": "x" * size} for s in seqs}
    sys.stdout.buffer.write(f.bytes())
sys.stdout.buffer.write(frame.Frame({"op": "end"}).bytes())
EOP
n=$(few 163840 40960)
py many.py $n >many.dsf
py - $n >said <<'EOP'
import os, resource, subprocess, sys
most = 4 * int(sys.argv[1]) / 163840    # seconds
subprocess.run("ds-embed -m \"$M\" -i many.dsf | ds-dump | sed -n 's/^frame.*: free //p' >frees", shell=True)
asan = "build-asan" in os.environ["PATH"]
u = resource.getrusage(resource.RUSAGE_CHILDREN)
subprocess.run(["ds-embed", "-m", os.environ["M"], "-i", "many.dsf", "-o", "/dev/null"], check=True)
v = resource.getrusage(resource.RUSAGE_CHILDREN)
print(sum(1 for x in open("frees")), "fast" if v.ru_utime - u.ru_utime < most else v.ru_utime - u.ru_utime, "small" if asan or v.ru_maxrss < 150000 else v.ru_maxrss)
EOP
is "$(cat said)" "$n fast small" "$n sequences take memory and time in proportion"
ok "they are freed in the order in which they came" sort -nc frees

once || done_testing

# --- headers ---
# batches INPUT...: how many sequences; how often one has not its parameters once, with its first rows; are all headers in bounds?
batches() {
	ds-embed -m "$M" -B 65536 "$@" | { sleep 0.5; cat; } >batches.out      # meanwhile what comes is collected
	py -c '
import frame
first, wrong, largest = {}, 0, 0
for f in frame.read_frames(open("batches.out", "rb")):
    h = f.header
    if "op" in h: continue
    largest = max(largest, int.from_bytes(f.raw[6:10], "big"))
    for s in h["spans"]:
        wrong += (s[0] in h.get("seqs", {})) != (s[0] not in first) or s[0] not in first and h["seqs"][s[0]]["mine"][:1] != "x"
        first[s[0]] = 1
    wrong += len(set(h.get("seqs", {})) - {s[0] for s in h["spans"]})
print(len(first), wrong, largest <= 1 << 20)'
}
py many.py 4096 200 >wide.dsf
py many.py 100 9000 >long.dsf
is "$(batches -i wide.dsf)" "4096 0 True" "4096 sequences with parameters"
py - >sum.dsf <<'EOP'
import sys, frame
for name, more in ("wide", 0), ("long", 10000), ("long", 20000), ("long", 30000):
    for f in frame.read_frames(open(name + ".dsf", "rb")):
        if "op" not in f.header:
            f.header["spans"] = [[s[0] + more, *s[1:]] for s in f.header["spans"]]
            f.header["seqs"] = {s + more: p for s, p in f.header["seqs"].items()}
            sys.stdout.buffer.write(f.bytes())
sys.stdout.buffer.write(frame.Frame({"op": "end"}).bytes())
EOP
is "$(batches -i sum.dsf)" "4396 0 True" "frames are not merged into a header that is too long"
is "$(batches -B 7 -i wide.dsf)" "4096 0 True" "nor do cut ones have parameters twice"
mkfifo loop2
{ timeout "$LIMIT" ds-embed -m "$M" -B 65536 -i wide.dsf -i long.dsf -i loop2 & exec 5>loop2
  until frame check <two.out >seen 2>&1 || ! kill -0 $!; do sleep 0.1; done     # all of it has come
  frame end >&5; wait; } >two.out
is "$(py -c '
import frame
print(len({s for f in frame.read_frames(open("two.out", "rb")) if "op" not in f.header for s in f.header["seqs"]}))')" 4196 \
    "sequences that are renamed keep their parameters"
py -c '
import sys, frame
for seq, n in (1, (1 << 20) - 300), (2, 10):
    f = frame.prompt((seq, 0, 1, [5]))
    f.header["seqs"] = {seq: {"mine": "x" * n}}
    sys.stdout.buffer.write(f.bytes())
sys.stdout.buffer.write(frame.Frame({"op": "end"}).bytes())' >full.dsf
is "$(embed <full.dsf | sed 's/104[0-9]*/N/')" "error 1 ds-embed: the header of its frame has N bytes: it leaves stages no room
attn 0 2:0+1/1
end" "a header that is full costs its own sequence"

# faults
printf '' >nothing
fails_with 3 'ended without an end frame' "an input that ends early" ds-embed -m "$M" -i nothing
{ frame prompt 7 0 1 0 1024; frame end; } >bad-id.dsf
fails_with 1 '^ds-embed: sequence 7 failed: token id 1024 at position 1 is not in the vocabulary of 1024$' "an id outside the vocabulary" ds-embed -m "$M" -i bad-id.dsf -o /dev/null
{ frame prompt 7 0 1 0 -- -1 2>/dev/null || frame prompt 7 0 1 0 -1; frame end; } >neg.dsf
fails_with 1 'token id -1' "a negative id" ds-embed -m "$M" -i neg.dsf -o /dev/null
{ frame prompt 7 5 1 0; frame end; } >late.dsf
fails_with 1 '^ds-embed: sequence 7 failed: it begins at position 5' "a sequence that does not begin at 0" ds-embed -m "$M" -i late.dsf -o /dev/null
{ frame prompt 7 0 1 0; frame prompt 7 2 1 0; frame end; } >gap.dsf
fails_with 1 '^ds-embed: sequence 7 failed: position 2 arrived, expected 1$' "a prompt with a gap" ds-embed -m "$M" -i gap.dsf -o /dev/null
{ frame prompt 7 0 1 0; frame prompt 7 0 1 0; frame end; } >again.dsf
fails_with 1 '^ds-embed: sequence 7 failed: position 0 arrived, expected 1$' "only the loop may go back" ds-embed -m "$M" -i again.dsf -o /dev/null
{ frame prompt 7 0 1 4 | frame set model '"0123456789abcdef"'; frame end; } >other-model.dsf
fails_with 1 'of model 0123456789abcdef' "a frame of another model" ds-embed -m "$M" -i other-model.dsf -o /dev/null
fails_with 1 'which is not alive' "a loop that brings what nobody sent" ds-embed -m "$M" -i two.dsf -i big.dsf -o /dev/null
fails_with 2 '-B' "a batch of no rows" ds-embed -m "$M" -B 0
fails_with 2 'no model' "no model" ds-embed -i two.dsf -o /dev/null
fails_with 1 'config.json' "a folder that is no model" ds-embed -m "$S" -i two.dsf -o /dev/null
fails_with 3 'standard output' "a full disk" sh -c "ds-embed -m '$M' <two.dsf >/dev/full"
{ frame error 'disk on fire'; } >error.dsf
fails_with 3 'upstream: disk on fire' "an error frame from above" ds-embed -m "$M" -i error.dsf -o passed.dsf
like "$(frame show <passed.dsf 2>/dev/null)" 'disk on fire' "which is passed on"
done_testing
