#!/bin/sh
# also: asan leaks kernels
# Frames that learn: their way through the line and back, cut in two ways; what is kept; errors.
. "${0%/*}/lib.sh"
export DS_MODEL="$G/v3"
mkfifo loop

cat >make.py <<'EOP'
"""lines.dsf: rows to learn from, and the control frames that follow them; back.dsf: every step of a
backward pass, with random numbers."""
import numpy as np

import frame

IDS = np.array([5, 6, 7, 8, 9, 10, 11], "<i4")
SPANS = [[7, 0, 2, 0], [7, 2, 2, 2], [9, 0, 3, 2]]
NUMBERS = {"rate": 1e-3, "beta1": .9, "beta2": .95, "eps": 1e-8, "decay": .1, "factor": 1,
           "bias1": .1, "bias2": .05, "balance": 0}
END = frame.Frame({"op": "end"})


def learn(i, **more):
    target = np.array([-1, -1, 8, -1, 10, 11, -1], "<i4")
    return frame.Frame({"at": "embed", "spans": SPANS, "learn": {"id": i, **more}},
                       {"ids": IDS, "learn.target": target, "learn.weight": np.ones(7, "<f4")})


def control(op, tensors=(), **keys):
    return frame.Frame({"op": op, "tensors": [], **keys}, tensors)


def write(name, *frames):
    with open(name, "wb") as f:
        for one in (*frames, END):
            f.write(one.bytes())


def floats(*shape):
    return rng.standard_normal(shape).astype("<f4")


def fixed(*shape):
    return (rng.standard_normal(shape) * 2**40).astype("<i8")


def back(at, layer=None, done=None, **tensors):
    header = {"at": at, "spans": SPANS, "learn": {"id": 1, "later": [1, None]}, "other": "kept"}
    if layer is not None:
        header["layer"] = layer
    if done:
        header["experts_done"] = done
    return frame.Frame(header, {"ids": IDS, **{k.replace("_", "."): v for k, v in tensors.items()}})


rng = np.random.default_rng(1)
T, D, V, K = 7, 128, 320, 4
norm = control("norm", step=1, weight=3)
gradients = control("save", folder="out", what="gradients", weight=3)
step = control("step", {"grad.mlp_norm": fixed(4, D)}, step=1, weight=3, **NUMBERS)
sums = {"expert_acc": fixed(T, D), "expert_wacc": fixed(T, K)}
write("line.dsf", learn(1), norm, gradients, step, learn(2), norm)
write("twice.dsf", learn(1), learn(1))
write("one.dsf", learn(1))
write("norows.dsf")
write("score.dsf", learn(1, score=True), learn(2, score=True))
rows = [back("head.back", row=np.arange(2, 7, dtype="<i4"), logits_grad=floats(5, V)),
        back("expert.back", 3, h_grad=floats(T, D)),
        back("expert.back", 3, "0-3", h_grad=floats(T, D), **sums),
        back("route.back", 3, h_grad=floats(T, D), x_grad=floats(T, D), w_grad=floats(T, K)),
        back("attn.back", 3, h_grad=floats(T, D)), back("expert.back", 2, h_grad=floats(T, D)),
        back("embed.back", h_grad=floats(T, D)), back("learn")]
write("rows.dsf", *rows)
write("back.dsf", *rows, norm, step, control("save", folder="out", what="weights"))
EOP
py make.py

# --- the line: fused, and a process for each part of a layer ---

# shards DIR: the tensors of its files, by name; each is in one of them
shards() {
	py - "$1" <<'EOP'
import glob, hashlib, json, sys
found = {}
for name in glob.glob(sys.argv[1] + "/*.safetensors"):
    data = open(name, "rb").read()
    n = int.from_bytes(data[:8], "little")
    for k, t in json.loads(data[8:8 + n]).items():
        if k != "__metadata__":
            a, b = t["data_offsets"]
            assert k not in found, k
            found[k] = hashlib.sha1(data[8 + n + a:8 + n + b]).hexdigest()
for k in sorted(found):
    print(k, found[k])
EOP
}
# steps FILE: what its frames are, a line each
steps() {
	ds-dump "$1" | sed -n 's/^frame [0-9]*: control ..op": "\([a-z]*\).*/\1/p
s/^frame [0-9]*: \([a-z.]*\( layer [0-9]*\)*\).*/\1/p'
}

mkdir out
ok "a frame passes the line and comes back through it" pipe '
	ds-embed --learn -v -i line.dsf -i loop 2>embed.err | ds-block --learn -v 2>block.err |
	    ds-head --learn -v 2>head.err | ds-loss -q -o loop -o fused.dsf'
mv out fused && mkdir out
way="head.back expert.back layer 3 embed.back learn"
is "$(steps fused.dsf | tr '\n' ' ')" "$way norm save step $way norm end " \
    "control frames wait for backward passes; a block does all of its layers in one visit"
like "$(cat block.err)" 'kept for backward passes: 80\.[0-9]* KiB at most' \
    "-v reports what was kept"
