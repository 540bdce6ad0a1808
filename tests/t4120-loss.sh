#!/bin/sh
# also: asan leaks
# check: yes
# ds-loss: gradients, metrics and log-probabilities against numpy, and the frames that it refuses.
. "${0%/*}/lib.sh"
export DS_MODEL=$G/v3
cat >make.py <<'EOP'
"""Frames for ds-loss, and what it must make of them, in float64."""
import numpy as np

import frame

V, T = 320, 12
rng = np.random.default_rng(3)
row = np.array([1, 2, 4, 5, 6, 7, 8, 10], "<i4")
logits = (4 * rng.standard_normal((len(row), V))).astype("<f4")
target = np.full(T, -1, "<i4")
target[row] = rng.integers(0, V, len(row))
target[6] = -1                  # logits, and no target
weight = rng.random(T).astype("<f4")
weight[7] = 0
new = np.zeros(T)
x = logits.astype(float)
norm = np.log(np.exp(x - x.max(1, keepdims=True)).sum(1)) + x.max(1)
p = np.exp(x - norm[:, None])
used = (target[row] >= 0) & (weight[row] != 0)
onehot = np.arange(V) == target[row][:, None]
new[row] = np.where(target[row] >= 0, (x * onehot).sum(1) - norm, 0)
old = (new + [0, .5, -.5, 0, -.5, .1, 0, 0, .5, 0, -.1, 0]).astype("<f4")
advantage = np.array([0, 1, 1, 0, -2, 1, 1, 1, -1, 0, .5, 0], "<f4")
reference = (new + .3).astype("<f4")
CLIP, BETA = [.2, .3], .1


def header(**learn):
    return {"at": "sample", "spans": [[7, 0, 1, 0], [7, 1, 2, 2], [7, 3, 1, 0], [9, 0, 5, 2],
                                      [9, 5, 1, 0], [9, 6, 1, 2], [9, 7, 1, 0]],
            "learn": {"id": 5, **learn}, "other": "kept"}


def tensors(**more):
    return {"ids": np.arange(T, dtype="<i4"), "row": row, "logits": logits, "learn.target": target,
            "learn.weight": weight, **{"learn." + k: v for k, v in more.items()}}


NORM = {"op": "norm", "step": 1, "weight": 2.5, "tensors": []}
END = {"op": "end"}
POLICY = {"advantage": advantage, "old": old, "reference": reference}


def write(name, *frames):
    with open(name, "wb") as f:
        for one in (*frames, (END,)):
            frame.write_frame(f, *one)


def terms(policy):
    """Loss and its derivative by new, of the rows with logits."""
    if not policy:
        return -new[row], -np.ones(len(row)), 0 * new[row]
    A, ratio = advantage[row].astype(float), np.exp(new - old)[row]
    clipped = np.clip(ratio, 1 - CLIP[0], 1 + CLIP[1])
    d = (reference - new)[row]
    free = ratio * A <= clipped * A
    kl = np.exp(d) - d - 1
    return (-np.minimum(ratio * A, clipped * A) + BETA * kl,
            -ratio * A * free + BETA * (1 - np.exp(d)), kl)


def metrics(policy):
    loss, _, kl = terms(policy)
    w = (weight[row] * used).astype(float)
    ratio = np.exp(new - old)[row] if policy else np.ones(len(row))
    A = advantage[row]
    above, below = (ratio > 1 + CLIP[1]) & (A > 0), (ratio < 1 - CLIP[0]) & (A < 0)
    clipped = used & (policy > 0) & (above | below)
    entropy = -(p * np.log(p)).sum(1)
    return {"loss": w @ loss / w.sum(), "sum": w @ loss, "weight": w.sum(), "tokens": used.sum(),
            "clipped": clipped.sum(), "ratio": abs(ratio - 1)[used].max(),
            "exact": used.sum() if not policy else 0, "kl": w @ kl / w.sum(),
            "entropy": w @ entropy / w.sum()}


def gradient(policy):
    slope = terms(policy)[1] * weight[row] * used
    return slope[:, None] * (onehot - p)
EOP
py - <<'EOP'
from make import *
learned = tensors(), tensors(**POLICY)
write("in", (header(), learned[0]), (NORM,), (header(clip=CLIP, beta=BETA), learned[1]), (NORM,),
      (NORM,))
write("asked", (header(score=True), {k: v for k, v in tensors().items() if k != "learn.weight"}))
plain = header()
del plain["learn"]
write("others", (plain, learned[0]), ({**header(), "at": "head", "layer": 4}, learned[0]),
      ({"op": "free", "seq": 3},), ({**header(), "at": "head.back"}, learned[0]))
