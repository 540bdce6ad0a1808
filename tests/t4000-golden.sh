#!/bin/sh
# The golden models, a process for every stage of every layer: each point of the forward pass
# is what the reference computed, within the case's tolerance.
# also: asan kernels
# check: yes
. "${0%/*}/lib.sh"

others=$(few "llama qwen2 qwen2-window qwen3 qwen3-moe llama-long qwen3-yarn qwen2-types" "")
for case in v2 v2-lite v3 v3-plain v3-fp8-odd v32 llama-linear qwen3-moe-mixed $others; do
	m=$G/$case
	mkdir $case
	cd $case
	layers=$(py "$T/golden.py" layers "$m")
	tap=
	[ $case != v32 ] || tap='--tap attn.index'
	line="\$PY \$T/golden.py prompt $m | ds-embed -m $m | tee embed"
	for l in $(echo "$layers" | cut -d' ' -f1); do
		line="$line | ds-attn -m $m -l $l $tap | tee attn.$l"
		line="$line | ds-route -m $m -l $l | tee route.$l"
		line="$line | ds-expert -m $m -l $l | tee out.$l"
	done
	ok "$case: a line of processes runs" pipe "$line | ds-head -m $m --tap head.norm >head"
	while read -r point what; do
		case $point-$layers in
		idx-*moe* | weight-*moe*) ;;
		idx-* | weight-*) continue ;;
		esac
		ok "$case: $what" py "$T/golden.py" compare "$m" "$point"
	done <<-'X'
	embed the embedding is right
	attn the residual after attention is right in every layer
	idx the router chooses exactly the experts that it should
	weight the experts' weights are right
	out the residual after the experts is right in every layer
	norm the final norm is right
	logits the logits are right
	X
	[ $case != v32 ] ||
	    ok "$case: the indexer chooses exactly the positions that it should" \
	        py "$T/golden.py" compare "$m" index
	ok "$case: the likeliest tokens, fed back one by one, are those of the reference" \
	    py "$T/golden.py" greedy "$m" "ds-embed -m $m | ds-block -m $m | ds-head -m $m"
	mkfifo loop
	is "$(pipe "\$PY \$T/golden.py ask $m | ds-embed -m $m -i - -i loop | ds-block -m $m | ds-head -m $m |
	    ds-sample -m $m | tee loop | ds-dump -f ids")" "$(py "$T/golden.py" answer "$m")" \
	    "$case: and so are those that ds-sample sends round the loop"
	cd ..
done
done_testing
