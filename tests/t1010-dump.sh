#!/bin/sh
# ds-dump: text, JSON and ids of the same frames.
# only: asan
. "${0%/*}/lib.sh"

py - >all.frames <<'EOP'
import frame, msgpack, numpy as np, sys
out = sys.stdout.buffer
nan, inf = float("nan"), float("inf")
frame.write_frame(out, {"at": "embed", "spans": [[2**64 - 1, 0, 3, 1], [3, 10, 2, 6], [4, 0, 0, 0]],
                        "seqs": {2**64 - 1: {"greedy": True, "top_p": 0.5}}},
                  {"ids": np.array([5, 6, 7, 2**31 - 1, -2**31], "<i4")})
frame.write_frame(out, {"at": "attn", "layer": 3, "spans": [[1, 4, 2, 0]], "model": "0123456789abcdef",
                        "b\n\"\\\x7f\u0085é": [None, True, -7, 2**63, 1.1, nan, b"\1\xff", msgpack.ExtType(5, b"\2"), {1: {"x": []}}]},
                  {"h": np.array([[1.5, -2, nan], [inf, 0.1, 1e-42]], "<f4"), "ids": np.array([1, 2], "<i4")})
frame.write_frame(out, {"at": "expert", "layer": 0, "spans": [[1, 6, 1, 0]], "experts_done": "0-7,s"},
                  {"expert.acc": np.array([[2**62 + 1, -1]], "<i8"), "f16": np.array([[[[1, -65504.0]]]], "<f2"),
                   "bf16": np.array([0x3FC0, 0xFF80], "<u2"), "f8": np.array([0x7E, 0x81, 0x7F], "u1"),
                   "u8": np.array([255], "u1"), "none": np.zeros((2, 0), "<f4"), "scalar": np.array(2.5, "<f4")},
                  {"f8": "F8_E4M3", "bf16": "BF16"})
for control in ({"op": "free", "seq": 2**63}, {"op": "fork", "from": 1, "to": 2, "n": 3}, {"op": "later", "x": [1]}, {"op": "end"}):
    frame.write_frame(out, control)
EOP

cat >expected.text <<'X'
frame 1: embed, 5 rows: 18446744073709551615@0+3 sample, 3@10+2 logits last, 4@0+0; seqs 18446744073709551615 {"greedy": true, "top_p": 0.5}
  ids I32 [5] min -2147483648 max 2147483647 mean 3.4 norm 3.037e+09 nan 0
frame 2: attn layer 3, 2 rows: 1@4+2; model 0123456789abcdef; "b\u000a\"\\\u007f\u0085é": [null, true, -7, 9223372036854775808, 1.1000000000000001, "NaN", "01ff", "02", {"1": {"x": []}}]
  h F32 [2, 3] min -2 max inf mean inf norm inf nan 1
  ids I32 [2] min 1 max 2 mean 1.5 norm 2.23607 nan 0
frame 3: expert layer 0, 1 row: 1@6+1; experts 0-7,s
  expert.acc I64 [1, 2] min -1 max 4611686018427387905 mean 2.30584e+18 norm 4.61169e+18 nan 0
  f16 F16 [1, 1, 1, 2] min -65504 max 1 mean -32751.5 norm 65504 nan 0
  bf16 BF16 [2] min -inf max 1.5 mean -inf norm inf nan 0
  f8 F8_E4M3 [3] min -0.00195312 max 448 mean 223.999 norm 448 nan 1
  u8 U8 [1] min 255 max 255 mean 255 norm 255 nan 0
  none F32 [2, 0] min - max - mean - norm - nan 0
  scalar F32 [] min 2.5 max 2.5 mean 2.5 norm 2.5 nan 0
frame 4: free 9223372036854775808
frame 5: fork the first 3 positions of 1 to 2
frame 6: control {"op": "later", "x": [1]}
frame 7: end
X
ok "text is the default" sh -c 'ds-dump <all.frames >got.text'
same got.text expected.text "text has a line for each frame and each tensor, and counts what is not a number"
ok "-f text is the same, from a file and to a file" ds-dump -f text -i all.frames -o to.text
same to.text expected.text "-o writes what standard output would have"

printf '5 6 7\n2147483647 -2147483648\n\n1 2\n' >expected.ids
ok "-f ids prints tokens" sh -c 'ds-dump -f ids <all.frames >got.ids'
same got.ids expected.ids "ids are decimal, a line for each span"

ok "-f json prints a line for each frame" sh -c 'ds-dump -f json <all.frames >got.json && test $(wc -l <got.json) = 7'
is "$(py - <<'EOP'
import frame, json, math, numpy as np
bad = []
numbers = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
def flat(x):
    return [v for y in x for v in flat(y)] if isinstance(x, list) else [numbers.get(x, x)]
