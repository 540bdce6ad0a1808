#!/bin/bash
# ablate.sh [LAYER [PROBLEMS]]: how many problems are solved without each expert of a layer?
#
# ds-poke runs between the router and the experts and sets the weight of one expert to 0.
. "$(dirname "$0")/begin"
layer=${1:-1} problems=${2:-8}
[ -f "$DS_MODEL/eval.jsonl" ] ||
	refuse "no eval.jsonl in '$DS_MODEL': only tiny-r1 has problems whose answers are known"
for n in "$layer" "$problems"; do
	case $n in *[!0-9]* | '') refuse "'$n': LAYER and PROBLEMS are numbers" ;; esac
done
info=$(ds-info --json)
[ "$(jq ".layers[$layer].experts" <<<"$info")" = true ] ||
	refuse "layer $layer has no experts"
experts=$(jq .n_routed_experts <<<"$info")
short='select(.right and (.reply_ids | length) < 60)'
all=$(jq -c "$short" "$DS_MODEL/eval.jsonl" | wc -l)
[ "$problems" -ge 1 ] && [ "$problems" -le "$all" ] ||
	refuse "PROBLEMS '$problems': there are 1 to $all"
mkfifo "$d/loop"

# problems of each kind that the model solves with few tokens; a NUL after each question
jq -sc --argjson n "$problems" \
	"map($short)"' | [range($n) as $i | .[($i * length / $n) | floor]][]' \
	"$DS_MODEL/eval.jsonl" >"$d/problems"
jq -j '.prompt + "\u0000"' "$d/problems" >"$d/questions"
jq -r '.answer' "$d/problems" >"$d/answers"

# solve [OPTION...]: answer all in one batch, with ds-poke OPTION... before the experts of the layer
solve() {
	ds-tokenize -c -0 <"$d/questions" | ds-embed -i - -i "$d/loop" |
		ds-block -l "0-$((layer - 1))" |
		ds-attn -l "$layer" | ds-route -l "$layer" | ds-poke "$@" | ds-expert -l "$layer" |
		ds-block | ds-head | ds-sample -g -n 80 | tee "$d/loop" |
		ds-detokenize -c -q >"$d/got"
	paste "$d/answers" "$d/got" | awk -F '\t' '$1 == $2 { n++ } END { print n + 0 }'
}

right=$(solve)
echo "layer $layer, all experts: $right of $problems right"
e=0
while [ "$e" -lt "$experts" ]; do
	right=$(solve -l "$layer" --at expert --tensor expert.w --expert "$e" --zero --allow-none)
	echo "without expert $e: $right of $problems right"
	e=$((e + 1))
done
