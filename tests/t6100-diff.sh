#!/bin/sh
# ds-diff: the report, what counts as a difference, files of other implementations, streams that break.
# only: asan
. "${0%/*}/lib.sh"
m=$G/v3

# make.py NAME [CHANGE]: a stream of two frames at `expert` layer 3, one of them changed
cat >make.py <<'E1'
import frame, numpy as np, sys
h = np.arange(40, dtype="<f4").reshape(5, 8) - 7
w = np.full((5, 2), 0.5, "<f4")
idx = np.array([[1, 4]] * 5, "<i4")
ids = np.arange(5, dtype="<i4")
spans, op = [[9, 0, 3, 0], [4, 6, 2, 3]], [{"op": "free", "seq": 9}, {"op": "end"}]
exec(sys.argv[2] if len(sys.argv) > 2 else "")
with open(sys.argv[1], "wb") as out:
    frame.write_frame(out, {"at": "expert", "layer": 3, "spans": spans}, {"ids": ids, "h": h, "expert.idx": idx, "expert.w": w})
    for o in op:
        frame.write_frame(out, o)
E1
make() {
	py make.py "$@"
}
first() {
	py -c 'import json, sys; f = json.load(sys.stdin)["first"]; print(*[f.get(k, "-") for k in sys.argv[1:]])' "$@"
}

make a
make b 'h[3, 2] += 1e-3; w[1, 1] = -w[1, 1]; idx[4] = [2, 4]'
ok "a stream is the same as itself" ds-diff a a
ds-diff a b >said
is "$?" 1 "streams that differ give 1"
is "$(head -1 said)" "first difference: attn layer 3: h[2] of sequence 4 position 6: 19 in A, 19.0009995 in B" \
    "the first difference is that of the least sequence, position and stage"
is "$(awk 'NF == 13 && $1 == "attn" { print $1, $2, $3, $4, $5, $6, $12, $13 }' said)" "attn 3 h 5 4 1 0 0" "the table counts rows"
is "$(awk 'NF == 13 && $3 == "expert.idx" { print $4, $5, $6, $11 }' said)" "5 4 1 1" "and the router's choices"
is "$(awk 'NF == 13 && $3 == "expert.w" { print $7, $8, ($9 > 2e9), $10 }' said)" "1 2 1 0" "errors, ULPs and the cosine are the worst"
is "$(awk 'NF == 13 && $3 == "h" { print $7, $9 }' said)" "0.0009995 524" "the error in units of the last place"
is "$(awk 'NF == 13 && $1 != "stage" { print $1, $2, $3 }' said)" "$(printf '%s\n' 'tokenize - ids' 'attn 3 h' 'route 3 expert.idx' 'route 3 expert.w')" \
    "its lines have 13 fields and are in pipeline order"
is "$(ds-diff --json a b | first stage layer seq pos tensor index)" "attn 3 4 6 h 2" "--json names the program that made the tensor"
ok "--json is one JSON object" pipe 'ds-diff --json a b | $PY -c "import json, sys; json.load(sys.stdin)"; test "${PIPESTATUS[*]}" = "1 0"'
is "$(ds-diff -q a b; echo $?)" 1 "-q prints nothing"

make c 'h[3, 2] += 1e-4; ids[0] = 0'
ok "errors within --tol of a row's largest are none" ds-diff --tol 1e-5 a c
fails_with 1 '' "beyond it they are" ds-diff --tol 1e-6 a c
make c 'h[0, 7] = -0.0; a = h[0, 7]'
make d 'h[0, 7] = 0.0'
fails_with 1 '' "zeros of two signs differ in their bits" ds-diff c d
ok "and are the same number" ds-diff --tol 0 c d
make c 'h[1, 1] = np.nan; h[2, 2] = np.inf'
is "$(ds-diff --json a c | first stage seq pos index b)" "attn 9 1 1 NaN" "not a number differs from a number, with any tolerance"
is "$(ds-diff --json --tol 100 a c | first stage seq pos index b)" "attn 9 1 1 NaN" "so it does with one"
ok "and is the same as itself" ds-diff c c
make c 'idx[0, 0] = 2'
fails_with 1 '' "experts are the same or not, whatever the tolerance" ds-diff --tol 100 a c
make c 'h = h[:, :7]'
is "$(ds-diff --json a c | first stage seq pos index a)" "attn 4 6 7 -" "rows of another length differ where the shorter ends"
make c 'h = h.astype("<f2")'
is "$(ds-diff a c | awk '$3 == "h" { print $5, $6 }')" "5 0" "another dtype with the same values is no difference"
make c 'ids = ids.astype("<i8"); ids[2] += 2**40'
is "$(ds-diff --json a c | first stage layer seq pos tensor index)" "tokenize None 9 2 ids 0" "integers are compared exactly"

