#!/bin/bash
# lens.sh [QUESTION]: the rank of the right token, layer by layer (the "logit lens").
#
# ds-cut --as head addresses the residual stream of any layer to ds-head, which computes logits from
# it. The text is the question with the answer of the model. The script prints the rank of each
# answer token.
. "$(dirname "$0")/begin"
question=${1:-What is 37 * 46?}

# the prompt as text, with special tokens and without the final newline; then the answer
prompt=$(ds-tokenize -c "$question" | ds-detokenize --special; echo .)
prompt=${prompt%??}
answer=$(ds-run -g -- "$question")
start=$(ds-tokenize -b -- "$prompt" | ds-dump -f ids | wc -w)
ds-tokenize -b -a -- "$prompt$answer" | ds-embed >"$d/0"

n=0
while :; do
	# one line per token: sequence, position, id, log-probability, rank, text, ...
	ds-cut --as head <"$d/$n" | ds-head | ds-score --tokens | awk '$1 == "token"' >"$d/ranks"
	awk -v start="$start" '$3 >= start { print $6 }' "$d/ranks" | sort -n | awk -v n="$n" '
		{ rank[NR] = $1; first += $1 == 1 }
		END {
			printf "after %d layers: median rank %3d, %3d%% of %d tokens are first\n",
				n, rank[int((NR + 1) / 2)], 100 * first / NR, NR
		}'
	awk '{ print $6 }' "$d/ranks" >"$d/rank.$(printf %04d "$n")"
	[ "$n" -lt "$layers" ] || break
	ds-block -l "$n" <"$d/$n" >"$d/$((n + 1))"
	n=$((n + 1))
done

echo "the five tokens that are hardest at first, and their rank after each layer:"
awk '{ print $7 }' "$d/ranks" | paste - "$d"/rank.* | tail -n "+$((start + 1))" |
	sort -t "$(printf '\t')" -k2nr | head -n 5
