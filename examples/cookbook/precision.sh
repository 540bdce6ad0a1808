#!/bin/bash
# precision.sh [TEXT]: where do FP8 weights and their BF16 copy differ?
#
# Both runs are saved, one file per step. ds-diff compares them in the order of the pipeline.
. "$(dirname "$0")/begin"
[ "$(ds-info --json | jq -r .quantization)" = fp8 ] ||
	refuse "'$DS_MODEL' has no FP8 weights"
modules numpy
text=${1:-What is 37 * 46?}

"$here/dequantize.py" "$DS_MODEL" "$d/bf16" BF16
ds-run -x stage -n 0 --keep "$d/fp8-run" "$text" >/dev/null
ds-run -x stage -n 0 --keep "$d/bf16-run" -m "$d/bf16" "$text" >/dev/null

# compare [OPTION...]: write the comparison to the file `said`. Exit status 1 means a difference,
# and more than 1 an error
compare() {
	ds-diff "$@" "$d/fp8-run" "$d/bf16-run" >"$d/said" || [ $? -eq 1 ]
}

# the first bit that differs, and how the difference grows
compare
echo "bits: $(head -n 1 "$d/said")"
awk 'NF == 13 && $3 == "h" {
	printf "%-6s %s: off by %s at most, the least cosine is %s\n", $1, $2, $7, $10
}' "$d/said"

# the first value whose error exceeds a thousandth of the largest value in its row
compare --tol 1e-3
echo "a thousandth: $(head -n 1 "$d/said")"