like "$(cat head.err)" 'kept for backward passes: 3\.5' "also the head's"
is "$(cat embed.err)" "ds-embed: 20 frames in, 13 out" "the embedding keeps nothing"
ok "all frames are as the page says" sh -c "$FRAME check <fused.dsf"

mkfifo a b c d
ok "the same with layers apart, and experts in turn and side by side" pipe '
	ds-expert --learn -t 1 -l 2 -e 0-5,s -i a -o c &
	ds-expert --learn -t 1 -l 2 -e 6-15 -i b -o d &
	ds-join -i c -i d | ds-attn --learn -t 1 -l 3 | ds-route --learn -t 1 -l 3 |
	    ds-expert --learn -t 1 -l 3 -e 4-11 | ds-expert --learn -t 1 -l 3 -e 0-3,12-15,s |
	    ds-head --learn | ds-loss -q -o loop -o apart.dsf &
	ds-embed --learn -i line.dsf -i loop | ds-block --learn -t 1 -l 0-1 |
	    ds-attn --learn -t 1 -l 2 | ds-route --learn -t 1 -l 2 -o a -o b && wait'
mv out apart
shards fused >fused.txt
shards apart >apart.txt
same fused.txt apart.txt "the gradients of all tensors have the same bits"
is "$(wc -l <fused.txt)" 194 "there are 194"
ds-cut --at embed.back fused.dsf | ds-cut --tensor h.grad | ds-hash >fused.txt
ds-cut --at embed.back apart.dsf | ds-cut --tensor h.grad | ds-hash >apart.txt
same fused.txt apart.txt "so has the gradient of the embeddings, before and after a step"
is "$(steps apart.dsf | sed -n 1,9p | tr '\n' ,)" "head.back,expert.back layer 3,\
route.back layer 3,attn.back layer 3,expert.back layer 2,route.back layer 2,attn.back layer 2,\
expert.back layer 1,embed.back," "a step leaves the line if its stage is upstream"
py - >said <<'EOP'
import frame

def norms(name):
    return [f.header for f in frame.read_frames(open(name, "rb")) if f.header.get("op") == "norm"]

def total(h):
    return sum((hi << 64) + lo for _, hi, lo in h["squares"])

both = list(zip(norms("fused.dsf"), norms("apart.dsf"), strict=True))
print([total(a) == total(b) and a["loss"] == b["loss"] for a, b in both])
for h in both[0]:
    print(*sorted(who for who, _, _ in h["squares"]))
EOP
is "$(cat said)" "[True, True]
block embed head
attn-l2 attn-l3 block-l0-1 embed expert-l2-e0-5,s expert-l2-e6-15 \
expert-l3-e0-3,12-15,s expert-l3-e4-11 head route-l2 route-l3" \
    "the norm of the gradients is the same, and ds-join unites what processes report"
ok "a frame that only scores" pipe '
	ds-embed --learn -i score.dsf -i loop | ds-block --learn -v 2>block.err | ds-head --learn |
	    ds-loss -q -o loop -o - | ds-dump >score.txt'
is "$(for w in learn.logprob back kept; do grep -c $w score.txt block.err; done | tr '\n' ' ')" \
    "score.txt:2 block.err:0 score.txt:0 block.err:0 score.txt:0 block.err:0 " \
    "has log-probabilities and no backward pass, and keeps nothing"

# --- stages and tools pass steps of others on ---

for stage in "ds-attn --learn -l 0-1" "ds-route --learn -l 1" "ds-expert --learn -l 0-1" \
    "ds-block --learn -l 1" ds-loss; do
	$stage <rows.dsf >got.dsf
	same rows.dsf got.dsf "$stage passes steps of others on unchanged"
done
for stage in ds-attn ds-route ds-expert ds-block ds-head ds-sample ds-relay; do
	$stage <back.dsf >got.dsf
	same back.dsf got.dsf "so does $stage without --learn, control frames as well"
done
fails_with 1 "^ds-join: expert.back layer 3: rows.dsf: expert 0: done twice$" \
    "ds-join refuses experts that are done twice" ds-join -i rows.dsf -i rows.dsf -o got.dsf
ok "they are as the page says" sh -c "$FRAME check <back.dsf"
ds-dump back.dsf >dump
like "$(cat dump)" '^  logits.grad F32 \[5, 320\] min -3\.' "ds-dump shows gradients"
like "$(cat dump)" '^frame 10: control \{"op": "step", .*"weight": 3, "rate": 0.001,' \
    "and the numbers of a step"
