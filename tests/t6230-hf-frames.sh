#!/bin/sh
# examples/hf-frames.py: what another implementation computes, as frames.
. "${0%/*}/lib.sh"
HOOKS="${PYCLIENT:-$PY} $T/hooks.py"
export HOOKS

for c in v3 qwen3-moe v2-lite; do
	py "$T/golden.py" prompt "$G/$c" >prompt.dsf
	ok "$c: what hooks see becomes frames" sh -c '$HOOKS "$1" <prompt.dsf >theirs.dsf' - "$G/$c"
	ok "$c: they are as the page says" sh -c "$FRAME check <theirs.dsf"
	ds-diff theirs.dsf "$G/$c/expected.safetensors" >said
	like "$(head -1 said)" "^equal in what was compared, [0-9]* of [0-9]* tensors: [1-9]" "$c: every number is there, at its place"
	is "$(grep '^not compared' said | cut -d' ' -f3-9)" "B: greedy: it is in no name" "$c: but the tokens that came after it"
	is "$(awk 'NF == 13 && $1 != "stage" && $4 != $5' said)" "" "$c: each row has the same bits"
	is "$(awk 'NF == 13 && $1 != "stage"' said | wc -l)" "$(py -c 'import sys, golden; print(len(golden.expected(sys.argv[1])) - 1)' "$G/$c")" \
	    "$c: none is left out"
done

# ours, a process for each step
line='ds-embed <prompt.dsf | tee ours/000.dsf'
mkdir ours
export DS_MODEL="$G/v2-lite"
for n in $(py "$T/golden.py" layers "$DS_MODEL" | cut -d' ' -f1); do
	line="$line | ds-attn -l $n | tee ours/1${n}0.dsf | ds-route -l $n | tee ours/1${n}1.dsf | ds-expert -l $n | tee ours/1${n}2.dsf"
done
ok "our run of the same prompt" pipe "$line | ds-head --tap head.norm >ours/900.dsf"
ok "the two are the same within the case's tolerance" ds-diff --tol 1e-3 ours theirs.dsf
while read -r tensor stage layer; do
	$HOOKS "$DS_MODEL" 1000 "$tensor" <prompt.dsf >theirs.dsf
	ds-diff --tol 1e-3 --json ours theirs.dsf >said
	is "$? $(jq -r '.first | "\(.stage) \(.layer // "-")"' said)" "1 $stage $layer" "a number that is off in $tensor is found: $stage $layer"
done <<'E2'
embed embed -
layers.1.attn attn 1
layers.2.out expert 2
final_norm head -
logits head -
E2

# what hooks get from the gates of transformers 5, saved by the modules' names
py - "$DS_MODEL" <<'E2'
import json, sys, golden, numpy as np
t = golden.expected(sys.argv[1])
n = max(int(k.split(".")[1]) for k in t if k.endswith("router.idx"))
idx, w = t[f"layers.{n}.router.idx"][:, ::-1], t[f"layers.{n}.router.weight"][:, ::-1]
out = {f"model.layers.{n}.mlp.gate.{i}": np.ascontiguousarray(a) for i, a in enumerate((np.zeros_like(w), w, idx.astype("<i8")))}
header, data = {}, b""
for name, a in out.items():
    header[name] = {"dtype": "I64" if a.dtype.kind == "i" else "F32", "shape": list(a.shape), "data_offsets": [len(data), len(data) + a.nbytes]}
    data += a.tobytes()
h = json.dumps(header).encode()
open("gates.safetensors", "wb").write(len(h).to_bytes(8, "little") + h + data)
E2
ds-diff --tol 1e-3 ours gates.safetensors >said
is "$? $(awk 'NF == 13 && $1 == "route" { print $3, ($4 > 0 && $6 == 0) }' said | tr '\n' ' ')" "4 expert.idx 1 expert.w 1 " "gates that return logits first are understood"
like "$(cat said)" "^not compared: B: model.layers.[0-9].mlp.gate.0: its elements are not integers$" "and the logits left out"

# of a run that generates, the tokens that came back are there as well
export DS_MODEL="$M"
ds-run -g -n 9 --keep kept "What is 37 * 46?" "Why?" >out
py - "$R/examples/hf-frames.py" kept/001-embed.dsf kept/004-sample.dsf <<'E2' >said 2>&1
import importlib.util, sys
import frame
spec = importlib.util.spec_from_file_location("hf_frames", sys.argv[1])
hf = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hf)
asked = hf.sequences(open(sys.argv[2], "rb"))
for f in frame.read_frames(open(sys.argv[3], "rb")):
    if "op" not in f.header:
        for (seq, pos), i in zip(f.rows(), f.tensors["ids"]):
            ids, wanted = asked[seq]
            assert pos == len(ids) or ids[pos] == i, (seq, pos, i)
            assert wanted[pos - 1]
for seq, (ids, wanted) in asked.items():
    spans = hf.spans_of(seq, wanted)
    assert [bool(s[3]) for s in spans for _ in range(s[2])] == wanted and len(spans) == 2
    print(seq, len(ids), sum(wanted))
E2
is "$(sort said)" "$(for s in 0 1; do
	n=$(ds-cut --seq $s <kept/000-tokenize.dsf | ds-dump -f ids | wc -w)
	echo $s $((n + 8)) 9
done)" "the tokens of a run are read from it"
fails_with 1 "ended without an end frame" "a stream that was cut is refused" sh -c 'head -c 512 kept/001-embed.dsf >cut; $HOOKS "$G/v3" <cut'
fails_with 1 "has no frames" "and what is none" sh -c 'echo "{} {} {}" | $HOOKS "$G/v3"'
ok "without arguments it explains itself" sh -c '"$PY" "$R/examples/hf-frames.py" 2>&1 | grep -q ^hf-frames.py'
done_testing
