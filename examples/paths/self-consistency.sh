#!/bin/bash
# self-consistency.sh [QUESTION [PATHS]]: the answer on which most paths agree
#
# The paths share one prefill. Each is sampled with random numbers of its own.
. "$(dirname "$0")/../cookbook/begin"
question=${1:-Sort these numbers: 71 50 939 545 19} paths=${2:-16}

jq -nc --arg q "$question" '{prompt: $q}' |
	ds-run --jsonl - --samples "$paths" -T 1.0 -n 400 |
	ds-vote