make c 'spans[1][2] = 1; h, w, idx, ids = h[:4], w[:4], idx[:4], ids[:4]'
ds-diff a c >said
is "$?" 1 "rows that one side alone has are a difference"
like "$(cat said)" '^first difference: tokenize: ids of sequence 4 position 7: only A has the row' "and told as the first where there is no other"
is "$(grep -c '^only A: .* of sequence 4 positions 7 to 7$' said)" 4 "with their positions"
make d 'h[0, 0] = 0; spans[1][2] = 1; h, w, idx, ids = h[:4], w[:4], idx[:4], ids[:4]'
is "$(ds-diff --json a d | first stage seq pos index)" "attn 9 0 0" "others come before them"
make e 'h = np.zeros((5, 0), "<f4")'
fails_with 1 '' "a tensor that one side lacks is a difference" ds-diff a e
fails_with 4 '' "with --common it is not compared" ds-diff --common a e
is "$(ds-diff --common a e | head -1)" "equal in what was compared, 3 of 4 tensors: 15 rows" "which the first line counts"
is "$(ds-diff --common a e | grep -c '^not compared: A: attn layer 3: h: 5 rows$')" 1 "and the last name"
is "$(ds-diff --common --json a e | jq -c '[.same, .compared, .tensors, .not_compared]')" '[null,3,4,["attn 3 h"]]' "so does --json"
fails_with 4 '' "-q does not make it equal" ds-diff -q --common a e
ok "--partial does" ds-diff -q --common --partial a e
fails_with 1 '' "but a difference stays one" ds-diff -q --partial a b
fails_with 1 '' "and so does a tensor that one side lacks" ds-diff -q --partial a e
py -c 'import frame, sys; frame.write_frame(sys.stdout.buffer, {"op": "end"})' >end
fails_with 3 "nothing to compare: 'end' and 'end' have no row" "two streams without rows were not compared" ds-diff end end
fails_with 3 "nothing to compare" "not even in part" ds-diff -q --partial end end
fails_with 3 "have no row in common" "nor were two that have nothing in common" ds-diff --common --partial a end

head -c 300 a >cut
frame take -1 <a >unended
fails_with 3 "compared as far as it goes: unended: ended without an end frame" "a stream without an end is compared as far as it goes" ds-diff a unended
like "$(ds-diff a unended 2>/dev/null)" '^no difference in 20 rows, as far as both go: 4 tensors$' "and that is said"
fails_with 3 "nothing to compare: cut: frame 1 ends after 300 of" "of one that ends inside its first frame there is nothing" ds-diff cut a
fails_with 1 "compared as far as it goes: unended" "what differs up to there is a difference" ds-diff b unended
fails_with 3 "compared as far as it goes: .*upstream: ds-x: gone" "an error frame ends a stream, too" \
    pipe '(frame() { $FRAME "$@"; }; frame take -1 <a; frame error "ds-x: gone") | ds-diff - a'
py -c 'import sys; d = bytearray(open("a", "rb").read()); d[-200] ^= 1; open("bad", "wb").write(d)'
fails_with 3 "ds-diff: bad: frame" "a wrong byte is trouble, not a difference" ds-diff a bad
fails_with 3 "standard input: ended without" "empty input is a stream without an end" ds-diff a - </dev/null
: >blank
for pair in "blank blank" "blank a" "a blank" "end blank"; do
	ds-diff $pair >said 2>&1
	is "$? $(cat said)" "3 ds-diff: nothing to compare: blank: ended without an end frame: the upstream program failed" "$pair: not even 'no difference in 0 rows'"
done
fails_with 3 "cannot open 'none'" "a missing file is trouble" ds-diff a none
fails_with 2 "give two runs" "one run is too few" ds-diff a
fails_with 2 "only one side can be standard input" "only one side can be standard input" ds-diff - -
fails_with 2 "tol 'x'" "a tolerance is a number" ds-diff --tol x a a
fails_with 2 "neither side is" "a sequence needs a file that has none" ds-diff --seq 3 a a
mkdir empty
fails_with 3 "a folder without streams" "a folder needs streams" ds-diff a empty
ok "standard input as - and as a file" pipe 'ds-diff - a <a && ds-diff a /dev/stdin <a'
ok "a reader that goes away ends it quietly" pipe 'ds-diff a b 2>err | true; test ${PIPESTATUS[0]} -eq 141 -o ${PIPESTATUS[0]} -eq 1 && test ! -s err'
fails_with 3 "cannot write" "a full disk is noticed" sh -c 'ds-diff a a >/dev/full'

py "$T/golden.py" prompt "$m" >prompt
ok "one writer of both sides does not lock itself up" pipe 'mkfifo x y; ds-diff x y & ds-embed -m '"$m"' -B 3 -o x -o y <prompt; wait $!'
ok "nor does one whose side comes late" pipe 'ds-diff --common --partial x y & ds-embed -m '"$m"' -B 3 -o x -o - <prompt | ds-block -m '"$m"' >y; wait $!'
mkdir run
line="tee run/000-embed.dsf <prompt | ds-embed -m $m | tee run/001.dsf"
for l in 0 1 2 3; do
	line="$line | ds-attn -m $m -l $l | tee run/1$l-attn.dsf | ds-route -m $m -l $l | tee run/1$l-route.dsf"
	line="$line | ds-expert -m $m -l $l | tee run/1$l.dsf"
