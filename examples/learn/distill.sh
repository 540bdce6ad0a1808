#!/bin/bash
# distill.sh [FOLDER [PROBLEMS [EPOCHS [TESTS]]]]: teach a small student tiny-r1's right answers
#
# FOLDER keeps answers and students: `right` learns from answers that are right, `all` from as many
# tokens of answers of any kind. The temperature of the teacher is 2, so that many are wrong. TESTS
# is the number of problems that measure each model.
. "$(dirname "$0")/../cookbook/begin"
folder=${1:-students} answers=${1:-students}/answers.jsonl
mkdir -p "$folder"
[ -d "$folder/start" ] || "$here/student.py" "$DS_MODEL" "$folder/start"
"$here/problems.py" --seed 3 "${2:-30000}" >"$folder/problems"
jq -c '{prompt}' "$folder/problems" |
	ds-run --jsonl - -T 2.0 -S 1 -n 400 --prompt-ids --out "$answers" --resume
ds-grade --expect answer --with "$folder/problems" --format think "$answers" |
	jq -c 'select(.reward == 2)' >"$folder/right.jsonl"
tokens=$(jq '.ids | length' "$folder/right.jsonl" | awk '{ n += $1 } END { print n }')
jq -c 'select(.error | not) | "\(.ids | length) \(tojson)"' -r "$answers" |
	awk -v most="$tokens" '{ n += $1; sub(/^[0-9]+ /, "") } n <= most' >"$folder/all.jsonl"
for student in right all; do
	ds-learn -m "$folder/start" -o "$folder/$student" --state "$folder/$student.state" \
		--sft "$folder/$student.jsonl" --epochs "${3:-3}" --batch 64 --save-every 100 \
		--rate 2e-3 --warmup 50 --schedule cosine >>"$folder/$student.steps"
done
for model in "$DS_MODEL" "$folder/right" "$folder/all"; do
	echo "$model: $(DS_MODEL=$model "$here/pass.sh" "${4:-300}")"
done
