#!/bin/bash
# grpo.sh [OUT [STEPS [NOISE [RATE [BATCH [TESTS]]]]]]: make tiny-r1 better at its puzzles by GRPO
#
# OUT is the folder of the new model. OUT.jsonl has the metrics, OUT.svg the rewards. After an
# interruption the same command continues. With NOISE, such as 0.65, the start has noise on its
# experts; an empty one means none. RATE is the learning rate, BATCH the number of prompts of a
# step, TESTS that of problems before and after.
. "$(dirname "$0")/../cookbook/begin"
out=${1:-learned} start=$DS_MODEL
[ -z "${3-}" ] || start=$out.start
[ -d "$start" ] || "$here/weaken.py" "$DS_MODEL" "$start" "$3"
"$here/problems.py" --even --seed 2 20000 >"$out.problems"
jq -c '{prompt}' "$out.problems" >"$d/prompts"
echo "before: $(DS_MODEL=$start "$here/pass.sh" "${6:-300}")"
ds-learn -m "$start" -o "$out" --state "$out.state" --grpo "$d/prompts" --steps "${2:-60}" \
	--grade "ds-grade --expect answer --with $out.problems" --batch "${5:-32}" --group 8 \
	-T 1.0 -n 400 --rate "${4:-1e-5}" --clip-norm 1 --save-every 10 >>"$out.jsonl"
echo "after: $(DS_MODEL=$out "$here/pass.sh" "${6:-300}")"
"$here/curve.py" reward "$out.jsonl" >"$out.svg"
