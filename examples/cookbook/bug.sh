#!/bin/bash
# bug.sh [TENSOR [ROW]]: corrupt one number of the weights; which program of which layer uses it?
#
# The bug is at the first difference between a good and a bad run. Later differences follow from it.
. "$(dirname "$0")/begin"
text='What is 37 * 46?'
[ -d "$DS_MODEL" ] || refuse "'$DS_MODEL' is no folder: ds-quant -f f32 makes one"

# keys of grouped-query attention, or the latent
keys=$(ds-info --json | jq -r 'if .num_key_value_heads then "k_proj" else "kv_a_proj_with_mqa" end')
tensor=${1:-model.layers.$((layers / 2)).self_attn.$keys.weight}
"$here/corrupt.py" "$DS_MODEL" "$d/bad" "$tensor" ${2:+"$2"}
ds-run -x stage -g -n 1 --keep "$d/good-run" "$text" >/dev/null
ds-run -x stage -g -n 1 --keep "$d/bad-run" -m "$d/bad" "$text" >/dev/null

# ds-diff searches all steps
status=0
ds-diff --json "$d/good-run" "$d/bad-run" >"$d/report" || status=$?
case $status in
0) echo "no difference: this prompt does not use that number" ;;
1)
	jq -r '.first | "found: ds-\(.stage)\(if .layer then " -l \(.layer)" else "" end), " +
		"at position \(.pos)"' "$d/report" ;;
*) exit "$status" ;;
esac
