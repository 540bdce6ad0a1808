#!/bin/sh
# The scripts of examples/cookbook run and show what they promise.
. "${0%/*}/lib.sh"
LIMIT=40
cookbook=$R/examples/cookbook
mkdir bin tmp && ln -s "${PYCLIENT:-$(command -v "$PY")}" bin/python3
PATH=$S/bin:$PATH TMPDIR=$S/tmp

# recipe NAME [ARG...]: run it; its output is in out
recipe() {
	recipe=$1; shift
	ok "$recipe${1:+ $*} runs" sh -c 'timeout -k 2 "$LIMIT" "$@" >out 2>err && test ! -s err' - "$cookbook/$recipe" "$@"
	is "$(ls tmp)" "" "and leaves nothing behind"
}

for f in "$cookbook"/*.sh "$cookbook"/*.py; do
	[ -x "$f" ] && grep -q "\](${f##*/})" "$cookbook/README.md" || echo "${f##*/}"
done >missing
is "$(cat missing)" "" "each file of the cookbook can be run, and its README lists it"
is "$(sed -n 's/^| \[\([a-z]*\.sh\)\].*/\1/p' "$cookbook/README.md" | sort | tr '\n' ' ')" "$(cd "$cookbook" && ls ./*.sh | sed 's,./,,' | tr '\n' ' ')" \
    "and no other"
for f in "$cookbook"/*.sh; do
	grep -q "^recipe ${f##*/}" "$T/${0##*/}" || echo "${f##*/}"
done >missing
is "$(cat missing)" "" "each script is tried here"

for f in "$cookbook"/*.sh "$R/examples/trace.sh"; do
	name=${f##*/}
	like "$("$f" -h)" "^$name( .*)?: " "$name -h prints what it is for"
	fails_with 2 "^$name: unknown option '--nonsense': see $name -h" "$name refuses an unknown option" "$f" --nonsense
done
fails_with 2 "no config.json in '/nonexistent'" "a folder that is no model is refused" env DS_MODEL=/nonexistent "$cookbook/lens.sh"
fails_with 2 "has no FP8 weights" "precision.sh refuses a model without FP8 weights" env DS_MODEL="$G/v2" "$cookbook/precision.sh"
fails_with 2 "no eval.jsonl" "ablate.sh refuses a model without problems" env DS_MODEL="$G/v2" "$cookbook/ablate.sh"
for f in "$cookbook"/*.sh; do
	fails_with 2 "^${f##*/}: unexpected operand 'three': see" "${f##*/} refuses an operand too many" "$f" three three three
done
for f in "$cookbook"/*.py; do
	name=${f##*/}
	like "$(py "$f" -h)" "^$name " "$name -h prints what it is for"
	fails_with 2 "^$name: wrong operands: see $name -h" "$name alone is a wrong command line" py "$f"
done
for n in x 1,2; do
	fails_with 2 "^ablate.sh: '$n': LAYER and PROBLEMS are numbers" "ablate.sh refuses a layer '$n'" "$cookbook/ablate.sh" "$n"
done
fails_with 2 "PROBLEMS '0': there are 1 to [0-9]" "ablate.sh refuses no problems" "$cookbook/ablate.sh" 1 0
fails_with 2 "PROBLEMS '99999': there are 1 to [0-9]" "and more than there are" "$cookbook/ablate.sh" 1 99999
fails_with 1 "^corrupt.py: ROW 'x': give a number" "bug.sh refuses a row that is no number" "$cookbook/bug.sh" model.norm.weight x
mkdir bare && printf '#!/bin/sh\nexec "$REAL" -S "$@"\n' >bare/python3 && chmod 755 bare/python3
for name in precision.sh transformers.sh; do
	fails_with 2 "^$name: no numpy for Python" "$name says that numpy is missing" env REAL="$PY" PATH="$S/bare:$PATH" "$cookbook/$name"
done
fails_with 2 "layer 0 has no experts" "ablate.sh refuses a dense layer" "$cookbook/ablate.sh" 0
for name in experts.sh lens.sh time.sh; do
	DS_MODEL=$G/v2 "$cookbook/$name" >out 2>err    # it has no tokenizer
	is "$([ $? -eq 0 ] || echo failed) $(grep -o tokenizer.json err | head -n 1)" "failed tokenizer.json" "$name fails when a command in it fails"
done

recipe experts.sh
is "$(grep -c '^layer [123]: [0-9]*:' out)" 3 "experts of each layer are listed"
is "$(awk 'NF == 18 { n = 0; for (i = 3; i <= NF; i++) { split($i, a, ":"); n += a[2] }; print n }' out | tr '\n' ' ')" "60 60 60 " \
    "each of 15 positions went to four experts of each layer"
