#!/bin/sh
# A step of learning has one result: equal bytes for every cut, thread count, kernel and batching.
# also: asan
# first: yes
. "${0%/*}/lib.sh"

# sequences of one page of 64 positions and of several, at the bounds as well
cat >make.py <<'X'
import json, random
r = random.Random(6)
for n in 150, 65, 64, 9:
    ids = [r.randrange(300) for _ in range(n)]
    weights = [0] + [r.choice([0, 0.5, 1]) for _ in range(n - 2)] + [1]
    print(json.dumps({"ids": ids, "weights": weights}))
X
py make.py >sft

# step NAME COMMAND...: its checkpoint is in NAME; its metrics, but for the time, in NAME.line
step() {
	step_name=$1; shift
	limited "$@" >lines 2>err &&
	    jq -c 'del(.tokens_per_second, .seconds)' lines >"$step_name.line"
}

# equal NAME DESC: the same as fused
equal() {
	cmp "$1/model.safetensors" fused/model.safetensors >why 2>&1 &&
	    cmp "$1.line" fused.line >>why 2>&1
	report $? "$2" why err
}

for m in v3 qwen3; do
	rm -rf fused* layer* stage* two* ref* frames* split*
	export DS_MODEL="$G/$m"
	learn="ds-learn --sft sft --batch 4 --steps 1 --rate 1e-2 --clip-norm 1"
	step fused $learn -t 1 -o fused
	report $? "$m: a step of one process for all layers" err
	cmp -s fused/model.safetensors "$DS_MODEL/model.safetensors"
	is $? 1 "$m: it has changed the weights"
	step two $learn -t 2 -o two
	equal two "$m: two threads"
	DS_KERNELS=ref step ref $learn -t 1 -o ref
	equal ref "$m: scalar kernels"
	step frames $learn -t 1 --rows 1 -o frames
	equal frames "$m: a frame for each sequence"
	step layer $learn -t 1 -x layer -o layer
	equal layer "$m: a process for each layer"
	step stage $learn -t 1 -x stage -o stage
	equal stage "$m: a process for each stage"
	[ $m = v3 ] || continue
	$learn -t 1 -x stage -s -o split |
	    sed 's/^run ds-expert .*/&\n&/' |
	    sed '/^run ds-expert/{s/ -l / -e 0-2 -l /;n;s/ -l / -e 3-15,s -l /}' >script
	is "$(grep -c 'ds-expert.* -e ' script)" 8 \
	    "$m: the script of that, with the experts of each layer in two processes"
	step split sh script
	equal split "$m: experts apart, from a script"
done
done_testing
