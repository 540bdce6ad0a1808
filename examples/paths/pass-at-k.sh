#!/bin/bash
# pass-at-k.sh [PROBLEMS [PATHS]]: how often is one of k paths right?
#
# If c of n paths are right, k paths chosen at random contain none of them with the probability
# C(n - c, k) / C(n, k). pass@k is 1 minus its mean over all problems.
. "$(dirname "$0")/../cookbook/begin"
. "$here/problems"
problems "${1:-30}"
paths=${2:-8}

ds-run --jsonl "$d/requests" --samples "$paths" -T 1.0 -n 400 |
	ds-grade --expect answer --with "$d/problems" |
	jq -sr 'def fails($n; $c; $k):
			reduce range($k) as $i (1; . * ([$n - $c - $i, 0] | max) / ($n - $i));
		group_by(.id) | map([length, (map(.reward) | add)]) as $all
		| (1, 2, 4, 8, 16, 32, 64) as $k | select($k <= $all[0][0])
		| ($all | map(1 - fails(.[0]; .[1]; $k)) | add / length) as $pass
		| "pass@\($k) \($pass * 1000 | round / 10)%"'
