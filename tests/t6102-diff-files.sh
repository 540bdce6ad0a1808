#!/bin/sh
# ds-diff with files of named tensors: what ds-dump writes, what others write, and what of them is not compared.
# only: asan
. "${0%/*}/lib.sh"
export DS_MODEL="$M"

# a run with everything: two sequences, chunks, loops, experts in parts, few logits
mkdir run
mkfifo loop
line='ds-tokenize -c "What is 37 * 46?" "Why?" | ds-embed -B 16 -i - -i loop | tee run/1.dsf'
line="$line | ds-attn -l 0 --tap attn.probs,attn.q | tee run/2.dsf | ds-route -l 0 | ds-expert -l 0 | tee run/3.dsf"
line="$line | ds-attn -l 1 | ds-route -l 1 | tee run/4.dsf | ds-expert -l 1 -e 0-7 | tee run/5.dsf | ds-expert -l 1 -e 8-15,s"
line="$line | ds-block | tee run/6.dsf | ds-head --tap head.norm | tee run/7.dsf | ds-sample -g -n 2 | tee loop >run/8.dsf"
ok "a run is kept" pipe "$line"
mkdir -p dump/run
for f in run/*.dsf; do
	ds-dump -f safetensors --dir "dump/$f" -i "$f"
done
find dump -name '*.safetensors' | sort >files
ok "all of its frames are dumped" test "$(wc -l <files)" -ge 20
while read -r f; do
	stream=${f#dump/}
	ds-diff -q "${stream%/*}" "$f" && ds-diff "$f" run >said || echo "$? $f"
	head -1 said >>verdicts
done <files >wrong
is "$(cat wrong)" "" "each file is the same as its stream, and as the whole run: whatever its stage, positions and sequences"
is "$(grep -cE '^no difference in [1-9][0-9]* rows?: [1-9] tensors? of A' verdicts)" "$(wc -l <files)" "all of it was compared"

cat >flip.py <<'EOP'
# flip.py FILE TO SEED: one bit of one tensor changed; prints its name
import json, random, sys
d, rng = bytearray(open(sys.argv[1], "rb").read()), random.Random(sys.argv[3])
n = int.from_bytes(d[:8], "little")
t = {k: v["data_offsets"] for k, v in json.loads(d[8:8 + n]).items() if k not in ("__metadata__", "row")}
name = rng.choice(sorted(k for k, (a, b) in t.items() if a < b))
a, b = t[name]
d[8 + n + rng.randrange(a, b)] ^= 1 << rng.randrange(8)
open(sys.argv[2], "wb").write(d)
print(name)
EOP
n=0
while read -r f; do
	n=$((n + 1))
	[ $((n % 2)) -eq 1 ] || continue
	name=$(py flip.py "$f" flipped.safetensors $n)
	ds-diff --json run flipped.safetensors >said
	is="$? $(jq -r .first.tensor said)"
	[ "$is" = "1 $name" ] || echo "$f: $is, not 1 $name"
done <files >wrong
is "$(cat wrong)" "" "a bit of any tensor that differs is found in it"

# arrays have no spans: those of frames that begin at position 0 of the only sequence
ds-tokenize -a "12+30=" | ds-embed | ds-attn -l 0 --tap attn.probs,attn.q >a.dsf
ds-route -l 0 <a.dsf | ds-expert -l 0 | ds-block | ds-head --tap head.norm >z.dsf
ds-dump -f npy --dir npys -i a.dsf && ds-dump -f npy --dir npys -i z.dsf
rm npys/*-sample-row.npy
for f in npys/*.npy; do
	stream=a.dsf
	case $f in *-sample-*) stream=z.dsf ;; esac
	ds-diff -q $stream "$f" || echo "$? $f"
done >wrong
is "$(ls npys | wc -l)$(cat wrong)" 9 "arrays of ds-dump are known by the names that it gives them"
ds-dump -f npy --tensor h -i a.dsf -o h.npy
ok "a name that no map has stands for the run's only tensor of that name" ds-diff a.dsf h.npy
mkdir both && cp a.dsf both/1.dsf && ds-tokenize "12+30=" | ds-embed >both/2.dsf
fails_with 2 "'h.npy': the run has a 'h' of attn layer 0 and one of embed: add a line to --map" "of several it is an error" ds-diff both h.npy
echo 'h attn 0 h' >map
ok "until a map says which" ds-diff --map map both h.npy
ds-dump -f npy -i a.dsf -o all.npy
fails_with 3 "all.npy': it holds more than one array" "arrays one after another are refused" ds-diff a.dsf all.npy
ds-dump -f safetensors -i a.dsf -o a.safetensors
ok "--seq renames a dumped sequence" pipe 'ds-diff --seq 0 a.dsf a.safetensors; ds-diff -q --seq 7 a.dsf a.safetensors 2>err; test $? -eq 3 && grep -q "nothing to compare" err'

# a batch of one around each tensor, in a file that still says where its frame waited
cat >fold.py <<'EOP'
import json, struct, sys
b = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", b[:8])[0]
h = json.loads(b[8:8 + n])
for name, t in h.items():
    if name != "__metadata__":
        t["shape"] = [int(x) for x in sys.argv[3:]] + t["shape"]
j = json.dumps(h).encode()
j += b" " * (-len(j) % 8)
open(sys.argv[2], "wb").write(struct.pack("<Q", len(j)) + j + b[8 + n:])
EOP
py fold.py a.safetensors folded.safetensors 1
is "$(ds-diff a.dsf folded.safetensors | head -n 1)" "$(ds-diff a.dsf a.safetensors | head -n 1)" "leading axes of 1 are left out in a file of ds-dump as well"
py fold.py a.safetensors folded.safetensors 1 1
ok "two of them, too" ds-diff -q a.dsf folded.safetensors
py - <<'EOP'
import json, struct
b = open("a.safetensors", "rb").read()
n = struct.unpack("<Q", b[:8])[0]
h = json.loads(b[8:8 + n])
h = {"__metadata__": h["__metadata__"], "h": {**h["h"], "shape": h["h"]["shape"][::-1]}}
x = h["h"]["data_offsets"]
d = b[8 + n + x[0]:8 + n + x[1]]
h["h"]["data_offsets"] = [0, len(d)]
j = json.dumps(h).encode()
open("turned.safetensors", "wb").write(struct.pack("<Q", len(j)) + j + d)
EOP
fails_with 3 "nothing to compare: tensor 'h' of 'turned.safetensors': no row for each position" "where nothing is compared, the reason of the first tensor is said" ds-diff a.dsf turned.safetensors

# files of others
cat >save.py <<'EOP'
# save.py FILE PYTHON: a safetensors file of the arrays that PYTHON puts into `out`; t are those of a.safetensors
import json, sys, numpy as np
def load(path):
    d = open(path, "rb").read()
    n = int.from_bytes(d[:8], "little")
    h = json.loads(d[8:8 + n])
    kinds = {"F32": "<f4", "I32": "<i4"}
    return {k: np.frombuffer(d[8 + n:][v["data_offsets"][0]:v["data_offsets"][1]], kinds[v["dtype"]]).reshape(v["shape"])
            for k, v in h.items() if k != "__metadata__"}, h.get("__metadata__")
t, meta = load("a.safetensors")
out, odd = {}, {}
metadata = None
exec(sys.argv[2])
header, data = {"__metadata__": metadata} if metadata else {}, b""
for name, a in out.items():
    a = np.ascontiguousarray(a) if np.ndim(a) else np.asarray(a)
    kind = odd.get(name) or {"f4": "F32", "f8": "F64", "f2": "F16", "i4": "I32", "i8": "I64"}[a.dtype.str[1:]]
    header[name] = {"dtype": kind, "shape": list(a.shape), "data_offsets": [len(data), len(data) + a.nbytes]}
    data += a.tobytes()
h = json.dumps(header).encode()
open(sys.argv[1], "wb").write(len(h).to_bytes(8, "little") + h + data)
EOP
save() {
	py save.py f.safetensors "$1"
}
# verdict PYTHON WANT DESC [OPTION...]: exit status and first line of a.dsf and the file
verdict() {
	save "$1" 2>err || cat err >&2
	verdict_want=$2 verdict_desc=$3; shift 3
	ds-diff "$@" a.dsf f.safetensors >said 2>&1
	is "$? $(head -1 said)$(sed '/^stage/d; / [0-9]* *[0-9]*$/d' said | awk 'NF == 13')" "$verdict_want" "$verdict_desc"
}
n=7
verdict 'out["input_ids"] = t["ids"][None].astype("i8")' "0 no difference in 7 rows: 1 tensor of B; A has 3 tensors more" \
    "ids with an axis for the batch; what the run has besides is counted"
verdict 'out["ids"] = t["ids"][None, None]' "0 no difference in 7 rows: 1 tensor of B; A has 3 tensors more" "with two"
verdict 'out["layers.0.attn"] = t["h"][None, None, None]' "0 no difference in 7 rows: 1 tensor of B; A has 3 tensors more" "activations with three"
verdict 'out["attn.q@0"] = t["attn.q@0"][None]' "0 no difference in 7 rows: 1 tensor of B; A has 3 tensors more" "taps, whose names say it all"
verdict 'out["attn.probs@0"] = np.pad(t["attn.probs@0"], ((0, 0), (0, 0), (0, 9)))[None]' \
    "0 no difference in 7 rows: 1 tensor of B; A has 3 tensors more" "attn.probs with other padding"
verdict 'p = t["attn.probs@0"].copy(); p[2, 0, 3] = 1e-9; out["attn.probs@0"] = p' \
    "1 first difference: attn layer 0: attn.probs@0[24] of sequence 0 position 2: F32 [8, 3] in A, F32 [8, 4] in B; A has 3 tensors more" "and what is no zero after a row's end"
verdict 'out["layers.0.attn"] = t["h"][:, :128]' \
    "1 first difference: attn layer 0: h[128] of sequence 0 position 0: F32 [7, 256] in A, F32 [7, 128] in B; A has 3 tensors more" \
    "where shapes disagree both are told"
verdict 'out["layers.0.attn"] = t["h"][None, :, :-1].astype("f8")' \
    "1 first difference: attn layer 0: h[255] of sequence 0 position 0: F32 [7, 256] in A, F64 [1, 7, 255] in B; A has 3 tensors more" \
    "as they are in the file"
is "$(ds-diff --json a.dsf f.safetensors | jq -c '[.first.shape_a, .first.shape_b]')" "[[7,256],[1,7,255]]" "also with --json"
verdict 'out["attn.q@0"] = t["attn.q@0"].reshape(7, -1)' "0 no difference in 7 rows: 1 tensor of B; A has 3 tensors more" "the same rows in another shape are the same"
like "$(cat said)" '^equal in another shape: attn layer 0: attn.q@0: F32 \[7, 8, [0-9]*\] in A, F32 \[7, [0-9]*\] in B$' "which is told"
verdict 'out["layers.0.attn"] = t["h"].astype("f8")' "0 no difference in 7 rows: 1 tensor of B; A has 3 tensors more" "F64 with the same values"
verdict 'h = t["h"].astype("f8"); h[5, 9] *= 1 + 1e-12; out["layers.0.attn"] = h' \
    "1 first difference: attn layer 0: h[9] of sequence 0 position 5: $(save 'h = t["h"]; print("%.9g in A, %.9g in B" % (h[5, 9], h[5, 9] * (1 + 1e-12)))'); A has 3 tensors more" \
    "F64 is not rounded before it is compared"
verdict 'h = t["h"].astype("f8"); h[5, 9] *= 1 + 1e-12; out["layers.0.attn"] = h' "0 no difference in 7 rows: 1 tensor of B; A has 3 tensors more" "a tolerance takes that" --tol 1e-9

# what of the file is not compared: never 0
verdict 'out["ids"] = t["ids"]; out["other"] = t["h"]' "4 equal in what was compared, 1 of 2 tensors: 7 rows; A has 3 tensors more" "a name that nothing knows"
like "$(cat said)" '^not compared: B: other: it is in no name map, and the run has no tensor of that name$' "is told with the reason"
verdict 'out["ids"] = t["ids"]; out["layers.2.attn"] = t["h"]' "4 equal in what was compared, 1 of 2 tensors: 7 rows; A has 3 tensors more" "one that the run lacks"
like "$(cat said)" '^not compared: B: layers.2.attn: the run has none of attn layer 2$' "so it is"
verdict 'out["ids"] = t["ids"]; out["layers.0.attn"] = t["h"][:0]' "4 equal in what was compared, 1 of 2 tensors: 7 rows; A has 3 tensors more" "no rows"
verdict 'out["ids"] = t["ids"]; out["layers.0.attn"] = np.float32(3)' "4 equal in what was compared, 1 of 2 tensors: 7 rows; A has 3 tensors more" "a number by itself"
verdict 'out["ids"] = t["ids"]; out["input_ids"] = t["ids"]' "4 equal in what was compared, 1 of 2 tensors: 7 rows; A has 3 tensors more" "a second tensor for the same"
verdict 'out["ids"] = t["ids"]; out["mask"] = t["ids"]; odd["mask"] = "U32"' "4 equal in what was compared, 1 of 2 tensors: 7 rows; A has 3 tensors more" "a type that no frame has"
verdict 'out["ids"] = np.concatenate([t["ids"], [5, 6]])' "4 equal in what was compared, 0 of 1 tensor: 7 rows; A has 3 tensors more" "rows that the run lacks"
like "$(cat said)" '^not compared: B: ids: 2 of its 9 rows$' "are counted"
is "$(ds-diff -q a.dsf f.safetensors; echo $?; ds-diff -q --partial a.dsf f.safetensors; echo $?)" "$(printf '4\n0')" "-q leaves it at 4, --partial makes it 0"
verdict 'out["ids"] = t["ids"][:4]' "0 no difference in 4 rows: 1 tensor of B; A has 3 tensors more; A has more rows of 1 tensor" "a file may ask for less than the run has"
save 'out["ids"] = t["ids"]; out["other"] = t["h"]; out["layers.0.attn"] = t["h"] + 1'
ds-diff --partial a.dsf f.safetensors >said
is "$?" 1 "a difference stays one"
like "$(head -1 said)" '^first difference: .*; not compared: 1 of 3 tensors; A has 2 tensors more$' "and counts what was not compared, too"

# name maps
mapped() {
	printf "$1" >map
	save "$2"
	fails_with 2 "$3" "$4" ds-diff -q --partial --map map a.dsf f.safetensors
}
mapped 'mine attn 0 h\nyours attn 0 attn.q@0\n' 'out["mine"] = t["h"]' "'map' line 2: 'f.safetensors' has no tensor 'yours'" "a map's name that the file lacks is an error"
mapped 'mine.{l} attn {l} h\n' 'out["mine.x"] = t["h"]; out["ids"] = t["ids"]' "'map' line 1: 'f.safetensors' has no tensor 'mine.\{l\}'" "also one for all layers"
mapped '# ours\n\nmine attn 0 hh\n' 'out["mine"] = t["h"]; out["ids"] = t["ids"]' "'map' line 3: 'a.dsf' has no 'hh' of attn layer 0, to which 'mine' is mapped" "one that the run lacks"
mapped 'mine attn 99 h\n' 'out["mine"] = t["h"]; out["ids"] = t["ids"]' "has no 'h' of attn layer 99" "a layer that the run lacks"
mapped 'mine attn 4294967296 h\n' 'out["mine"] = t["h"]' "'map' line 1: layer '4294967296'" "one that no model has"
mapped 'mine.{l} attn {l} h\n' 'out["mine.7"] = t["h"]; out["ids"] = t["ids"]' "has no 'h' of attn layer 7" "or the file says so"
mapped 'mine attention 0 h\n' 'out["mine"] = t["h"]; out["ids"] = t["ids"]' "has no 'h' of attention layer 0" "or a stage that is none"
mapped 'a attn 0 h\nb attn 0 h\n' 'out["a"] = t["h"]; out["b"] = t["h"]' "'map' line 2: tensor 'b': another tensor is mapped to the same" "two names for one tensor"
mapped 'a attn 0 h\n' 'out["a"] = np.float32(1); out["ids"] = t["ids"]' "'map' line 1: tensor 'a': it has no rows" "or no rows"
printf 'mine.{l} attn {l} h\n' >map
verdict 'out["mine.0"] = t["h"]; out["mine.1"] = t["h"]' "4 equal in what was compared, 1 of 2 tensors: 7 rows; A has 3 tensors more" \
    "a line that fits some layers of the run is none" --map map
save 'out["attn.q@0"] = t["attn.q@0"]'
echo 'attn.q@{l} attn {l} attn.qq@{l}' >map
fails_with 2 "attn.qq@0" "a map wins over the names of taps" ds-diff --map map a.dsf f.safetensors
fails_with 2 "attn.qq@0" "and over those of ds-dump" ds-diff --map map a.dsf a.safetensors

# metadata that only resemble those of ds-dump
verdict 'out["ids"] = t["ids"]; metadata = {"at": "attn", "spans": "[[0, 0, 7, 1]]"}' "0 no difference in 7 rows: 1 tensor of B; A has 3 tensors more" "metadata of others are left alone"
for spans in '' '[' '[[0, 0, 7]]' '[[0, 0, 7, 1],' '[[0, 0, 7, 1]] ' '[[-1, 0, 7, 1]]' '[[0, 0, 4294967295, 1]]' '[[18446744073709551616, 0, 7, 1]]'; do
	save "out['ids'] = t['ids']; metadata = {**meta, 'spans': '$spans'}"
	fails_with 3 "f.safetensors': __metadata__: its spans are not valid" "spans '$spans' are refused" ds-diff a.dsf f.safetensors
done
verdict 'out["ids"] = t["ids"]; out["h"] = t["h"][:6]; metadata = meta' "4 equal in what was compared, 1 of 2 tensors: 7 rows; A has 3 tensors more" "a tensor without a row for each position is not compared"
verdict 'out["ids"] = np.concatenate([t["ids"][3:], t["ids"][:3]]); metadata = {**meta, "spans": "[[0, 3, 4, 0], [5, 0, 0, 0], [0, 0, 3, 1]]"}' \
    "0 no difference in 7 rows: 1 tensor of B; A has 3 tensors more" "spans say whose rows they are"
save 'out["ids"] = t["ids"]; metadata = {**meta, "spans": "[[0, 0, 4, 0], [1, 0, 3, 1]]"}'
fails_with 4 '' "rows of a sequence that the run lacks are not compared" ds-diff -q a.dsf f.safetensors
fails_with 2 "--seq 7: 'f.safetensors' records the sequences of its rows, and has several" "nor can several be renamed" ds-diff --seq 7 a.dsf f.safetensors

# streams: what is not compared, and what is equal without being a number
cat >make.py <<'EOP'
import frame, numpy as np, sys
h = np.arange(12, dtype="<f4").reshape(3, 4)
more = {}
exec(sys.argv[2])
with open(sys.argv[1], "wb") as out:
    frame.write_frame(out, {"at": "attn", "layer": 1, "spans": [[0, 0, 3, 0]]}, {"ids": np.arange(3, dtype="<i4"), "h": h, **more})
    frame.write_frame(out, {"op": "end"})
EOP
make() {
	py make.py "$@"
}
make plain ''
make odd 'more["bias"] = np.ones(5, "<f4")'
fails_with 4 '' "a tensor that has no row for each position is not compared" ds-diff -q odd odd
is "$(ds-diff odd odd | sed -n '1p;$p')" "$(printf '%s\n' 'equal in what was compared, 2 of 3 tensors: 6 rows' 'not compared: expert layer 0: bias: no row for each position')" "and named"
is "$(ds-diff --json odd odd | jq -c '[.same, .not_compared, .odd_tensors]')" '[null,["expert 0 bias"],2]' "also with --json"
make nan 'h[1] = np.nan'
is "$(ds-diff nan nan | head -1)" "no difference in 6 rows: 2 tensors; NaN on both sides in 1 row" "equal rows that are no numbers are counted"
is "$(ds-diff --json nan nan | jq .nan_rows)" 1 "also with --json"
is "$(ds-diff plain plain | head -1)" "no difference in 6 rows: 2 tensors" "where there are none nothing is said"
make flat 'h = h.reshape(3, 2, 2)'
is "$(ds-diff plain flat | sed -n '1p;$p')" "$(printf '%s\n' 'no difference in 6 rows: 2 tensors' 'equal in another shape: expert layer 0: h: F32 [3, 4] in A, F32 [3, 2, 2] in B')" "streams of other shapes are told"
make wide 'h = np.zeros((3, 5), "<f4")'
like "$(ds-diff plain wide)" '^first difference: expert layer 0: h\[4\] of sequence 0 position 0: F32 \[3, 4\] in A, F32 \[3, 5\] in B$' "and of other lengths"
ds-cut --tensor nothing <plain >none 2>err
fails_with 3 "nothing to compare" "what selects nothing is not equal" ds-diff none none
fails_with 4 '' "streams with but a tensor in common are equal in part" ds-diff -q --common plain - <odd
done_testing
