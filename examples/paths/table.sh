#!/bin/bash
# table.sh [FOLDER [PROBLEMS]]: how many answers are right, by kind of problem, with votes
#
# Prints the table of the README: the percentage of right answers of one path, and of votes of 4
# and of 16 paths, at two temperatures. The answers are kept in FOLDER. If the script is stopped,
# it goes on where it was.
. "$(dirname "$0")/../cookbook/begin"
. "$here/problems"
folder=${1:-$d} temperatures=(0.6 1.0) sizes=(1 4 16)
problems "${2:-300}"
mkdir -p "$folder"

# right K ANSWERS: a line "ID 1" or "ID 0" for each vote of K paths
right() {
	jq -c --argjson k "$1" '.id = "\(.id)/\(.index / $k | floor)"' "$2" |
		ds-vote --of "$1" |
		jq -c '.id |= (split("/")[0] | tonumber)' |
		ds-grade --expect answer --with "$d/problems" |
		jq -r '"\(.id) \(.reward)"'
}

# column TITLE: mean of the lines of right, by kind and in all
column() {
	awk -v title="$1" 'NR == FNR { kind[NR - 1] = $1; next }
		{ n[kind[$1]]++; sum[kind[$1]] += $2; n["all"]++; sum["all"] += $2 }
		END {
			print title
			for (i = 0; i in kind; i++)
				if (!seen[kind[i]]++)
					printf "%.1f\n", 100 * sum[kind[i]] / n[kind[i]]
			printf "%.1f\n", 100 * sum["all"] / n["all"]
		}' "$d/kinds" -
}

jq -r .kind "$d/problems" >"$d/kinds"
(echo kind; awk '!seen[$0]++' "$d/kinds"; echo all) >"$d/table"
for t in "${temperatures[@]}"; do
	answers=$folder/answers-$t.jsonl
	touch "$answers"
	ds-run --jsonl "$d/requests" --samples 16 -T "$t" -S 1 -n 400 --logprobs \
		--out "$answers" --resume
	for k in "${sizes[@]}"; do
		right "$k" "$answers" | column "$t, k = $k" >"$d/column"
		paste -d '|' "$d/table" "$d/column" >"$d/wider"
		mv "$d/wider" "$d/table"
	done
done
sed 's/|/ | /g; s/^/| /; s/$/ |/; 1{p;s/[^|]/-/g}' "$d/table"
