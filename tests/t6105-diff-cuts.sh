#!/bin/sh
# ds-diff and ds-hash see through any cut into batches, and see every changed bit where it is.
. "${0%/*}/lib.sh"
m=$G/v3-fp8-odd

py - >prompt <<'EOP'
import frame, sys
ids = lambda a, b: list(range(a, b))
sys.stdout.buffer.write(frame.prompt((0, 0, 3, ids(3, 40)), (2**63 + 1, 0, 3, ids(9, 30)), (7, 0, 1, ids(50, 63))).bytes() +
                        frame.Frame({"op": "end"}).bytes())
EOP
mkdir run
line="tee run/000-embed.dsf <prompt | ds-embed -m $m | tee run/001-attn-l0.dsf"
for l in 0 1; do
	line="$line | ds-attn -m $m -l $l | tee run/00$((3 * l + 2))-route-l$l.dsf"
	line="$line | ds-route -m $m -l $l | tee run/00$((3 * l + 3))-expert-l$l.dsf"
	line="$line | ds-expert -m $m -l $l | tee run/00$((3 * l + 4))-l$l.dsf"
done
ok "a run of three sequences leaves its streams" pipe "$line | ds-head -m $m >run/008-sample.dsf"
ok "streams in other batches are the same, and one changed bit is found where it is" \
    py "$T/recut.py" hunt run 60 1

ok "the whole run in other batches" py "$T/recut.py" cut run cut 2
ok "is the same" ds-diff run cut
for f in run/*.dsf; do
	cp "$f" kept
	py "$T/recut.py" flip "$f" flipped "$(wc -c <"$f")" >where
	mv flipped "$f"
	ds-diff --json cut run >said
	is "$?" 1 "a bit changed in $f is a difference"
	is "$(py -c 'import json; w = json.load(open("where")); f = json.load(open("said"))["first"]; print(*[(k, f[k]) for k in w if f[k] != w[k]])')" \
	    "" "it is named in the whole run"
	mv kept "$f"
done

ds-hash run >trace
ok "the trace of one point in any batches is a part of the whole run's" \
    pipe 'ds-hash <cut/007-l1.dsf >part && test "$(sort part trace | uniq -d | wc -l)" -eq "$(wc -l <part)"'
ok "points that one run lacks are no difference where others hold the same rows" \
    pipe 'mkdir less && cp run/* less && rm less/000* less/002* && ds-diff run less && ds-diff less run'
for b in 2 512; do
	ok "a run with taps, at most $b rows at a time" pipe "ds-embed -m $m -B $b <prompt | ds-attn -m $m -l 0 --tap attn.q,attn.probs,attn.out |
	    ds-route -m $m -l 0 | ds-expert -m $m -l 0 --tap expert.out | ds-block -m $m -l 1 >taps.$b"
done
ok "taps are the same, those that are padded to the batch's longest context too" ds-diff taps.2 taps.512
ok "and have the same trace" pipe 'ds-hash taps.2 >trace.taps && ds-hash --check trace.taps taps.512 && grep -q " attn.probs@0 F32 -$" trace.taps'
done_testing
