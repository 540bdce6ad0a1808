#!/bin/bash
# transformers.sh: is what we compute what transformers computes?
#
# tests/golden/v3/expected.safetensors was made by hooks in transformers. ds-diff lays a run of ours against it, by the names
# of its tensors; `man ds-diff` has the names, and those of hooks that you set yourself. Where PyTorch is
# installed, ../hf-frames.py makes frames of any model.
DS_MODEL=$(dirname "$0")/../../tests/golden/v3
. "$(dirname "$0")/begin"
golden=$DS_MODEL
modules numpy msgpack
mkdir "$d/run"

# the prompt is ids: the frame that a program of your own may write just as well (`man ds-frame`)
python3 "$here/prompt.py" "$golden/expected.safetensors" | ds-embed >"$d/run/00.dsf"

n=0
while [ "$n" -lt "$layers" ]; do
	before=$(ls "$d"/run/*.dsf | tail -n 1)
	ds-attn -l $n <"$before" | tee "$d/run/1${n}0.dsf" | ds-route -l $n | tee "$d/run/1${n}1.dsf" | ds-expert -l $n >"$d/run/1${n}2.dsf"
	n=$((n + 1))
done
ds-head --tap head.norm <"$d/run/1$((n - 1))2.dsf" >"$d/run/900.dsf"

# in float32 two implementations agree to about a hundred-thousandth; the routers' choices have to be the same.
# --partial: the file also has the tokens that came next (`greedy`), and our run has none
ds-diff --partial --tol 1e-3 "$d/run" "$golden/expected.safetensors"

# had they a bug (here: one number of layer 2's attention), it would be named
python3 "$here/prompt.py" "$golden/expected.safetensors" layers.2.attn "$d/bad.safetensors"
ds-diff --tol 1e-3 "$d/run" "$d/bad.safetensors" >"$d/said" || [ $? -eq 1 ]
head -n 1 "$d/said"
