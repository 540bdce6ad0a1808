#!/bin/sh
# only: asan
# ds-quant: what it writes, what it reports, and what it does not leave behind.
# first: yes
. "${0%/*}/lib.sh"
LIMIT=120
export DS_MODEL=$M
tab=$(printf '\t')

# each format, read by another reader: its errors are those that are reported
for f in q8 q4 fp8 bf16 f16; do
	ok "$f is made" sh -c "ds-quant -f $f --report $f >$f.report"
	py "$T/quant.py" losses "$M" $f >$f.losses
	awk 'NR > 1 && $6 != "" && $4 > 0 && NF == 6 { printf "%.6f %.3g %s\n", $4, $5, $6 }' $f.report | sort -k 3 >want
	sort -k 3 $f.losses | awk '$1 > 0' >have
	py - want have <<'EOP' >why 2>&1
import sys
a, b = ({l.split()[2]: [float(x) for x in l.split()[:2]] for l in open(f)} for f in sys.argv[1:])
assert a.keys() == b.keys(), sorted(a.keys() ^ b.keys())[:5]
for n in a:
    assert all(abs(x - y) <= 2e-6 + 0.006 * y for x, y in zip(a[n], b[n])), (n, a[n], b[n])
EOP
	report $? "$f: numpy finds the errors that --report prints, in every matrix" why
done
is "$(awk 'END { print $4 }' q4.report)" 233 "a report ends in the sum over all matrices"
like "$(awk 'END { print ($1 < 0.0672) }' q4.report)" 1 "q4: the relative error is below 6.72 %"
like "$(awk 'END { print ($1 < 0.0049) }' q8.report)" 1 "q8: the relative error is below 0.49 %"
is "$(ls q4)" "$(ls "$M" | grep -v '^train$')" "all that lies beside the weights is copied"
fails_with 2 "'q8' cannot learn: .* Q8 or Q4: 'ds-quant --head -f bf16' makes a copy that can" \
    "such weights cannot learn" sh -c 'exec ds-block --learn -m q8 >/dev/null </dev/null'
is "$(ds-quant -f q4 --report | tail -1)" "$(tail -1 q4.report)" "--report alone says the same and makes nothing"

# the promise, for every format, and for shapes that fit nothing
# (with sanitizers q4 and FP8 below: the kernels are the same)
for f in q8 q4 f16 bf16 fp8; do
	ok "$f: the same bits however the pipeline is cut" \
	    env PATH="$R/bin:$PATH" ds-verify -m $f "What is 17 * 23?"
done
for f in q8 q4; do
	ds-quant -f $f --head -m "$G/v3-fp8-odd" odd.$f 2>err || report 1 "odd shapes" err
	for v in $f.f32 odd.$f.f32; do
		ds-quant -f f32 --head -m "${v%.f32}" $v 2>err || report 1 "back to f32" err
	done
done
py - <<'EOP'
import random
import frame
for vocabulary, name in (1024, "batch"), (200, "odd.batch"):
    dice = random.Random(5)
    with open(name, "wb") as out:
        out.write(frame.prompt(*((s, 0, 3, [dice.randint(3, vocabulary - 1) for _ in range(n)]) for s, n in ((1, 40), (2, 3), (9, 1)))).bytes())
        out.write(frame.Frame({"op": "end"}).bytes())
EOP

# releases of Qwen3 in FP8 have scales of BF16
ds-quant -f fp8 -m "$G/qwen3" scales 2>err || report 1 "qwen3 in fp8" err
mkdir scales.F32 scales.BF16
py - <<'EOP'
import json, os, shutil
import numpy as np
from badmodels import read, write
for to in "F32", "BF16":
    shutil.copy("scales/config.json", f"scales.{to}")
    header, data = read("scales/model.safetensors")
    header.pop("__metadata__", None)
    tensors = {k: [t, data[slice(*t["data_offsets"])]] for k, t in header.items()}
    for name, pair in tensors.items():
        if name.endswith("_scale_inv"):
            high = np.frombuffer(pair[1], "<u4") >> 16
            pair[0]["dtype"] = to
            pair[1] = (high.astype("<u2") if to == "BF16" else high << 16).tobytes()
    at = 0
    for t, b in tensors.values():
        t["data_offsets"] = [at, at := at + len(b)]
    header = {k: t for k, (t, _) in tensors.items()}
    write(f"scales.{to}/model.safetensors", header, b"".join(b for _, b in tensors.values()))
