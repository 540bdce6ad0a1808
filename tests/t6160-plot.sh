#!/bin/sh
# only: asan leaks
# ds-plot: pictures that are whole, and hold the numbers of the frames.
. "${0%/*}/lib.sh"

# drawn NAME DESC: it is a picture; its numbers go to NAME.txt
drawn() {
	ok "$2" py "$T/svg.py" check "$1.svg"
	py "$T/svg.py" titles "$1.svg" >"$1.txt"
}

cat >values.py <<'P'
"""values.py norms | load | surprise | probs LAYER HEAD: what the picture's numbers have to be, worked out by numpy."""
import sys
import numpy as np
from frame import read_frames
what, maker = sys.argv[1], lambda h: {"attn": ("embed", "") if h["layer"] == 0 else ("expert", h["layer"] - 1),
    "route": ("attn", h.get("layer")), "head": ("expert", h.get("layer", 0) - 1)}[h["at"]]
for f in read_frames(sys.stdin.buffer):
    if "op" in f.header:
        continue
    if what == "norms":
        stage, layer = maker(f.header)
        for (seq, pos), row in zip(f.rows(), f.tensors["h"].astype("f8")):
            print(f"after {stage}{f' of layer {layer}' if layer != '' else ''}: sequence {seq}, position {pos}: {np.sqrt((row * row).sum()):.6g}")
    if what == "load":
        idx = f.tensors["expert.idx"]
        for e in range(int(sys.argv[2])):
            n = int((idx == e).sum())
            print(f"layer {f.header['layer']}, expert {e}: {100 * n / len(idx):.4g} % ({n} of {len(idx)} rows)")
    if what == "surprise":
        x = f.tensors["logits"].astype("f8")
        x = np.log2(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)) - (x - x.max(1, keepdims=True)) / np.log(2)
        ids = f.tensors["ids"]
        for i in range(1, len(ids)):
            print(f"position {i}, token {ids[i]}: {max(0, np.float32(x[i - 1, ids[i]])):.4g} bits")
    if what == "probs":
        p, head = f.tensors[f"attn.probs@{sys.argv[2]}"], int(sys.argv[3])
        for i, (seq, pos) in enumerate(f.rows()):
            for j in range(pos + 1):
                print(f"head {head}, position {pos} looks at {j}: {p[i, head, j]:.4g}")
P

# a run with a stream from behind every stage
ds-tokenize -m "$M" -a "What is 3 + 4?" | ds-embed -m "$M" --trace >0.dsf
cp 0.dsf next.dsf
for l in 0 1 2 3; do
	ds-attn -m "$M" -l $l --tap attn.probs <next.dsf >attn$l.dsf
	ds-route -m "$M" -l $l <attn$l.dsf >route$l.dsf
	ds-expert -m "$M" -l $l <route$l.dsf >next.dsf
	cp next.dsf expert$l.dsf
done
ds-head -m "$M" <next.dsf >logits.dsf

cat 0.dsf attn?.dsf expert?.dsf | ds-plot --pos 0-7 >norm.svg
drawn norm "norms of few positions: a line each"
for s in 0.dsf attn?.dsf expert?.dsf; do py values.py norms <"$s"; done | grep -E 'position [0-7]:' | sort >expected.txt
sort norm.txt >got.txt
same got.txt expected.txt "their norms are numpy's, told with the stage that made them"
for s in 0.dsf attn?.dsf expert?.dsf; do set -- "$@" -i "$s"; done
ds-plot --pos 0-7 "$@" -o norm2.svg
same norm2.svg norm.svg "several inputs give the picture of one behind the other"
mkdir run
for s in 0 attn0 attn1 attn2 attn3 expert0 expert1 expert2 expert3 route0 route1 route2 route3; do ln -s "$S/$s.dsf" run; done
ds-plot --pos 0-7 -i run >norm3.svg
same norm3.svg norm.svg "so does their folder; a row that comes at two stages counts once"
ds-plot -i run >spread.svg
drawn spread "norms of many positions: their spread"
like "$(cat spread.txt)" "^after expert of layer 3: median [0-9.]*, 10 % to 90 % [0-9.]* to [0-9.]*, smallest [0-9.]*, largest [0-9.]*, rows 9$" "with quantiles"
is "$(ds-plot -l 2 -i run | grep -c '<title>after [a-z]* of layer 2:')" 2 "-l: points of one layer"