EOP
ds-loss -i in -o out 2>lines
report $? "frames are learned from" lines
py - <<'EOP' >got 2>&1
import json
from make import *
frames = list(frame.read_frames(open("out", "rb")))
lines = [json.loads(line) for line in open("lines")]
for i, policy in ((0, 0), (2, 1)):
    f = frames[i]
    h = f.header
    assert h["at"] == "head.back" and "layer" not in h and h["other"] == "kept", h
    assert h["learn"]["id"] == 5 and sorted(f.tensors) == ["ids", "logits.grad", "row"], f.tensors
    assert (f.tensors["row"] == row).all()
    want = gradient(policy)
    # float32: probabilities are within some last places, log-probabilities of policy within 1e-6
    assert abs(f.tensors["logits.grad"] - want).max() < 3e-6 * abs(want).max(), policy
    assert not f.tensors["logits.grad"][[4, 5]].any(), "no target, no weight: no gradient"
    told, want = frames[i + 1].header["loss"], metrics(policy)
    assert list(told) == list(want) == list(lines[i // 2]), told
    for k in want:
        assert abs(told[k] - want[k]) <= 1e-5 * abs(want[k]) + 1e-6, (policy, k, told[k], want[k])
        assert abs(lines[i // 2][k] - told[k]) <= 1e-8 * abs(told[k]), k
none = frames[4].header["loss"]
assert none == lines[2] and none["tokens"] == none["loss"] == 0, none
EOP
report $? "gradients and metrics are those of float64: cross-entropy, policy gradient with KL" got
for k in $(sets 3); do
	DS_KERNELS=$k ds-loss -q -t 2 -i in -o again 2>told
	cmp again out && [ ! -s told ]
	report $? "two threads, $k kernels at most, and -q: the same bytes, and no lines" told
done
ds-loss -i asked -o scored
py - <<'EOP' >got 2>&1
from make import *
f = next(frame.read_frames(open("scored", "rb")))
assert f.header["at"] == "learn" and sorted(f.tensors) == ["ids", "learn.logprob"], f.header
got = f.tensors["learn.logprob"]
assert abs(got - new).max() < 1e-5 and got.dtype == "<f4"
EOP
report $? "score: log-probabilities, and no backward pass" got
ds-loss -i others -o passed
same others passed "frames without the key, of other stages, and control frames pass"

# refused REGEX CODE: the frame after CODE changed its header h and tensors t
refused() {
	py - "$2" <<'EOP'
import sys
from make import *
h, t = header(), {k: v.copy() for k, v in tensors(**POLICY).items()}
exec(sys.argv[1])
write("bad", (h, t))
EOP
	fails_with 1 "^ds-loss: $1\$" "refused: $2" ds-loss -i bad -o /dev/null
}
refused 'sequence 9: position 0: learn.target is 320: tokens are 0 to 319, -1 is none' \
    't["learn.target"][4] = V'
refused 'sequence 7: position 0: it has a target but no logits: its span must have flag 2' \
    't["learn.target"][0] = 3'
refused 'sequence 9: position 6: the logit of token 17 is not a number' \
    't["logits"][7, 17] = np.nan'
refused 'sequence 7: position 2: the loss is nan' 't["learn.advantage"][2] = np.nan'
refused 'sequence 7: position 2: the loss is .*, with its weight 2.18 or more' \
    't["learn.old"][2] = -60'
refused "tensor 'learn.target'.*" 't["learn.target"] = t["learn.target"][:3]'
refused '.*learn.weight.*' 'del t["learn.weight"]'
refused '.*learn.old.*' 'del t["learn.old"]'
refused '.*learn.reference.*' 'h["learn"]["beta"] = .1; del t["learn.reference"]'
refused "header: 'learn' has no 'id'" 'h["learn"] = {}'
refused 'the frame is of precision bf16: only f32 is learned in' 'h["precision"] = "bf16"'
refused '.*the frame is of model.*' 'h["model"] = "0123456789abcdef"'
py - <<'EOP'
from make import *
h = header()
h["spans"] = [[7, 0, T, 0]]
write("none", (h, {**tensors(), "row": row[:0], "logits": logits[:0],
                   "learn.target": np.full(T, -1, "<i4")}), (NORM,))
EOP
ds-loss -i none -o got 2>told
like "$(frame show <got)" 'head.back.*"logits.grad": \["F32", 0, 320\]' \
    "a frame that learns nothing goes back, too"
done_testing
