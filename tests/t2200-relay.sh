#!/bin/sh
# ds-relay: the same bytes at the other end, whatever the ends are, and a word when one of them fails.
# also: asan leaks
. "${0%/*}/lib.sh"
LIMIT=40
export DS_MODEL=$M

py - <<'EOP'
import frame, numpy as np
out = open("some", "wb")
frame.write_frame(out, {"at": "attn", "layer": 2, "note": {"a": [1, None]}, "spans": [[7, 0, 3, 1]]},
    {"h": np.arange(3 * 5, dtype="<f4").reshape(3, 5), "x": np.zeros(0, "u1")})
for op in {"op": "free", "seq": 7}, {"op": "fork", "from": 1, "to": 2, "n": 3}, {"op": "unheard-of", "x": 1}, {"op": "end"}:
    frame.write_frame(out, op)
out = open("big", "wb")
for i in range(12):
    frame.write_frame(out, {"at": "attn", "layer": 1, "spans": [[i, 0, 300, 0]]}, {"h": np.random.default_rng(i).random((300, 1024), "<f4")})
frame.write_frame(out, {"op": "end"})
open("rest", "wb").write(b"behind the end")
EOP
ok "frames pass, unknown keys and control frames too" pipe 'ds-relay <some >got'
same got some "byte for byte"
{ cat some rest; } >two
is "$({ ds-relay >got; cat; } <two)" "behind the end" "what stands behind the end is left to others"
fails_with 2 "unexpected argument" "it takes no operands" ds-relay some
is "$(ds-relay -v -i some -o got 2>&1)" "ds-relay: 5 frames in, 5 out" "-v counts"
is "$(ds-relay -r 3 -i some -o got 3>ready; wc -l <ready)" "1" "-r tells that it is ready"

# --- between kinds of endpoints ---
t=ipc://$S/t
ds-relay -i "@$t" -o got & p=$!
ok "pipe to socket to file" pipe 'cat big | ds-relay -o "$0"' "$t"
wait $p
same got big "large frames are the same behind them"
a=tcp://127.0.0.1:$(ports 1) b=tcp://127.0.0.1:$(ports 1)
mkfifo in out
limited ds-relay -i in -o "@$a" & limited ds-relay -i "$a" -o "$b" & limited ds-relay -i "@$b" -o out &
cat big >in &
ok "FIFO to tcp to tcp to FIFO" pipe 'cat out >got'
wait
same got big "and the same"
pipe 'ds-relay -i big -o one -o - -o "@$0" | cat >other & ds-relay -i "$0" -o third; wait' "$t"
ok "three outputs get everything" sh -c 'cmp one big && cmp other big && cmp third big'

# --- several inputs ---
cat >merge.py <<'EOP'
import os, subprocess, sys, frame
frames = [f.raw for f in frame.read_frames(open("some", "rb"))]
end = frames.pop()
os.mkfifo("m1"); os.mkfifo("m2")
p = subprocess.Popen(["ds-relay", "-i", "m1", "-i", "m2"], stdout=subprocess.PIPE)
one, two = open("m1", "wb", buffering=0), open("m2", "wb", buffering=0)
back = frame.read_frames(p.stdout)
def turn(to, raw):
    to.write(raw)
    return next(back).raw == raw
print(*[turn(to, frames[i]) for to, i in ((one, 0), (two, 1), (two, 0), (one, 2), (two, 3))])
one.write(frames[0][:70])                # half a frame
print(turn(two, frames[1]))
one.write(frames[0][70:])
print(next(back).raw == frames[0])
two.write(end)
print(turn(one, frames[2]))
one.write(end)
print([f.raw == end for f in back], p.wait(20), flush=True)
EOP
is "$(py merge.py)" "True True True True True
True
True
True
[True] 0" "frames of two inputs go as they come, half a one waits, and there is one end"
ds-relay -i "@$t" -i big -o got & p=$!
ok "a file and a socket become one stream" ds-relay -i big -o "$t"
wait $p
is "$(py -c '
import frame
want = [f.raw for f in frame.read_frames(open("big", "rb"))]
got = [f.raw for f in frame.read_frames(open("got", "rb"))]
print(sorted(got) == sorted(want[:-1] * 2 + want[-1:]), got[-1] == want[-1])')" "True True" "which has all frames of both, and one end"

