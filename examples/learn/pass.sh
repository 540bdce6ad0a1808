#!/bin/bash
# pass.sh [PROBLEMS]: how often is one answer right, at temperature 1?
#
# The problems are new ones of problems.py, and their words are none that tiny-r1 was trained on.
. "$(dirname "$0")/../cookbook/begin"
"$here/problems.py" --held-out --seed 300 "${1:-300}" >"$d/problems"
jq -c '{prompt}' "$d/problems" >"$d/requests"
ds-run --jsonl "$d/requests" -T 1.0 -S 1 -n 400 |
	ds-grade --expect answer --with "$d/problems" |
	jq -sr '"pass@1 \(map(.reward) | add / length * 1000 | round / 10)%"'
