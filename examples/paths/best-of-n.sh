#!/bin/bash
# best-of-n.sh [QUESTION [PATHS]]: the path that a reward prefers
#
# The reward is the mean log-probability of the tokens, computed by a command: jq reads each
# answer line and prints a number. A reward model would be another command.
. "$(dirname "$0")/../cookbook/begin"
question=${1:-Sort these numbers: 71 50 939 545 19} paths=${2:-16}
reward='.logprobs | add / length'

jq -nc --arg q "$question" '{prompt: $q}' |
	ds-run --jsonl - --samples "$paths" -T 1.0 -n 400 --logprobs |
	ds-grade --command "jq --unbuffered '$reward'" |
	jq -sc 'max_by(.reward) | {id, index, answer, reward}'