# --- failures ---
head -c 1000000 big >half
frame take 1 <some >unended
for i in half unended; do
	ds-relay -i $i -o got 2>/dev/null
	is "$?, $(frame show <got 2>/dev/null | tail -1 | grep -c 'ds-relay: ')" "3, 1" "what comes behind hears that its input broke ($i)"
done
fails_with 3 "^ds-relay: half: frame 1 ends after 1000000 of" "an input that breaks off within a frame" ds-relay -i half -o got
fails_with 3 "^ds-relay: unended: ended without an end frame" "and one without an end" ds-relay -i unended -o got
mkfifo gone
: >gone &
exec 5<gone
wait $!
fails_with 3 "^ds-relay: /dev/fd/5: ended without an end frame" \
    "and a FIFO of the parent whose writer has gone" ds-relay -i /dev/fd/5 -o got
exec 5<&-
fails_with 3 "^ds-relay: unended: ended without an end frame" "and one of two" ds-relay -i some -i unended -o got
fails_with 3 "^ds-relay: half: frame 1 ends after" "or one that breaks off" ds-relay -i half -i some -o got
py -c 'd = bytearray(open("some", "rb").read()); d[150] ^= 1; open("bad", "wb").write(d)'
fails_with 1 "^ds-relay: bad: frame 1" "a wrong byte is noticed" ds-relay -i bad -o got
frame error 'ds-x: on fire' >error
fails_with 3 "^ds-relay: upstream: ds-x: on fire" "an error from above ends it" ds-relay -i error -o one -o other
ok "and is passed on, to all" sh -c 'cmp one error && cmp other error'
fails_with 3 "^ds-relay: upstream: ds-x: on fire" "also where another input has not ended" ds-relay -i some -i error -o one
fails_with 3 "cannot open 'none'" "an input that is not there" ds-relay -i none
fails_with 3 "^ds-relay: standard output: cannot write.*No space" "a full disk" sh -c 'ds-relay <big >/dev/full'
fails_with 3 "^ds-relay: /dev/full: cannot write" "of one of two outputs" sh -c 'ds-relay -i big -o got -o /dev/full'
ok "a reader that goes away ends it quietly" pipe 'ds-relay <big 2>err | head -c 1 >/dev/null; test ${PIPESTATUS[0]} -eq 141 && test ! -s err'
cat >dead.py <<'EOP'
import signal, subprocess, sys, frame
kind, at = sys.argv[1:]
raw = next(frame.read_frames(open("big", "rb"))).raw
send = subprocess.Popen(["ds-relay", "--timeout", "1", "-o", "@" + at], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
take = subprocess.Popen(["ds-relay", "--timeout", "1", "-i", at], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
send.stdin.write(raw); send.stdin.flush()
take.stdout.read(len(raw))
hit, other = (send, take) if kind == "sender" else (take, send)
hit.kill()
try:
    while kind == "receiver":
        send.stdin.write(raw)
except BrokenPipeError:
    pass
text = other.stderr.read().decode()
print(other.wait(20), text.count("\n"), at in text, flush=True)
EOP
is "$(py dead.py sender "$t")" "3 1 True" "whoever takes from a relay that is killed says which endpoint, and exits 3"
is "$(py dead.py receiver "$t")" "3 1 True" "and whoever sends to it"
cat >stall.py <<'EOP'
import os, signal, subprocess, sys, time, frame
frames = [f.raw for f in frame.read_frames(open("big", "rb"))]
p = subprocess.Popen(["ds-relay"] + sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def memory(what):
    return max(int(l.split()[1]) for l in open(f"/proc/{p.pid}/status") if l.startswith(what))
total, stalled, first = 0, 0.0, 0
os.set_blocking(p.stdin.fileno(), False)
data = b"".join(frames[:-1]) * 2
while stalled < 1:              # until nothing has been taken for a second
    try:
        total += os.write(p.stdin.fileno(), data[total % len(data):][:1 << 16])
        stalled = 0.0
    except BlockingIOError:
        time.sleep(0.05)
        stalled += 0.05
asan = "asan" in os.environ["PATH"].split(":")[0]
print(total < 4 * len(frames[0]), memory("VmHWM") < (400000 if asan else 24000))
p.send_signal(signal.SIGINT)
print(p.wait(20), flush=True)
EOP
is "$(py stall.py)" "True True
-2" "a consumer that stalls stops the source, memory stays small, and Ctrl-C ends it"
done_testing
