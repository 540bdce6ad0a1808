#!/bin/sh
# ds-frame(5): the frame and the filter that it shows are what it says.
# check: yes
. "${0%/*}/lib.sh"
page=$R/man/ds-frame.5

# block FIRST: the literal block of the page that has a line matching FIRST
block() {
	awk -v first="$1" '/^\.Bd -literal/ { text = ""; found = 0; inside = 1; next }
	    /^\.Ed/ { if (inside && found) printf "%s", text; inside = 0; next }
	    inside { if ($0 ~ first) found = 1; gsub(/\\e/, "\\"); text = text $0 "\n" }' "$page"
}

block '^  0  d8 44' >listing
ok "the page shows a frame" test -s listing
cut -c6-40 listing | tr -d ' \n' >shown.hex
py - >made.hex <<'EOP'
import frame, numpy
f = frame.Frame({"at": "embed", "spans": [[7, 0, 3, 1]], "model": "0123456789abcdef", "seqs": {7: {"greedy": True}}},
                {"ids": numpy.array([0, 318, 85], "<i4")})
print(f.bytes().hex(), end="")
EOP
same shown.hex made.hex "its bytes are those that frame.py writes"
is "$(awk '{ if ($1 != n) print "line " NR; l = substr($0, 6, 35); n += split(l, a, " ") }' listing)" "" \
    "the offsets count the bytes"

block '^#!/usr/bin/env python3' >scale.py
ok "the page shows a filter" test -s scale.py
py - >in.frames <<'EOP'
import frame, numpy, sys
out = sys.stdout.buffer
h = numpy.arange(12, dtype="<f4").reshape(3, 4)
for layer in 3, 4:
    frame.write_frame(out, {"at": "attn", "layer": layer, "spans": [[2**64 - 1, 5, 3, 1]], "later": [None, {"x": b"\1"}]},
                      {"ids": numpy.array([1, 2, 3], "<i4"), "h": h})
frame.write_frame(out, {"op": "free", "seq": 2**63})
frame.write_frame(out, {"op": "end"})
EOP
ok "the filter runs" pipe '$PY scale.py 3 0.5 <in.frames >out.frames'
ok "what it writes are frames" sh -c '$FRAME check <out.frames'
is "$(py - <<'EOP'
import frame
a, b = (list(frame.read_frames(open(n, "rb"))) for n in ("in.frames", "out.frames"))
print(len(b), all(x.header == y.header for x, y in zip(a, b)),
      (b[0].tensors["h"] == a[0].tensors["h"] / 2).all(), (b[1].tensors["h"] == a[1].tensors["h"]).all(), b[1].tensors["ids"])
EOP
)" "4 True True True [1 2 3]" "it scales in front of its layer and leaves all else alone"
head -c 300 in.frames >cut.frames
fails_with 3 "end of file before" "it says where the end is missing" "$PY" scale.py 3 1 <cut.frames

# the line of the page, in which python3 is the one that has msgpack
block '^ds-tokenize' >line
mkdir python
ln -s "$(command -v "$PY")" python/python3
chmod +x scale.py
ok "the line in which it stands runs" env DS_MODEL="$M" PATH="$S/python:$PATH" bash -o pipefail line
like "$(cat .out)" '^  logits F32 \[1, ' "logits come out of it"

is "$(mandoc -T lint -W warning "$page" 2>&1)" "" "the page has no mistake that mandoc knows"
done_testing
