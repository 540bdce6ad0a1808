#!/bin/bash
# distill.sh [FOLDER [PROBLEMS [EPOCHS]]]: teach a small student tiny-r1's right answers
#
# FOLDER keeps answers and students: `right` learns from answers that are right, `all` from as many
# tokens of answers of any kind. The temperature of the teacher is 2, so that many are wrong.
. "$(dirname "$0")/../cookbook/begin"
folder=${1:-students} answers=${1:-students}/answers.jsonl
mkdir -p "$folder"
[ -d "$folder/start" ] || "$here/student.py" "$DS_MODEL" "$folder/start"
"$here/problems.py" --seed 3 "${2:-30000}" >"$folder/problems"
jq -c '{prompt}' "$folder/problems" | ds-run --jsonl - -T 2.0 -S 1 -n 400 --prompt-ids --out "$answers" --resume
ds-grade --expect answer --with "$folder/problems" --format think "$answers" >"$d/graded"
jq -c 'select(.reward == 2)' "$d/graded" >"$folder/right.jsonl"
tokens=$(jq '.ids | length' "$folder/right.jsonl" | awk '{ n += $1 } END { print n }')
jq -c 'select(.error | not) | "\(.ids | length) \(tojson)"' -r "$answers" |
	awk -v most="$tokens" '{ n += $1; sub(/^[0-9]+ /, "") } n <= most' >"$folder/all.jsonl"
for student in right all; do
	ds-learn -m "$folder/start" -o "$folder/$student" --state "$folder/$student.state" --sft "$folder/$student.jsonl" \
		--batch 64 --epochs "${3:-3}" --rate 2e-3 --betas 0.9,0.95 --warmup 50 --schedule cosine --clip-norm 1 --save-every 100 >>"$folder/$student.steps"
done
for model in "$DS_MODEL" "$folder/right" "$folder/all"; do
	echo "$model: $(DS_MODEL=$model "$here/pass.sh")"
done
