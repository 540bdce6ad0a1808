#!/bin/bash
# experts.sh [TEXT]: which experts does a prompt use?
#
# The router writes its choices into the stream as the tensors expert.idx and expert.w. ds-stat
# counts them.
. "$(dirname "$0")/begin"

[ "$(ds-info --json | jq .n_routed_experts)" -gt 0 ] ||
	refuse "'$DS_MODEL' has no routed experts"

# one process per step, so that the stream between router and experts can be saved; no new token
ds-run -x stage -n 0 --keep "$d/run" "${1:-What is 37 * 46?}" >/dev/null

# for each layer: the balance of the load, then EXPERT:POSITIONS in order of load
ds-stat --experts -i "$d/run" >"$d/stat"
awk '
	$1 == "router" {
		printf "layer %d: %d positions, %d experts each; ", $2, $3, $4
		printf "%d of %d used, ", $6, $5
		printf "the busiest %.1f times the mean\n", $8
	}
' "$d/stat"
awk '$1 == "expert" { print $2, $3, $4 }' "$d/stat" | sort -k1n -k3nr -k2n | awk '
	$1 != layer { printf "%slayer %d:", layer == "" ? "" : "\n", layer = $1 }
	{ printf " %d:%d", $2, $3 }
	END { print "" }'
