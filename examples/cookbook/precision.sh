#!/bin/sh
# precision.sh [TEXT]: where do FP8 weights and the same weights rounded to BF16 differ?
#
# Both runs are kept, a file for each step; ds-diff walks them in step, in the order of the pipeline.
set -e
here=$(cd "$(dirname "$0")" && pwd)
export DS_MODEL="${DS_MODEL:-$here/../tiny-r1}"
text=${1:-What is 37 * 46?}
d=$(mktemp -d)
trap 'rm -r "$d"' EXIT

"$here/dequantize.py" "$DS_MODEL" "$d/bf16" BF16
ds-run -x stage -n 0 --keep "$d/fp8-run" "$text"
ds-run -x stage -n 0 --keep "$d/bf16-run" -m "$d/bf16" "$text"

# the first different bit, and how the difference grows: exit status 1 says that there is one
echo "bits: $(ds-diff "$d/fp8-run" "$d/bf16-run" | head -n 1)"
ds-diff "$d/fp8-run" "$d/bf16-run" |
	awk 'NF == 13 && $3 == "h" { printf "%-6s %s: off by %s at most, the least cosine is %s\n", $1, $2, $7, $10 }'

# the first that is off by more than a thousandth of the largest number in its row
echo "a thousandth: $(ds-diff --tol 1e-3 "$d/fp8-run" "$d/bf16-run" | head -n 1)"
