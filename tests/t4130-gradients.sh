#!/bin/sh
# also: asan kernels
# first: yes
# The gradients of ds-learn: of all golden models against PyTorch in float64, with the same bits for
# every split; of tiny-r1's policy gradient against differences in float64.
. "${0%/*}/lib.sh"

cat >near.py <<'EOP'
"""near.py MODEL LINE GOT: the gradients of GOT are within 1e-3 of each tensor's largest, the loss
in the JSON line within 1e-5."""
import json
import sys

import numpy as np


def read(path):
    raw = open(path, "rb").read()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    header.pop("__metadata__", None)
    return {k: np.frombuffer(raw, "<f4", (v["data_offsets"][1] - v["data_offsets"][0]) // 4,
                             start + v["data_offsets"][0]).reshape(v["shape"])
            for k, v in header.items()}


folder, line, path = sys.argv[1:]
want, got = read(folder + "/gradients.safetensors"), read(path)
loss, told = json.load(open(folder + "/gradients.json"))["loss"], json.load(open(line))
assert abs(told["loss"] - loss) < 1e-5, (told["loss"], loss)
assert set(got) == set(want), set(got) ^ set(want)
for name, g in want.items():
    assert got[name].shape == g.shape, name
    assert abs(got[name] - g).max() <= 1e-3 * abs(g).max(), (name, abs(got[name] - g).max())
whole = np.sqrt(sum((g.astype("f8") ** 2).sum() for g in want.values()))
assert abs(told["grad_norm"] - whole) < 1e-5 * whole, (told["grad_norm"], whole)
EOP

# learned MODEL NAME [OPTION...]: NAME.safetensors and the line of metrics in NAME
learned() {
	learned_model=$1 learned_to=$2
	shift 2
	limited ds-learn -m "$G/$learned_model" --sft records --dry-run \
	    --gradients "$learned_to.safetensors" "$@" >"$learned_to" 2>err
}
records() {
	py -c 'import json, sys
for r in json.load(open(sys.argv[1]))["records"]:
    print(json.dumps(r))' "$G/$1/gradients.json" >records
}
for m in $(few "v3 v2 v3-plain qwen2 qwen3 llama qwen3-moe" "v3 qwen2"); do
	records $m
	learned $m $m && py near.py "$G/$m" $m $m.safetensors 2>>err
	report $? "$m: the gradient of each tensor is PyTorch's" err
done

# equal MODEL NAME [OPTION...]: the bytes of the model's gradients above
equal() {
	learned "$@" && cmp "$1.safetensors" "$2.safetensors" 2>>err
	report $? "$1, $2: the same bytes" err
}
for m in v3 qwen2; do
	records $m
	equal $m stage -x stage -t 1
	[ "$(few all some)" = all ] || continue
	equal $m layer -x layer
	equal $m rows --rows 1
	DS_KERNELS=ref equal $m ref
done
records v3
ds-learn -m "$G/v3" --sft records --dry-run --gradients split.safetensors -x stage -s |
    sed 's/^\(run ds-expert .*-l [1-3] \)\(.*\)$/\1-e 0-2,7 \2\n\1-e 3-6,8-15,s \2/' >split.sh
like "$(grep -c 'ds-expert.*-e' split.sh)" '^6$' "a script with the experts of layers split"
limited sh split.sh >split 2>err && cmp v3.safetensors split.safetensors 2>>err
report $? "experts in several processes: the same bytes" err

[ "$(few all some)" = all ] || done_testing

# --- tiny-r1 ---

cat >graded.py <<'EOP'
"""Records of random tokens: long ones; answers whose old log-probabilities are in and out of the
clipped range. And another model for the reference."""
import json
import os
import pathlib
import shutil
import sys

import numpy as np

import differences

model = pathlib.Path(sys.argv[1])
config, w = differences.checkpoint(model)
rng, long = np.random.default_rng(4), np.random.default_rng(5)
forward = differences.Forward(config)
with open("long", "w") as out:
    for n in 10, 130:
        weights = [0, *long.integers(0, 3, n - 1).tolist()]
        print(json.dumps({"ids": long.integers(3, 1000, n).tolist(), "weights": weights}), file=out)
with open("graded", "w") as out:
    for i in range(4):
        ids = rng.integers(3, 1000, 14)
        new = forward.logprobs(w, ids, i)[-6:]
        old = new + np.array([.05, .6, -.6, .1, -.05, .7]) * (1 if i < 2 else -1)
        print(json.dumps({"id": i // 2, "prompt_ids": ids[:8].tolist(), "ids": ids[8:].tolist(),
                          "logprobs": old.tolist(), "reward": i % 2}), file=out)
shutil.copytree(model, "reference", ignore=lambda d, names: [n for n in names if os.path.isdir(
    os.path.join(d, n))])
path = pathlib.Path("reference/model.safetensors")
raw = bytearray(path.read_bytes())
start = 8 + int.from_bytes(raw[:8], "little")
a, b = json.loads(raw[8:start])["model.norm.weight"]["data_offsets"]
x = np.frombuffer(raw, "<u2", (b - a) // 2, start + a)
x += rng.integers(0, 8, len(x)).astype("<u2")
path.chmod(0o644)
path.write_bytes(raw)
EOP
py graded.py "$M" >err 2>&1
report $? "long records, answers with old log-probabilities, and a reference" err

# slopes DESC KIND FILE OPTION...: along two directions, and the loss
slopes() {
	slopes_desc=$1 slopes_kind=$2 slopes_file=$3
	shift 3
	limited ds-learn -m "$M" "$slopes_kind" "$slopes_file" --dry-run --gradients p.safetensors \
	    "$@" >line 2>err &&
	    py "$T/differences.py" "$M" "$slopes_file" p.safetensors --directions 2 "$@" >told \
	    2>>err &&
	    py - >>err 2>&1 <<'EOP'
import json
told = [line.split() for line in open("told")]
line = json.load(open("line"))
assert abs(line["loss"] - float(told[0][1])) < 1e-5, (line, told)
assert len(told) == 3 and all(float(t[5]) < 1e-6 for t in told[1:]), told
EOP
	report $? "$slopes_desc" err told
}
slopes "tiny-r1: clipped policy gradient, as differences have it" --records graded --clip 0.2,0.2
slopes "tiny-r1: the same with nothing clipped, advantages without division" --records graded \
    --clip 0.9,5 --advantage mean
slopes "tiny-r1: with KL" --records graded --clip 0.2,0.3 --beta 0.5 --reference reference
slopes "tiny-r1: cross-entropy of several pages" --sft long
for o in '-x stage -t 1' '--rows 1 -x layer'; do
	limited ds-learn -m "$M" --sft long --dry-run --gradients q.safetensors $o >line 2>err &&
	    cmp p.safetensors q.safetensors 2>>err
	report $? "... and the same bytes with $o" err
done
DS_KERNELS=ref limited ds-learn -m "$M" --sft long --dry-run --gradients q.safetensors >line 2>err
same p.safetensors q.safetensors "... and in plain C"
done_testing
