#!/bin/sh
# ds-dump: the formats that other tools read.
# only: asan leaks
. "${0%/*}/lib.sh"

py - >all.frames <<'X'
import frame, numpy as np, sys
out = sys.stdout.buffer
nan, inf = float("nan"), float("inf")
frame.write_frame(out, {"at": "embed", "spans": [[2**64 - 1, 0, 2, 1], [3, 10, 1, 4]]}, {"ids": np.array([5, 6, 7], "<i4")})
frame.write_frame(out, {"at": "expert", "layer": 12, "spans": [[1, 4, 2, 0]], "model": "0123456789abcdef", "experts_done": "0,s"},
                  {"u8": np.array([255, 1, 2], "u1"), "h": np.array([[1.5, -2, nan], [inf, 0.1, 1e-42]], "<f4"), "expert.acc": np.array([[2**62 + 1], [-1]], "<i8"),
                   "f16": np.array([[[[1, -65504.0]]]], "<f2"), "bf16": np.array([0x3FC0, 0xFF80], "<u2"), "f8": np.array([0x7E, 0x81, 0x7F], "u1"),
                   "none": np.zeros((2, 0), "<f4"), "scalar": np.array(2.5, "<f4"), "q@12": np.arange(24, dtype="<f4").reshape(2, 3, 4)},
                  {"f8": "F8_E4M3", "bf16": "BF16"})
frame.write_frame(out, {"op": "free", "seq": 2**63})
frame.write_frame(out, {"at": "sample", "layer": 13, "spans": [[8, 0, 5, 1], [9, 3, 2, 1]]},
                  {"row": np.array([4, 6], "<i4"), "logits": np.array([[0.25], [1]], "<f4")})
frame.write_frame(out, {"at": "later/../x", "spans": [[8, 0, 1, 1]]}, {'a/b,"c': np.array([1], "<f4")})
frame.write_frame(out, {"op": "end"})
X

# --- csv
ok "-f csv" sh -c 'ds-dump -f csv <all.frames >got.csv'
is "$(head -1 got.csv)" "frame,at,layer,seq,pos,tensor,row,i,j,k,value" "csv begins with its headings"
is "$(py - <<'X'
import csv, frame, numpy as np
lines = list(csv.DictReader(open("got.csv", newline="")))
want = []
for number, f in enumerate(frame.read_frames(open("all.frames", "rb")), 1):
    h, rows = f.header, f.rows() if "op" not in f.header else []
    for name, a in f.tensors.items() if "op" not in h else ():
        if f.dtypes[name] == "BF16":
            a = (a.astype("u4") << 16).view("f4")
        if f.dtypes[name] == "F8_E4M3":
            a = np.array([448, -2**-9, np.nan])
        where = [rows[i] for i in f.tensors["row"]] if name in ("row", "logits") else rows
        for i, v in np.ndenumerate(a):
            seq, pos = where[i[0]] if i and a.shape[0] == len(where) else ("", "")
            i = [str(x) for x in i] + [""] * (4 - len(i))
            want.append([str(number), h["at"], str(h.get("layer", "")), str(seq), str(pos), name, *i, v])
kind = {"h": np.float32, "f16": np.float16, "logits": np.float32, "bf16": np.float32}
bad = [] if len(lines) == len(want) else [len(lines), len(want)]
for l, w in zip(lines, want):
    got = list(l.values())
    value = int(got[-1]) if isinstance(w[-1], np.integer) else np.float32(got[-1])
    if got[:-1] != w[:-1] or not (value == w[-1] or value != value and w[-1] != w[-1]):
        bad.append((got, w))
print(bad[:3])
X
)" "[]" "each element has a line: where it is, and the same value"
is "$(ds-dump -f csv --tensor h -i all.frames | awk -F, 'NR > 1 && $8 == 1 { print $4 "@" $5, $NF }')" "1@4 -2
1@5 0.100000001" "awk reads it: column 1 of h"
is "$(ds-dump -f csv --tensor logits -i all.frames | tail -n +2)" "4,sample,13,8,4,logits,0,0,,,0.25
4,sample,13,9,4,logits,1,0,,,1" "logits are told apart by the rows that have them"

