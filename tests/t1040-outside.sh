#!/bin/sh
# An outside program takes part: its prompts go in, frames come out as ds-frame(5) says, and what
# is not a stage's business comes out as it went in.
# only: asan
. "${0%/*}/lib.sh"
M=$G/v3
export M
DS_MODEL=$M
export DS_MODEL

# prompts without model and seqs, ids of 64 bits, keys that nobody knows
py - >prompts.frames <<'EOP'
import frame, msgpack, numpy as np, sys
for seq, n in (2**64 - 1, 3), (2**63, 1), (0, 2):
    f = frame.prompt((seq, 0, 3, range(5, 5 + n)))
    if n > 1:
        f.header["later"] = [n, None, -1, 2**63, 1.1, "ü", b"\1\xff", msgpack.ExtType(5, b"\2"), {7: {"x": [True]}}]
    sys.stdout.buffer.write(f.bytes())
frame.write_frame(sys.stdout.buffer, {"op": "end"})
EOP
ok "prompts of an outside program go through all stages" pipe 'ds-embed <prompts.frames | tee embed.out |
	ds-attn | tee attn.out | ds-route | tee route.out | ds-expert | tee expert.out | ds-block | tee block.out | ds-head >head.out'
for stage in embed attn route expert block head; do
	ok "what ds-$stage sends is as the page says" py "$T/frame.py" check <$stage.out
done
is "$(py - <<'EOP'
import frame
def keys(name):
    return [(f.header["spans"], f.header.get("later")) for f in frame.read_frames(open(name, "rb")) if "op" not in f.header]
want = keys("prompts.frames")
print([n for n in ("embed", "attn", "route", "expert", "block", "head") if keys(n + ".out") != want])
EOP
)" "[]" "unknown keys keep their values, and their frames are joined with no other"
is "$(py - <<'EOP'
import frame
out = list(frame.read_frames(open("head.out", "rb")))
print([(f.header["at"], sorted(f.tensors), f.tensors["row"].tolist(), f.tensors["logits"].shape) for f in out[:-1] if "op" not in f.header])
EOP
)" "[('sample', ['ids', 'logits', 'row'], [0, 1, 2], (3, 320)), ('sample', ['ids', 'logits', 'row'], [0], (1, 320)), ('sample', ['ids', 'logits', 'row'], [0, 1], (2, 320))]" \
    "logits come for the rows that wanted them"

# frames that are not a stage's business, encoded in ways that no program of ours would choose
py - <<'EOP'
import struct, frame, msgpack
def odd(fields, data=b""):
    """Wide integers, a map 32, gaps that are not zero, padding that is not blank and not last."""
    pad = 0
    while True:
        head = b"\xdf" + struct.pack(">I", len(fields) + 1) + msgpack.packb("") + msgpack.packb("~" * pad)
        for k, v in fields.items():
            head += b"\xd9" + bytes([len(k)]) + k.encode() + (b"\xd3" + struct.pack(">q", v) if isinstance(v, int) else msgpack.packb(v))
        if (18 + len(head) + 5) % 64 == 0:
            break
        pad += 1
    n = struct.pack(">I", len(data))
    return b"\xd8\x44dsf1" + struct.pack(">I", len(head)) + n + frame.crc32c(head + data).to_bytes(4, "big") + head + b"\xc6" + n + data
def rows(at, layer=None):
    fields = {"at": at, "spans": [[2**64 - 1, 9, 1, 8]], "model": "0" * 16, "tensors": [["h", "F32", [1, 1], 64]], "later": [1.1, {}]}
    return odd({**fields, "layer": layer} if layer is not None else fields, b"\xee" * 77)
ways = {"embed": rows("embed"), "attn0": rows("attn", 0), "attn2": rows("attn", 2), "attn99": rows("attn", 99),
        "route0": rows("route", 0), "expert0": rows("expert", 0), "head": rows("head", 4), "sample": rows("sample"), "later": rows("later")}
controls = [odd({"op": "later", "seq": 7}), odd({"op": "free", "seq": 7, "later": 0}), odd({"op": "fork", "from": 7, "to": 8, "n": 0})]
end = odd({"op": "end", "why": 0})
acts = {"attn": ["attn0"], "route": ["route0"], "expert": ["expert0"], "block": ["attn0", "route0", "expert0"], "head": ["head"]}
for stage, own in acts.items():
    frames = [b for name, b in ways.items() if name not in own]
    open(stage + ".in", "wb").write(b"".join(frames + controls[:2] + [end]))
EOP
for stage in attn route expert block; do
	ok "ds-$stage does not mind frames that it has no part in" sh -c "ds-$stage -l 0 <$stage.in >$stage.same"
	same $stage.in $stage.same "ds-$stage passes them on byte for byte"
done
ok "ds-head does not mind frames that it has no part in" sh -c "ds-head --ring <head.in >head.same"
same head.in head.same "ds-head passes them on byte for byte"
ok "all of them in a line" pipe 'ds-attn -l 1 <block.in | ds-route -l 3 | ds-expert -l 1 | ds-block -l 1 >line.same'
same block.in line.same "a line of stages passes them on byte for byte"

# rows of another model
for stage in embed attn route expert block head; do
	in=$(case $stage in embed) echo prompts.frames ;; attn | block) echo embed.out ;; route) echo attn.out ;; expert) echo route.out ;; head) echo block.out ;; esac)
	$FRAME set model '"0123456789abcdef"' <$in >other.frames
	fails_with 1 "^ds-$stage: .*model 0123456789abcdef" "ds-$stage refuses rows of another model" ds-$stage -i other.frames
done
done_testing