is "$(ds-hash back.dsf | cut -d' ' -f2- | grep ' 9 ' | grep -v ids)" \
"head.back - 9 0-2 logits.grad F32 320
expert.back 3 9 0-2 expert.acc:0-3 I64 128
expert.back 3 9 0-2 expert.wacc:0-3 I64 4
expert.back 3 9 0-2 h.grad F32 128
route.back 3 9 0-2 h.grad F32 128
route.back 3 9 0-2 w.grad F32 4
route.back 3 9 0-2 x.grad F32 128
attn.back 3 9 0-2 h.grad F32 128
expert.back 2 9 0-2 h.grad F32 128
embed.back - 9 0-2 h.grad F32 128" "ds-hash has them in the order of the backward pass"
like "$(ds-stat back.dsf)" '^tensor +attn.back +3 +h.grad +7 +128 ' "ds-stat has their norms"
ok "ds-diff finds no difference of a stream to itself" ds-diff back.dsf back.dsf
is "$(ds-cut --at route.back,learn --seq 7 back.dsf | ds-dump | grep -c '7@')" 2 \
    "ds-cut selects steps and sequences"

# --- what is wrong ---

# wrong REGEX DESC LINE: a program of the line says so, and the line fails
wrong() {
	pipe "$3" 2>err && echo "it did not fail" >err
	like "$(cat err)" "^ds-$1$" "$2"
}
end='ds-head --learn | ds-loss -q -o loop'
none='no stage of the line acts on it'
wrong "embed: expert.back layer 3: $none: start its stages with --learn" \
    "a step that no stage acts on" "ds-embed --learn -i one.dsf -i loop | ds-block | $end"
wrong "embed: embed.back: $none: start its stages with --learn" "the embedding's" \
    "ds-embed -i one.dsf -i loop | ds-block --learn | $end"
wrong "embed: sample: $none: give it ds-loss" "a line without a loss" \
    'ds-embed --learn -i one.dsf -i loop | ds-block --learn | ds-head --learn -o loop'
wrong 'sample: sample: the frame is to learn from: give the line ds-loss' "a sampler instead" \
    'ds-embed --learn -i one.dsf -i loop | ds-block | ds-head | ds-sample -o loop'
wrong 'embed: embed: learn 1: it is under way already: give each frame an id of its own' \
    "an id twice" "ds-embed --learn -i twice.dsf -i loop | ds-block --learn | $end"
wrong 'block: layer 0: attn: learn 1 passes a second time: give each frame an id of its own' \
    "without a loop" 'ds-embed <twice.dsf | ds-block --learn >last.dsf'
wrong "expert: layer 2: experts '4-11' are done: with --learn give each ds-expert -e" \
    "experts of two processes" 'ds-embed <one.dsf | ds-block -l 0-1 | ds-attn -l 2 |
	ds-route -l 2 | ds-expert -l 2 --learn -e 4-11 | ds-expert -l 2 --learn >last.dsf'
for stage in expert route attn; do
	ds-cut --at $stage.back -l 3 rows.dsf >lost.dsf
	fails_with 1 "^ds-$stage: layer 3: $stage.back: learn 1, sequence 7: nothing was kept: \
it did not pass here, or it has come back twice$" "$stage.back of rows that did not pass" \
	    ds-$stage --learn -i lost.dsf -o /dev/null
done
ds-cut --at embed.back rows.dsf >lost.dsf
fails_with 1 "^ds-embed: embed.back: the loop brings learn 1, which did not begin here$" \
    "embed.back of rows that did not pass" ds-embed --learn -i norows.dsf -i lost.dsf -o /dev/null

# refused REGEX PYTHON: the frame to learn from, changed, is refused by ds-embed
refused() {
	edit one.dsf bad.dsf "$2"
	fails_with 1 "^ds-embed: .*$1$" "refused: $2" ds-embed --learn -i bad.dsf -o /dev/null
}
refused "header: 'learn' has no 'id'" 'f.header["learn"] = {}'
refused "header: 'learn' is not a map" 'f.header["learn"] = 7'
refused "header: 'clip' of 'learn' is not two numbers of at least 0" \
    'f.header["learn"]["clip"] = [0.2]'
refused 'token id 320 at position 1 is not in the vocabulary of 320' 't["ids"][1] = 320'
refused 'learn 1: .*position.*' 'f.header["spans"][0][1] = 3'
refused "the frame has no tensor 'ids'" 'del t["ids"]'
frame take 1 <one.dsf >short.dsf
fails_with 3 '^ds-embed: short.dsf: ended without an end frame' "a truncated stream" \
    ds-embed --learn -i short.dsf -o /dev/null

# usage REGEX PROGRAM OPTION...: a usage error before anything is read
usage() {
	usage_regex=$1; shift
	fails_with 2 "^$1: $usage_regex" "$*" "$@" -i one.dsf -o /dev/null
}
usage '--learn excludes --cache-size' ds-embed --learn --cache-size 4M
usage '--learn excludes --cache-dir' ds-attn --learn --cache-dir .
usage '--learn excludes --ring' ds-head --learn --ring
usage '--learn excludes --precision' ds-route --learn --precision bf16
usage '--learn excludes a GPU' ds-block --learn -d cuda
usage "--state 'out': give --learn, too" ds-expert --state out
usage '.*indexer' ds-block --learn -m "$G/v32"
py "$T/gguf_make.py" "$G/qwen3" model.gguf
usage '.*GGUF' ds-block --learn -m model.gguf
done_testing
