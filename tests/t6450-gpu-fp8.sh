#!/bin/sh
# --precision fp8, which GPUs alone have: the same bits however the work is cut, near those of bf16, and refused elsewhere.
. "${0%/*}/lib.sh"
. "$T/gpu.sh"
export DS_MODEL=$M DS_PRECISION=fp8
ds-tokenize -a "What is 37 * 46?" "12+30=?" >ask
ds-embed -i ask -o in
ds-attn -d cuda -l 0 -i in -o out 2>err
! grep 'fp8 needs compute capability' err >lacks || skip_all "$(sed 's/.*: //' lacks)"
is "$(frame show <in | grep -c '"precision": "fp8"')" "$(frame show <in | grep -c '"at"')" "ds-embed says so in its frames"
ok "whole layers and the head" pipe 'ds-block -d cuda -i in | ds-head -d cuda -o want'
ok "stage by stage" pipe 'ds-attn -d cuda -l 0 -i in | ds-route -l 0 | ds-expert -d cuda -l 0 | ds-attn -d cuda -l 1 | ds-route -d cuda -l 1 |
    ds-expert -d cuda -l 1 -e 0-7 | ds-expert -d cuda -l 1 -e 8-15,s | ds-block -d cuda -l 2-3 | ds-head -d cuda -o got'
same want got "... has the same bits, the router on the CPU, too"
for rows in 1 3 64; do
	ds-embed -B $rows -i ask | ds-block -d cuda | ds-head -d cuda -o batches
	ds-diff --tol 0 want batches >why 2>&1
	report $? "batches of $rows rows have the same bits" why
done
frame set precision '"bf16"' <in | DS_PRECISION=bf16 ds-block | DS_PRECISION=bf16 ds-head | frame set precision '"fp8"' >bf16
# E4M3 keeps 4 bits: a factor is off by 2^-4 at most, 2.6% on the average over all; after 8 sums that add up what those before
# them left, the angle between the logits may be 2.6% sqrt(8), whose cosine is 0.9973
ds-diff bf16 want >why
awk '$1 == "head" && $3 == "logits" { n++; good = $(NF - 3) > 0.997 && $(NF - 3) < 0.99999 } END { exit !(n == 1 && good) }' why
report $? "logits point where those of bf16 do, but are not those" why
ok "attn.heads is made of the GPU's values" pipe 'ds-attn -d cuda -l 0 --tap all -i in -o tapped'
is "$(frame tensors <tapped | grep -c nan)" 0 "... and is made of numbers"
for p in ds-attn ds-expert ds-block ds-head; do
	fails_with 2 "^$p: --precision fp8 requires a GPU: give -d cuda, or another precision\$" "$p on the CPU refuses it" "$p" -i in
done
lacks="so does a GPU that lacks FP8"
emulated "$lacks" && fails_with 3 "fp8 needs compute capability 8.9, this GPU has 8.0" "$lacks" \
    env DS_EMULATE_CAPABILITY=80 ds-block -d cuda -i in
done_testing
