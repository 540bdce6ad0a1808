#!/bin/sh
# only: asan leaks kernels
# ds-bench -d cuda: what it says adds up, and nobody can take an emulated GPU's figures for a card's.
. "${0%/*}/lib.sh"
. "$T/gpu.sh"
small="--shape $M/config.json --time 0 --limits 20,200"

ok "-d cuda: a small shape is measured" \
    sh -c 'ds-bench $1 -d cuda --decode 1@70,3@66 --prefill 5 --json --svg gpu.svg >gpu.json 2>gpu.err' - "$small"
jq -c 'select(.record != "gpu" and .part != "block")' gpu.json >checked.json
ok "bytes, operations, times and rates add up" py "$T/benched.py" checked.json "$M/config.json"
is "$(jq -c 'select(.record == "gpu") | [.kind, (.name | length > 0), .product]' gpu.json)" "[\"$gpu\",true,null]" "it says which GPU that is"
is "$(jq -r 'if .record == "limit" then .kernels else .device // empty end' gpu.json | sort | uniq -c | awk '{ print $1, $2 }')" "19 $gpu" \
    "each line says whether it is emulated"
is "$(jq -c 'select(.part == "block") | [.work, .rows, .mb > 0, .ms > 0 and .gflop_s > 0, .experts]' gpu.json | paste -sd' ')" \
    '["decode",1,true,true,null] ["decode",3,false,true,null] ["prefill",5,false,true,null]' "there is a line for whole layers"
is "$(jq -s 'map(select(.rows == 1)) | (map(select(.part != "all" and .part != "block" and .part != "head") | .mb) | add) as $parts |
    map(select(.part == "block") | .mb)[0] / $parts | . > 0.999999 and . < 1.000001' gpu.json)" true "which for one row take the bytes of their stages"
ds-bench -m "$G/v3" --limits 20,200 -d cuda --precision bf16 -l 1 --time 0.6 --decode 1@5 --prefill 0 --json >graph.json 2>/dev/null
is "$(jq 'select(.part == "block") | .steps >= 3' graph.json)" true "one row's are recorded and replayed"
emulated "and so does a warning" &&
	like "$(cat gpu.err)" '^ds-bench: this GPU is emulated: its figures say nothing about any card$' "and so does a warning"
ok "the picture as well" grep -q "($gpu), products of f32<" gpu.svg
ds-bench --shape "$M/config.json" --time 0 -d cuda --precision bf16 --weights bf16 -l 1-2 --stages attn,head --decode 2@70 --prefill 0 \
    >gpu.txt 2>gpu.err
is "$(awk '/^gpu/ { sub(/_[0-9x]*$/, "", $NF); print $NF } /^limit/ { print $3, $4, ($5 > 0 && $6 > 0) } /^stage/ { print $5, $NF }' gpu.txt |
    paste -sd,)" "cublaslt_bf16,$gpu bf16 1,attn $gpu,head $gpu,all $gpu" "its limits are measured, a part of a model in bf16, as text"
fails_with 3 "cuda:0: cannot load the GPU library: .*; it needs [0-9.]* MiB of GPU memory" "without the library it says what it needs" \
    env DS_CUDA=/nonexistent.so ds-bench $small -d cuda --decode 1
done_testing