for f, line in zip(frame.read_frames(open("all.frames", "rb")), open("got.json")):
    j = json.loads(line)
    if "op" not in j:
        for t in j["tensors"]:
            a = f.tensors[t["name"]]
            if t["dtype"] in ("F32", "F16"):
                same = np.array_equal(np.array(flat(t["data"]), a.dtype), a.ravel(), equal_nan=True)
            elif t["dtype"] in ("BF16", "F8_E4M3"):
                same = str(t["data"]) == {"bf16": "[1.5, '-Infinity']", "f8": "[448, -0.001953125, 'NaN']"}[t["name"]]
            else:
                same = flat(t["data"]) == a.ravel().tolist()
            if not same or t["shape"] != list(a.shape) or t["dtype"] != f.dtypes[t["name"]]:
                bad.append(t)
        if [t["name"] for t in j["tensors"]] != list(f.tensors):
            bad.append(list(f.tensors))
        if j["spans"] != f.header["spans"] or j.get("layer") != f.header.get("layer") or "" in j:
            bad.append(j)
    elif j != f.header:
        bad.append(j)
print(bad)
EOP
)" "[]" "JSON holds header and data exactly, big integers and what is not finite too"
is "$(sed -n 3p got.json | grep -o '"name": "\(none\|scalar\|f16\)[^}]*')" '"name": "f16", "dtype": "F16", "shape": [1, 1, 1, 2], "data": [[[[1, -65504]]]]
"name": "none", "dtype": "F32", "shape": [2, 0], "data": []
"name": "scalar", "dtype": "F32", "shape": [], "data": 2.5' "lists are nested as the shape says"

# bytes that are no UTF-8, where the text of a header should be
py - >latin.frames <<'EOP'
import frame, sys
b = frame.Frame({"op": "error", "text": "na\x01ve"}).bytes().replace(b"na\x01ve", b"na\xefve")
head, pay = b[18:-5], b""
sys.stdout.buffer.write(b[:14] + frame.crc32c(head).to_bytes(4, "big") + b[18:])
EOP
fails_with 3 '^ds-dump: upstream: na' "an error frame is told, and ends the program with 3" ds-dump -f json <latin.frames
like "$(cat .out)" '"text": "na�ve"}$' "it is printed, bad UTF-8 replaced"

head -c 1000 all.frames >cut.frames
fails_with 3 '^ds-dump: standard input: frame [0-9]+ ends after' "a stream that ends in a frame is an error" ds-dump <cut.frames
like "$(cat .out)" '^frame 2: attn' "what came before is printed"
fails_with 3 '^ds-dump: standard input: ended without an end frame' "a missing end is an error" ds-dump </dev/null
fails_with 3 "cannot open 'nowhere'" "an input that is missing is an error" ds-dump -i nowhere
fails_with 3 "cannot write" "a full disk is an error" ds-dump -o /dev/full -i all.frames
fails_with 3 "cannot write" "a full disk is an error on standard output" sh -c 'exec ds-dump <all.frames >/dev/full'
# a file of tensors
cp "$T/golden/qwen2/gradients.safetensors" .
ok "tensors of a safetensors file" ds-dump gradients.safetensors
cp .out text
cp gradients.safetensors gradients
cp all.frames frames.safetensors
is "$(ds-dump gradients | cmp - text 2>&1; ds-dump frames.safetensors | head -1)" \
    "$(ds-dump all.frames | head -1)" "what a file has decides, not its name"
rm gradients frames.safetensors
ok "as arrays" ds-dump -v -f npy --tensor 'model.layers.1.*' -o arrays gradients.safetensors
is "$(cat .err)" "ds-dump: 1 files, 12 tensors printed" "-v counts files and tensors"
py - text >said <<'EOP'
import quant, sys, numpy as np
all_ = quant.tensors(".")
values = {n: np.frombuffer(b, "f4").reshape(shape) for n, (_, shape, b) in all_.items()}
lines = [f"  {n} F32 {list(x.shape)} min {x.min():.6g} max {x.max():.6g} mean "
         for n, x in values.items()]
text = open("text").read().splitlines()
print(len(text) == len(lines) > 9, all(t.startswith(l) for t, l in zip(text, lines)))
with open("arrays", "rb") as f:
    layer = [x for n, x in values.items() if n.startswith("model.layers.1.")]
    print(all((np.load(f) == x).all() for x in layer), f.read() == b"")
EOP
is "$(cat said | xargs)" "True True True True" "with the names and values of the file"
fails_with 2 "^ds-dump: 'gradients.safetensors' has no frames: give -f text or npy" \
    "they are no frames" ds-dump -f csv gradients.safetensors
fails_with 2 "^ds-dump: 'all.frames' is no safetensors file: give" "files and streams" \
    ds-dump gradients.safetensors all.frames
fails_with 1 "^ds-dump: nothing was printed: --tensor 'h' selects nothing" "an unknown name" \
    ds-dump --tensor h gradients.safetensors
fails_with 2 "^ds-dump: -f 'xml'" "an unknown format is a usage error" ds-dump -f xml
ok "a reader that leaves early ends it quietly" sh -c '(ds-dump -f json <all.frames; echo $? >&2) 2>said | head -c 1 >/dev/null; grep -Eqx "0|141" said && test $(wc -l <said) = 1'
is "$(mandoc -T lint -W warning "$R/man/ds-dump.1" 2>&1)" "" "the page has no mistake that mandoc knows"
done_testing
