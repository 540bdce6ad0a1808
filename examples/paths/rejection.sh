#!/bin/bash
# rejection.sh [PROBLEMS [PATHS]]: lines to train on: right answers, each once
#
# Rejection sampling keeps the paths that a rule finds right: here the expected answer, in the
# right format, in at most 200 tokens. Each line has the prompt and the completion.
. "$(dirname "$0")/../cookbook/begin"
. "$here/problems"
problems "${1:-10}"
paths=${2:-4}

ds-run --jsonl "$d/requests" --samples "$paths" -T 1.0 -n 400 --ordered |
	ds-grade --expect answer --with "$d/problems" --format think --length 200 |
	jq -c --slurpfile problems "$d/problems" 'select(.reward == 3)
		| {prompt: $problems[.id].prompt, completion: .text}' |
	awk '!seen[$0]++'