ds-plot -f load -m "$M" -i run >load.svg
drawn load "expert load"
for l in 1 2 3; do py values.py load 16 <route$l.dsf; done | sort >expected.txt
grep ', expert' load.txt | sort >got.txt
same got.txt expected.txt "each cell is what a count of expert.idx gives"
ds-expert -m "$M" -l 2 -e 0-7 <route2.dsf >half.dsf
is "$(cat route2.dsf half.dsf | ds-plot -f load -m "$M")" "$(ds-plot -f load -m "$M" <route2.dsf)" "frames of which some experts have run are not counted again"
fails_with 1 'nothing to draw.*between ds-route' "alone they cannot be drawn" ds-plot -f load -i half.dsf

ds-plot -f probs --head 3 -m "$M" -i run -l 2 >probs.svg
drawn probs "attention"
py values.py probs 2 3 <attn2.dsf | sort >expected.txt
sort probs.txt >got.txt
same got.txt expected.txt "each cell is the tap's number"
ds-embed -m "$M" -B 4 -i 0.dsf | ds-block -m "$M" -l 0-1 | ds-attn -m "$M" -l 2 --tap attn.probs | ds-plot -f probs --head 3 -m "$M" >batches.svg
same batches.svg probs.svg "and the same in batches"
is "$(ds-plot -f probs --head 0,2-4 -i attn1.dsf | grep -c '>head [0-9]*</text>')" 4 "several heads: a panel each"
ds-plot -f probs --pos 3 -m "$M" -i attn1.dsf >cell.svg
drawn cell "a single cell"
ds-plot --pos 3 -i attn1.dsf >point.svg
drawn point "a single point"
is "$(ds-plot -f probs --pos 2-4 -i attn1.dsf | grep -c '<title>')" 6 "--pos: a part of the triangle"
fails_with 2 'heads 0 to 7' "a head that there is not" ds-plot -f probs --head 8 -i attn1.dsf

ds-plot -f surprise -i logits.dsf >surprise.svg
drawn surprise "surprise"
py values.py surprise <logits.dsf >expected.txt
same surprise.txt expected.txt "each token's bits are numpy's"
ds-embed -m "$M" -B 5 -i 0.dsf | ds-block -m "$M" | ds-head -m "$M" | ds-plot -f surprise >batches.svg
same batches.svg surprise.svg "also where the next token comes in the next batch"
like "$(ds-plot -f surprise -m "$M" -i logits.dsf)" '<title>position 1, token [0-9]* What: ' "with a model tokens are written out"

ds-plot -f trace -i logits.dsf >trace.svg
drawn trace "a timeline"
is "$(sed 's/:.*//' trace.txt | tr '\n' ',')" "embed,attn 0,route 0,expert 0,attn 1,route 1,expert 1,attn 2,route 2,expert 2,attn 3,route 3,expert 3,head," "a lane for each process, in the pipeline's order"
ds-plot -f trace -i run -i logits.dsf >all.svg
is "$(py "$T/svg.py" titles all.svg | wc -l)" 14 "an entry that several frames carry is drawn once"

# what R1 would give, and what a broken run would
cat >big.py <<'P'
import sys
import numpy as np
from frame import Frame
rng = np.random.default_rng(1)
def write(name, frames):
    with open(name, "wb") as f:
        for x in [*frames, Frame({"op": "end"})]:
            f.write(x.bytes())
def norms(rows):
    h = rng.normal(size=(rows, 8)).astype("<f4")
    for l in range(62):
        h = h * np.float32(1.1)
        yield Frame({"at": "attn" if l < 61 else "head", "layer": l, "spans": [[0, 0, rows, 0]]}, {"h": h})