# --- npy
ok "-f npy" sh -c 'ds-dump -f npy <all.frames >got.npy && ds-dump -f npy --tensor ids,row <all.frames >ids.npy'
is "$(py - <<'X'
import frame, numpy as np
bad = []
with open("got.npy", "rb") as file:
    for f in frame.read_frames(open("all.frames", "rb")):
        for name, a in f.tensors.items() if "op" not in f.header else ():
            got = np.load(file)
            if f.dtypes[name] == "BF16":
                a = (a.astype("u4") << 16).view("<f4")
            if f.dtypes[name] == "F8_E4M3":
                a = np.array([448, -2**-9, np.nan], "<f4")
            if got.dtype != a.dtype or got.shape != a.shape or got.tobytes() != a.tobytes() and not (np.isnan(a).any() and np.array_equal(a, got, equal_nan=True)):
                bad.append((name, got, a))
    bad += [file.read()] if file.read(1) else []
with open("ids.npy", "rb") as file:
    print(np.load(file).tolist(), np.load(file).tolist(), file.read(1), bad)
X
)" "[5, 6, 7] [4, 6] b'' []" "numpy.load reads one array behind the other, of all tensors or some"
ok "-f npy through a pipe, as frames arrive" pipe 'ds-dump -f npy --tensor h <all.frames | $PY -c "
import sys, io, numpy
a = numpy.load(io.BytesIO(sys.stdin.buffer.read()))
assert a.shape == (2, 3) and a[0, 1] == -2"'

# --- safetensors
fails_with 2 '^ds-dump: frame 2 is the second one with tensors' "-f safetensors refuses a second frame" ds-dump -f safetensors -i all.frames -o got
ok "safetensors of one frame" ds-dump -f safetensors --tensor 'h,q,u8,expert.*,f8,none,scalar' -i all.frames -o got.safetensors
is "$(py - <<'X'
import frame, json
f = list(frame.read_frames(open("all.frames", "rb")))[1]
raw = open("got.safetensors", "rb").read()
n = int.from_bytes(raw[:8], "little")
h = json.loads(raw[8:8 + n])
bad, end = [], 0
meta = h.pop("__metadata__")
for name, t in h.items():
    a, b = t["data_offsets"]
    width = {"F8_E4M3": 1, "U8": 1, "I64": 8}.get(t["dtype"], 4)
    if a != end or (8 + n + a) % width or t["dtype"] != f.dtypes[name] or t["shape"] != list(f.tensors[name].shape) or raw[8 + n + a:8 + n + b] != f.tensors[name].tobytes():
        bad.append(name)
    end = b
print(sorted(h), meta, bad, 8 + n + end == len(raw))
X
)" "['expert.acc', 'f8', 'h', 'none', 'q@12', 'scalar', 'u8'] {'frame': '2', 'at': 'expert', 'layer': '12', 'model': '0123456789abcdef', 'experts_done': '0,s', 'spans': '[[1, 4, 2, 0]]'} [] True" \
    "it holds the frame's tensors, aligned and without gaps, and what the header said"
{ py "$T/rows.py" d=3 5:0+2 end; } >plain
ds-cut --tensor h -i all.frames >/dev/null
py - >vector.frames <<'X'
import frame, numpy as np, sys
frame.write_frame(sys.stdout.buffer, {"at": "attn", "layer": 0, "spans": [[1, 0, 1, 0]]}, {"v": np.array([1, 2, 3], "<f4")})
frame.write_frame(sys.stdout.buffer, {"op": "end"})
X
ds-dump -f safetensors -i vector.frames -o v.safetensors
ok "what was written can be read back: a vector for ds-poke" sh -c 'ds-poke --tensor h --add v.safetensors:v <plain | ds-poke --tensor h --add v.safetensors:v --by -1 | ds-dump -f csv >/dev/null'

# --- a file per frame
for f in text json ids csv npy safetensors; do
	ok "-f $f --dir" ds-dump -f $f --dir "dir.$f" -i all.frames