EOP
for to in F32 BF16; do
	ds-tokenize -m "$M" -b "Hi there" | frame set model null | ds-embed -m scales.$to |
	    ds-block -m scales.$to | ds-head -m scales.$to | ds-hash | grep -v model >hash.$to
done
like "$(cat hash.BF16)" logits "scales of blocks in BF16 are read"
same hash.BF16 hash.F32 "their values are those of BF16"
ok "they can be converted" ds-quant -f f32 -m scales.BF16 scales.plain

# a matrix is what its numbers are: written out as F32, the model computes the same bits
hashes() {
	ds-embed -m "$1" <"$2" | ds-block -m "$1" -t 2 | ds-head -m "$1" | ds-hash
}
for f in q8 q4; do
	is "$(hashes $f batch)" "$(hashes $f.f32 batch)" "$f and the same numbers as f32 give the same bits"
	is "$(hashes odd.$f odd.batch)" "$(hashes odd.$f.f32 odd.batch)" "$f, odd shapes: the same"
	like "$(hashes odd.$f odd.batch)" logits "$f: logits were compared"
	ok "$f, odd shapes: the same bits however the pipeline is cut" sh -c "
	    for k in $(sets); do
		export DS_KERNELS=\$k; ds-embed -m odd.$f -B \${#k} <odd.batch | ds-block -m odd.$f | ds-head -m odd.$f | ds-hash >\$k
	    done; grep -q logits ref && for k in $(sets); do cmp ref \$k || exit; done"
done

# other families: tied embeddings with biases; layers with and without experts
for m in llama-linear qwen3-moe-mixed; do
	ds-quant -f q8 --head -m "$G/$m" $m && ds-quant -f f32 --head -m $m $m.f32
	is "$(hashes $m odd.batch)" "$(hashes $m.f32 odd.batch)" "$m, q8: as its numbers in f32"
	like "$(hashes $m odd.batch)" logits "$m: logits were compared"
	ok "$m: linear matrices and the output matrix alone are converted" \
	    py "$T/quant.py" same "$G/$m" $m '_proj.weight|lm_head'
done
is "$(ds-info -m llama-linear | grep ^quant)" \
    "quantization  q8, a scale for 16 weights, all linear layers" \
    "a tied model has no output matrix"

# part of it
made_of() {
	ds-quant $1 "$2" && py "$T/quant.py" same "$M" "$2" "$3"
}
ok "--experts: the others stay as they are" made_of "-f q4 --experts" experts 'experts.*_proj'
ok "without --head the output matrix stays as it is" py "$T/quant.py" same "$M" q4 _proj
ok "--head makes it anew, but neither norms, router nor embedding" \
    made_of "-f q8 --head" head '_proj|lm_head'
ok "experts in q4, the rest in FP8: the same bits however the pipeline is cut" ds-verify -m experts "7 + 8"
is "$(for m in "$M" experts; do ds-run -m "$m" --precision i8 -n 0 a 2>&1 >/dev/null; done)" \
    "ds-run: --precision i8 has no effect: '$M' has no weights of the types that it multiplies,\
 see dspipe(7): 'ds-quant -f q8' makes a copy that has" \
    "a warning that i8 has no effect, unless experts alone have such weights"
fails_with 2 'quantized already' "experts alone of a model that is quantized are refused" ds-quant -f q8 --experts -m q4 no
ok "several files become several files" ds-quant -f q4 -m "$G/v3-plain" two
is "$(cd two && ls *.safetensors* | tr '\n' ' ')" "$(cd "$G/v3-plain" && ls model*.safetensors* | tr '\n' ' ')" "of the same names"
is "$(ds-info -m two --json | jq -r '.types.Q4.parameters, .missing[]')" "$(ds-info -m "$G/v3-plain" --json | jq .types.BF16.parameters | awk '{ print $1 }' >was;
    ds-info -m two --json | jq .types.Q4.parameters)" "the index names them"

# the same bytes from any machine
for k in $(sets 2); do
	ok "$k makes the same bytes, with $((${#k} - 2)) threads" sh -c "DS_KERNELS=$k \
	    ds-quant -f q4 --head -m $G/v3-fp8-odd -t $((${#k} - 2)) by.$k && diff -r by.$k odd.q4"