done
ok "a golden run is kept" pipe "$line | ds-head -m $m --tap head.norm >run/900.dsf"
want=$m/expected.safetensors
ok "it is what the reference computed, within the case's tolerance" ds-diff --partial --tol 1e-3 run "$want"
fails_with 4 '' "in part: tokens of another kind are in that file" ds-diff -q --tol 1e-3 run "$want"
is "$(ds-diff --tol 1e-3 run "$want" | head -1)" "equal in what was compared, 18 of 19 tensors: 1260 rows" "as the first line says"
is "$(ds-diff --tol 1e-3 run "$want" | awk 'NF == 13 && $4 == 70' | wc -l)" 18 "at each of its points"
fails_with 1 '' "and not to the bit" ds-diff "$want" run
like "$(ds-diff run "$want")" '^not compared: B: greedy: it is in no name map' "tensors that the name map lacks are told"
ok "some points can be compared alone" ds-diff --partial --tol 1e-3 run/12.dsf "$want"
fails_with 4 '' "which is a part of the file" ds-diff -q --tol 1e-3 run/12.dsf "$want"
fails_with 3 "nothing to compare" "a stream without any is trouble" ds-diff end "$want"

cat >convert.py <<'E2'
import json, sys, golden, numpy as np
t = golden.expected(sys.argv[1])
out = {"model.embed_tokens": t["embed"][None], "lm_head.output": t["logits"][None], "somewhere/2": t["layers.1.out"]}
order = np.random.default_rng(1).permuted(np.tile(np.arange(4), (70, 1)), axis=1)
out["model.layers.2.mlp.gate.0"] = np.take_along_axis(t["layers.2.router.idx"], order, 1).astype("<i8")
out["model.layers.2.mlp.gate.1"] = np.take_along_axis(t["layers.2.router.weight"], order, 1)
out["model.layers.2"] = t["layers.2.out"][None]
header, data = {}, b""
for name, a in out.items():
    header[name] = {"dtype": {"f": "F32", "i": "I64"}[a.dtype.kind], "shape": list(a.shape),
                    "data_offsets": [len(data), len(data) + a.nbytes]}
    data += a.tobytes()
h = json.dumps(header).encode()
open("hf.safetensors", "wb").write(len(h).to_bytes(8, "little") + h + data)
np.save("logits.npy", t["logits"][:50])
np.save("theirs.npy", t["layers.1.out"])
np.save("c8.npy", t["logits"].astype("c8"))
import os; os.mkdir("f8"); np.save("f8/logits.npy", t["logits"].astype("f8"))
np.save("ordered.npy", np.asfortranarray(t["logits"]))
E2
py convert.py "$m"
ds-diff --tol 1e-3 run hf.safetensors >said
is "$? $(awk 'NF == 13 && $4 == 70 { print $1 $2 }' said | tr '\n' ' ')" "4 embed- route2 route2 expert2 head- " \
    "hooks of transformers are known, and a router's experts may come in any order"
echo 'somewhere/{l} expert 1 h # layers count otherwise there' >map
is "$(ds-diff --tol 1e-3 --map map run hf.safetensors | awk 'NF == 13 && $1 == "expert" { print $2, $4 }' | tr '\n' ' ')" "1 70 2 70 " \
    "a name map says what is what"
for bad in 'x y' 'a attn {l} h' 'a attn x h' 'a b c d e'; do
	echo "$bad" >badmap
	fails_with 2 "badmap' line 1:" "the map's line '$bad' is refused" ds-diff --map badmap run hf.safetensors
done
is "$(ds-diff --tol 1e-3 run logits.npy | awk '$1 == "head" { print $3, $4, $12 }')" "logits 50 20" "an npy file is named by its name"
echo 'theirs expert 1 h' >map
ok "or by the map" ds-diff --tol 1e-3 --map map run theirs.npy
ok "a sequence can be chosen" ds-diff --tol 1e-3 --seq 18446744073709551611 run logits.npy
fails_with 3 "nothing to compare" "another is not there" ds-diff --seq 1 run logits.npy
ok "F64 is compared as what it is" ds-diff --tol 1e-3 run f8/logits.npy
fails_with 3 "its type is '<c8'" "other types that frames lack are refused" ds-diff run c8.npy
fails_with 3 "not in C order" "and Fortran's order" ds-diff run ordered.npy
cp logits.npy logits
is "$(ds-diff --tol 1e-3 run logits)" \
    "$(ds-diff --tol 1e-3 run logits.npy | sed 's/logits\.npy/logits/')" \
    "what a file has decides, not its name"
head -c 1000 logits.npy >short.npy
fails_with 3 "its shape needs 64000 bytes, the file has 872" "and a file that was cut" ds-diff run short.npy
head -c 1000 hf.safetensors >short.safetensors
fails_with 3 "short.safetensors" "in either format" ds-diff run short.safetensors
fails_with 2 "both files of named tensors" "one side has to be frames" ds-diff logits.npy hf.safetensors
done_testing