write("norm.dsf", norms(40))
write("lines.dsf", norms(8))
write("load.dsf", [Frame({"at": "expert", "layer": l, "spans": [[0, 0, 90, 0]]}, {"expert.idx":
    np.sort([rng.choice(256, 8, False) for _ in range(90)], 1).astype("<i4")}) for l in range(3, 61) if l != 9])
t = [["ds-embed", "a", -1, 10**18, 10**18 + 500, 3]]
for l in range(61):
    for p in "ds-attn", "ds-route", "ds-expert":
        t.append([p, "ab"[l // 31], l, t[-1][4] + 1000, t[-1][4] + 900000, 28672])
write("trace.dsf", [Frame({"at": "sample", "spans": [], "trace": t})])
p = np.tril(rng.random((300, 300))).astype("<f4")[:, None].repeat(16, 1)
write("probs.dsf", [Frame({"at": "route", "layer": 0, "spans": [[1, 0, 300, 0]]}, {"attn.probs@0": p})])
ids = rng.integers(0, 30, 900).astype("<i4")
write("surprise.dsf", [Frame({"at": "sample", "spans": [[s, 0, n, 2]]}, {"ids": ids[:n], "row": np.arange(n, dtype="<i4"),
    "logits": rng.normal(size=(n, 30)).astype("<f4")}) for s, n in enumerate([900, 480, 70, 2, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9])])
h = np.array([[1, 2], [np.nan, 1], [3, -np.inf], [3e38, 3e38]], "<f4")
write("bad-norm.dsf", [Frame({"at": "attn", "layer": 2**31 - 1, "spans": [[2**64 - 1, 2**31 - 5, 4, 0]]}, {"h": h}),
    Frame({"at": "<&\x01\"'>", "layer": 5, "spans": [[7, 0, 4, 0]]}, {"h": np.nan_to_num(h[::-1], posinf=0, neginf=0) * 0})])
p[5, 0, 2], p[9, 0, 9] = np.nan, -1
write("bad-probs.dsf", [Frame({"at": "route", "layer": 0, "spans": [[1, 0, 20, 0]]}, {"attn.probs@0": p[:20, :, :20].copy()})])
write("bad-surprise.dsf", [Frame({"at": "sample", "spans": [[0, 0, 3, 2]]}, {"ids": ids[:3], "row": np.arange(3, dtype="<i4"),
    "logits": np.array([[np.nan] * 30, [0] * 30, [1] * 30], "<f4")})])
write("bad-trace.dsf", [Frame({"at": "sample", "spans": [], "trace": [["</svg>&\x1b", "h\u202e" * 400, None, 2**61, 2**61, 2**64 - 1], ["x", "", 7, 0, 5, 0]]})])
# wrong data
write("x-idx.dsf", [Frame({"at": "expert", "layer": 0, "spans": [[4, 6, 1, 0]]}, {"expert.idx": np.array([[3, 4096]], "<i4")})])
write("x-h.dsf", [Frame({"at": "attn", "layer": 0, "spans": [[0, 0, 2, 0]]}, {"h": h})])
write("x-probs.dsf", [Frame({"at": "attn", "layer": 0, "spans": [[0, 9, 2, 0]]}, {"attn.probs@1": p[:2, :, :5].copy()})])
write("x-row.dsf", [Frame({"at": "sample", "spans": [[0, 0, 2, 2]]}, {"ids": ids[:2], "row": np.array([5], "<i4"), "logits": h[:1]})])
write("x-id.dsf", [Frame({"at": "sample", "spans": [[0, 0, 2, 2]]}, {"ids": ids[:2] + 30, "row": np.arange(2, dtype="<i4"), "logits": h[:2]})])
write("x-trace.dsf", [Frame({"at": "sample", "spans": [], "trace": [["a", "b", 1, 2, 3]]})])
P
mkdir big
(cd big && py ../big.py)
for kind in norm load probs surprise trace; do
	ds-plot -f $kind -i big/$kind.dsf >$kind.svg
	drawn $kind "-f $kind at the size of R1"
done
ds-plot -i big/lines.dsf >lines.svg
drawn lines "eight lines through 61 layers"
ds-plot -f probs --head 0-15 -i big/probs.dsf >heads.svg
drawn heads "16 heads of 300 positions"
ds-plot -f surprise -m "$M" -i big/surprise.dsf >texts.svg
drawn texts "tokens of many sequences"
for kind in norm probs surprise trace; do
	ds-plot -f $kind -i big/bad-$kind.dsf >$kind.svg
	drawn $kind "-f $kind with values that are no numbers, and names that are no names"
done
is "$(grep -ho '[0-9]* not finite[a-z ]*' norm.svg surprise.svg | tr '\n' ',')" "2 not finite and left out,1 not finite and left out," "what is not finite is counted"
is "$(grep -c 'class="no".*: nan<' probs.svg)" 1 "and hatched"

fails_with 1 '^ds-plot: big/x-idx.dsf: layer 0: sequence 4: position 6: expert 4096' "an expert that cannot be" ds-plot -f load -i big/x-idx.dsf
fails_with 1 '^ds-plot: route1.dsf: layer 1: .*: expert [0-9]* of 4' "an expert that the model does not have" \
    sh -c 'cp -r "$M" m; sed -i "s/\"n_routed_experts\": 16/\"n_routed_experts\": 4/; s/\"n_group\": 4/\"n_group\": 1/; s/\"topk_group\": 2/\"topk_group\": 1/" m/config.json; ds-plot -f load -m m -i route1.dsf'
fails_with 1 "tensor 'h' is not F32 \\[2" "rows that are not the frame's" ds-plot -i big/x-h.dsf
fails_with 1 'attn.probs@1: position 9 of at most 4' "a position beyond the tap" ds-plot -f probs -i big/x-probs.dsf
fails_with 1 "row' names row 5" "a wrong row" ds-plot -f surprise -i big/x-row.dsf
fails_with 1 'position 1: token [0-9]* of 2' "a token beyond the logits" ds-plot -f surprise -i big/x-id.dsf
fails_with 1 "entry 1 of 'trace'" "a wrong entry" ds-plot -f trace -i big/x-trace.dsf

fails_with 1 'nothing to draw: .*ds-embed' "no residual stream: the message says what to feed" ds-plot -i logits.dsf
fails_with 1 'nothing to draw: .*ds-route' "no experts" ds-plot -f load -i 0.dsf
fails_with 1 'nothing to draw: .*--tap attn.probs' "no tap" ds-plot -f probs -i 0.dsf
fails_with 1 'nothing to draw: .*ds-tokenize -a' "no logits" ds-plot -f surprise -i 0.dsf
frame end >end.dsf
fails_with 1 'nothing to draw: .*--trace' "no trace" ds-plot -f trace -i end.dsf
echo mine >kept.svg
ds-plot -i end.dsf -o kept.svg 2>/dev/null
is "$(cat kept.svg)" mine "where there is nothing to draw, no file is written"
fails_with 2 "-f 'pie'" "an unknown kind" ds-plot -f pie
fails_with 2 "head 'x'" "a wrong range" ds-plot --head x
fails_with 3 'without an end frame' "an empty input" ds-plot -i /dev/null -o kept.svg
is "$(cat kept.svg)" mine "of it neither"
head -c 5000 expert3.dsf >short.dsf
cat 0.dsf short.dsf | ds-plot >short.svg 2>err
is "$? $(grep -c 'ends after' err)" "3 1" "a stream that was cut short: exit 3"
drawn short "and what came is drawn"
fails_with 3 'cannot write' "a full disk" sh -c 'ds-plot -i 0.dsf >/dev/full'
fails_with 3 "cannot open 'no/such'" "a place that is not there" ds-plot -i 0.dsf -o no/such
is "$(pipe 'ds-plot -f load -i run | head -c 100 | wc -c; [ "${PIPESTATUS[0]}" -eq 141 -o "${PIPESTATUS[0]}" -eq 0 ] && echo quiet' 2>&1)" "100
quiet" "a reader that goes away"
mkfifo a b
ds-embed -m "$M" -i 0.dsf | tee a | ds-block -m "$M" -l 0 >b &
ok "FIFOs that one pipeline fills" ds-plot -i a -i b -o fifo.svg
wait
drawn fifo "are drawn together"
done_testing