done

# what it refuses, and what it leaves behind
is "$(ls -d no 2>&1 | grep -c '^no$')" 0 "what was refused left nothing"
fails_with 2 "'q4' exists: name a folder that does not" "an existing folder is refused" \
    ds-quant -f q8 q4
is "$(ds-info -m q4 --json | jq -r .quantization)" q4 "and stays as it was"
fails_with 2 'no format' "a format is needed" ds-quant out
fails_with 2 "'q5': give q8, q4" "one that is known" ds-quant -f q5 out
fails_with 2 'nothing to make' "a folder is needed" ds-quant -f q4
fails_with 3 "cannot create 'a/b'" "in a folder that is there" ds-quant -f q4 a/b
fails_with 3 "model.safetensors': cannot write" "a disk that is full is an error" sh -c 'ulimit -f 1000; exec ds-quant -f q4 out'
is "$(ls -d out 2>&1 | grep -c '^out$')" 0 "and nothing is left behind"
py - <<'EOP'
import os, shutil
from badmodels import read, write
shutil.copytree(os.environ["M"], "nan", ignore=shutil.ignore_patterns("train"))
h, d = read("nan/model.safetensors")
d = bytearray(d)
d[h["model.layers.2.self_attn.o_proj.weight"]["data_offsets"][0] + 256 * 3 + 5] = 0x7f
write("nan/model.safetensors", h, bytes(d))
EOP
fails_with 1 "tensor 'model.layers.2.self_attn.o_proj.weight': row 3 has a weight that is not a number" \
    "a weight that is no number is named" ds-quant -f q8 -m nan out
is "$(ls -d out 2>&1 | grep -c '^out$')" 0 "nothing is left behind"
cp -rL "$M" odd && mkfifo odd/merges.txt && ln -s nowhere odd/notes.txt
ds-quant -f q8 -m odd out 2>err
is "$? $(sort err | tr '\n' ' ')" "0 ds-quant: 'odd/merges.txt' is left out: not a regular file ds-quant: 'odd/notes.txt' is left out: No such file or directory " "what is no file is left out, and named"
rm -rf out
# killed as soon as its folder is there; if it was too fast, again
for i in 1 2 3 4 5 6 7 8 9 10; do
	DS_KERNELS=ref ds-quant -f q4 -t 1 out 2>err &
	while ! [ -d out ] && kill -0 $! 2>/dev/null; do :; done
	kill $! 2>/dev/null
	wait $! && { rm -rf out; continue; }
	break
done
like "$(cat err)" "stopped by a signal" "a signal stops it"
is "$(ls -d out 2>&1 | grep -c '^out$')" 0 "and nothing is left behind, again"
py <<'EOP'
import os, signal, subprocess, sys
r, w = os.pipe()
os.close(r)
p = subprocess.run("ds-quant -f q8 --report out".split(), stdout=w, stderr=open("err", "wb"))
sys.exit(p.returncode != -signal.SIGPIPE)
EOP
is "$? $(cat err) $(ls -d out 2>&1 | grep -c '^out$')" "0  0" \
    "a reader of the report that goes away ends it quietly, and nothing is left behind"

# The model's id is in every frame. It depends on config.json too, down to the order of keys.
while read -r f id; do
	ds-quant -f $f -m "$G/v3-plain" id.$f
	is "$(ds-info --json -m id.$f | sed -n 's/.*"id":.*"\(.*\)".*/\1/p')" "$id" \
	    "$f: the model has the id that version 0.1.0 gave it"
done <<END
q8 95acbdb5989a8047
q4 550499d8788ee35b
fp8 1828034f3234a2ad
bf16 09ba8d9795f9fa95
f16 f8a4626a05578ec5
END

# what is damaged is refused where it is opened
for f in q8 q4; do
	mkdir bad.$f
	py "$T/quant.py" damage odd.$f bad.$f >list
	while IFS=$tab read -r d regex says; do
		fails_with 1 "$regex" "$f: $says: refused" sh -c "ds-embed -m odd.$f <odd.batch >x && ds-block -m $d <x >/dev/null"
	done <list
done
done_testing
