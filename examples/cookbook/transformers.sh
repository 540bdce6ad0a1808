#!/bin/bash
# transformers.sh: does dspipe compute the same as transformers?
#
# Hooks in transformers wrote tests/golden/v3/expected.safetensors. ds-diff compares a run of dspipe
# with it, tensor by tensor. `man ds-diff` lists the names of the tensors, for hooks of your own,
# too. With PyTorch, ../hf-frames.py writes frames of any model.
DS_MODEL=$(dirname "$0")/../../tests/golden/v3
. "$(dirname "$0")/begin"
golden=$DS_MODEL
modules numpy msgpack
mkdir "$d/run"

# the prompt is a frame of token ids, which any program can write (`man ds-frame`)
python3 "$here/prompt.py" "$golden/expected.safetensors" | ds-embed >"$d/run/00.dsf"

n=0
while [ "$n" -lt "$layers" ]; do
	before=$(ls "$d"/run/*.dsf | tail -n 1)
	ds-attn -l $n <"$before" | tee "$d/run/1${n}0.dsf" |
		ds-route -l $n | tee "$d/run/1${n}1.dsf" | ds-expert -l $n >"$d/run/1${n}2.dsf"
	n=$((n + 1))
done
ds-head --tap head.norm <"$d/run/1$((n - 1))2.dsf" >"$d/run/900.dsf"

# In float32 two implementations agree to about 1e-5. The choices of the routers must be equal.
# --partial: the file also contains the generated tokens (`greedy`), which this run does not have.
ds-diff --partial --tol 1e-3 "$d/run" "$golden/expected.safetensors"

# a wrong number (here in the attention of layer 2) is found and named
python3 "$here/prompt.py" "$golden/expected.safetensors" layers.2.attn "$d/bad.safetensors"
ds-diff --tol 1e-3 "$d/run" "$d/bad.safetensors" >"$d/said" || [ $? -eq 1 ]
head -n 1 "$d/said"