cp out from-folder
ds-quant -f gguf-bf16 -m "$M" model.gguf
export DS_MODEL="$PWD/model.gguf"
recipe experts.sh
is "$(grep -c . out)" "$(grep -c . from-folder)" "experts of a GGUF file are listed, too"
fails_with 2 "^bug.sh: '.*model.gguf' is no folder" "bug.sh refuses a GGUF file" "$cookbook/bug.sh"
unset DS_MODEL

recipe precision.sh
like "$(cat out)" '^bits: first difference: attn layer 0: h' "FP8 and BF16 differ from the first use of a rounded weight on"
like "$(cat out)" '^a thousandth: first difference: expert layer 0:' "and more than a thousandth a little later"
is "$(grep -c 'off by .* cosine is 0\.9999' out)" 8 "how the difference grows is told step by step"

recipe bug.sh
is "$(tail -1 out)" "found: ds-attn -l 2, at position 0" "a bug in attention is found"
recipe bug.sh model.layers.3.mlp.gate.weight 6
is "$(tail -1 out | cut -d, -f1)" "found: ds-route -l 3" "and one in a router"
recipe bug.sh model.layers.4.hnorm.weight
like "$(tail -1 out)" "^no difference" "a number that nobody uses is none"

recipe lens.sh
is "$(awk '/^after/ { print $2 }' out | tr '\n' ' ')" "0 1 2 3 4 " "the lens looks behind each layer"
like "$(grep '^after 4' out)" 'rank +1,  ?(9[5-9]|100)%' "at the end the right tokens are first"
is "$(awk '/^after/ { sub("%", "", $7); if ($7 + 0 < last) print; last = $7 + 0 }' out)" "" "and more of them with each layer"
is "$(tail -5 out | awk 'NF == 6 && $6 == 1 && $2 > 10' | wc -l)" 5 "also those that were far from it"

recipe ablate.sh 1 4
is "$(head -1 out)" "layer 1, all experts: 4 of 4 right" "the whole layer solves the problems"
is "$(grep -c '^without expert [0-9]*: [0-4] of 4 right' out)" 16 "each expert is left out once"
like "$(cat out)" 'without expert [0-9]*: [0-3] of 4' "and not all can be spared"

recipe time.sh
is "$(grep -Ec '^ds-(attn|route|expert) -l [0-3] +[0-9.]+ s, +[1-9][0-9]{5} bytes$' out)" 12 "pv measures each step"
is "$(awk '$1 == "stage" && $7 > 0' out | wc -l)" 14 "so do the clocks in the frames"
is "$(awk '$1 == "stage" || $1 == "link" { s += $NF } END { print (s > 0.99 && s < 1.01) }' out)" 1 "their shares make up the whole"

recipe transformers.sh
like "$(head -1 out)" '^equal in what was compared, 18 of 19 tensors: 1260 rows$' "we compute what transformers does"
is "$(grep '^not compared' out | cut -d' ' -f1-4)" "not compared: B: greedy:" "what was not compared is named"
like "$(tail -1 out)" '^first difference: attn layer 2: ' "and a number that is off in a dump is found"

ok "a checkpoint of two files is corrupted and dequantized as well" sh -c '
	"$PY" "$1/corrupt.py" "$G/v3-plain" copy lm_head.weight 3 >said && test "$(find copy -type f | wc -l)" -eq 1 && ds-verify -m copy -h >/dev/null' - "$cookbook"
py - "$M" "$cookbook" <<'E2' >said 2>&1
import json, subprocess, sys
import numpy as np
model, cookbook = sys.argv[1:]
subprocess.run([sys.executable, cookbook + "/dequantize.py", model, "plain", "F32"], check=True)
def tensors(path):
    raw = open(path, "rb").read()
    n = int.from_bytes(raw[:8], "little")
    return {k: (v["dtype"], v["shape"], raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]])
            for k, v in json.loads(raw[8:8 + n]).items() if k != "__metadata__"}
old, new = (tensors(d + "/model.safetensors") for d in (model, "plain"))
assert set(new) == {k for k in old if not k.endswith("_scale_inv")}
for k, (dtype, shape, data) in new.items():
    if k + "_scale_inv" not in old:
        assert (dtype, shape, data) == old[k], k
        continue
    byte = np.frombuffer(old[k][2], "u1")[:4]
    scale = np.frombuffer(old[k + "_scale_inv"][2], "<f4")[0]
    for b, got in zip(byte, np.frombuffer(data, "<f4")):
        e, m = int(b) >> 3 & 15, int(b) & 7
        value = np.float32((-1) ** (int(b) >> 7) * (2.0 ** (e - 7) * (1 + m / 8) if e else 2.0 ** -6 * m / 8))
        assert got == value * scale, (k, b, got)
assert "quantization_config" not in json.load(open("plain/config.json"))
E2
is "$?$(cat said)" 0 "dequantized weights are value times scale"
done_testing