done
is "$(ls dir.json | tr '\n' ' ')" "000001-embed.json 000002-expert-l12.json 000003-free.json 000004-sample-l13.json 000005-later%2F..%2Fx.json 000006-end.json " "ls shows the frames in order"
is "$(ls dir.csv | tr '\n' ' ')" "000001-embed.csv 000002-expert-l12.csv 000004-sample-l13.csv 000005-later%2F..%2Fx.csv " "a format for rows has no files of control frames"
is "$(ls dir.ids)" "000001-embed.ids" "nor empty ones"
is "$(cd dir.npy && ls *1-* *5-* *-h.npy | tr '\n' ' ')" "000001-embed-ids.npy 000002-expert-l12-h.npy 000005-later%2F..%2Fx-a%2Fb%2C%22c.npy " "an npy file holds one tensor, and a name from a frame stays in the folder"
is "$(py -c 'import numpy; print(numpy.load("dir.npy/000002-expert-l12-q@12.npy")[1, 2, 3])')" 23.0 "numpy.load opens it"
cat dir.text/* >got
ds-dump -i all.frames -o want
same got want "the files of -f text together are the whole"
cat dir.json/* >got
ds-dump -f json -i all.frames -o want
same got want "those of -f json, too"
is "$(ds-dump -f json --tensor logits -i all.frames | grep -o '"name": "[^"]*"')" '"name": "logits"' "--tensor leaves out others in JSON"
is "$(ds-dump --tensor q,row -i all.frames | grep '^  ' | cut -d' ' -f3)" "q@12
row" "and in text; a name stands for those of all layers"
if command -v jq >/dev/null; then
	is "$(ds-dump -f json -i all.frames | jq -r '.tensors[]? | select(.name == "h") | .data[0][1]')" -2 "jq reads JSON"
else
	skip "jq reads JSON" "there is no jq"
fi
fails_with 2 '^ds-dump: --tensor: -f ids' "-f ids takes no --tensor" ds-dump -f ids --tensor h -i all.frames
fails_with 2 '^ds-dump: --dir: -f trace' "-f trace takes no --dir" ds-dump -f trace --dir d -i all.frames
fails_with 2 '^ds-dump: --dir .* -o' "--dir and -o exclude each other" ds-dump --dir d -o x -i all.frames
fails_with 3 "^ds-dump: cannot create the folder 'no/where'" "a folder that cannot be made is an error" ds-dump --dir no/where -i all.frames
: >file
fails_with 3 "^ds-dump: cannot open 'file/000001-embed.txt'" "so is a file in its place" ds-dump --dir file -i all.frames
for f in csv npy safetensors trace; do
	fails_with 3 "cannot write" "-f $f: a full disk is an error" ds-dump -f $f -o /dev/full -i vector.frames
done
head -c 700 all.frames >cut.frames
for f in csv npy trace; do
	fails_with 3 "ends after" "-f $f: a stream that ends in a frame is an error" ds-dump -f $f -o got -i cut.frames
done
is "$(py -c 'import json; print(json.load(open("got"))["traceEvents"])')" "[]" "what -f trace has printed by then is valid"

# what was asked for and is not there
py "$T/rows.py" 7:0+2/1 end >rows
frame end >end
none() {        # WHAT OPTIONS FILE
	fails_with 1 "^ds-dump: nothing was printed: $1$" "nothing to print: ds-dump $2 of '$3'" ds-dump $2 -i "$3"
	fails_with 0 "" "... which --allow-none allows" ds-dump $2 --allow-none -i "$3"
}
none "--tensor 'hh' selects nothing" "--tensor hh" rows
for f in json csv npy safetensors; do
	none "--tensor 'attn.q,expert.\*' selects nothing" "-f $f --tensor attn.q,expert.*" rows
done
none "no frame with rows came" "--tensor h" end
none "no frame has tokens .'ids'." "-f ids" rows
none "no frame has tensors" "-f npy" end
none "no frame has tensors" "-f csv" end
none "no frame has a trace: ds-embed --trace asks for it" "-f trace" rows
fails_with 1 "^ds-dump: nothing was printed: --tensor 'hh' selects nothing$" "into files as well" ds-dump -f npy --dir dir --tensor hh -i rows
done_testing
