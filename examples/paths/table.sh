#!/bin/bash
# table.sh [PART [PROBLEMS [FOLDER]]]: the tables of the README
#
# PART votes (the default): the percentage of right answers of one path, and of votes of 4 and of
# 16 paths, by kind of problem, at two temperatures. The answers are kept in FOLDER. If the script
# is stopped, it goes on where it was. 300 problems.
#
# PART drafts: how many guesses are accepted, and tokens a second with and without them. The model
# runs in one ds-block, in a process a stage, and on two hosts, which are processes of this machine.
# One sequence at a time, at temperature 0.6. 24 problems.
. "$(dirname "$0")/../cookbook/begin"
. "$here/problems"
part=${1:-votes}

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

# votes [FOLDER]
votes() {
	local folder=${1:-$d} answers t k

	mkdir -p "$folder"
	jq -r .kind "$d/problems" >"$d/kinds"
	(echo kind; awk '!seen[$0]++' "$d/kinds"; echo all) >"$d/table"
	for t in 0.6 1.0; do
		answers=$folder/answers-$t.jsonl
		touch "$answers"
		ds-run --jsonl "$d/requests" --samples 16 -T "$t" -S 1 -n 400 --logprobs \
			--out "$answers" --resume
		for k in 1 4 16; do
			right "$k" "$answers" | column "$t, k = $k" >"$d/column"
			paste -d '|' "$d/table" "$d/column" >"$d/wider"
			mv "$d/wider" "$d/table"
		done
	done
	cat "$d/table"
}

# answer KIND QUESTION OPTION...: answer the question with drafts of this kind, and print a line
# "KIND TOKENS SECONDS GUESSES ACCEPTED" from the last line of ds-run -v
answer() {
	local kind=$1 question=$2
	shift 2
	ds-run -v -T 0.6 -S 1 -n 400 --draft "$kind" "$@" "$question" >"$d/answer-$kind" \
		2>"$d/log" || { cat "$d/log" >&2; return 1; }
	cmp "$d/answer-$kind" "$d/answer-none" >&2
	sed -n 's|^ds-run: .* \([0-9]*\) generated, \([0-9.]*\) tokens/s.*|\1 \2 &|p' "$d/log" |
		awk -v kind="$kind" '{
			guesses = accepted = 0
			if (match($0, /[0-9]+ of [0-9]+ guesses/)) {
				split(substr($0, RSTART), word, " ")
				accepted = word[1]
				guesses = word[3]
			}
			print kind, $1, $1 / $2, guesses, accepted
		}'
}

# speeds TITLE: a row of the table, from the lines of answer
speeds() {
	awk -v title="$1" '
		{ tokens[$1] += $2; seconds[$1] += $3; guesses[$1] += $4; accepted[$1] += $5 }
		END {
			none = tokens["none"] / seconds["none"]
			printf "%s|%.0f", title, none
			n = split("mtp prompt", kind, " ")
			for (i = 1; i <= n; i++) {
				speed = tokens[kind[i]] / seconds[kind[i]]
				printf "|%.0f|%.2f", speed, speed / none
				if (guesses[kind[i]])
					printf "|%.1f%%", 100 * accepted[kind[i]] / guesses[kind[i]]
				else
					printf "|-"
			}
			print ""
		}'
}

# Each question is asked in all ways before the next, so that other load on the machine hits all
# ways alike. Each program has one thread, as in the plan.
drafts() {
	local ways=("one ds-block" "a process a stage" "two hosts") way kind question options

	printf '%s 1 8 10 addr=%s\n' alpha 127.0.0.1 beta 127.0.0.2 >"$d/hosts"
	ds-plan --unsafe --port $((20000 + RANDOM % 10000)) "$d/hosts" >"$d/plan"
	jq -r .prompt "$d/problems" | while read -r question; do
		for way in "${ways[@]}"; do
			case $way in
			one*) options=(-t 1) ;;
			a*) options=(-t 1 -x stage) ;;
			two*) options=(--plan "$d/plan") ;;
			esac
			for kind in none mtp prompt; do
				answer "$kind" "$question" "${options[@]}" >>"$d/$way"
			done
		done
	done
	echo "|none|mtp|ratio|accepted|prompt|ratio|accepted"
	for way in "${ways[@]}"; do
		speeds "$way" <"$d/$way"
	done
}

case $part in
votes)
	problems "${2:-300}"
	votes "${3-}" >"$d/lines" ;;
drafts)
	[ $# -lt 3 ] || refuse "FOLDER is for votes"
	problems "${2:-24}"
	drafts >"$d/lines" ;;
*) refuse "PART '$part': give votes or drafts" ;;
esac
sed 's/|/ | /g; s/^/| /; s/$/ |/; 1{p;s/[^|]/-/g}' "$d/lines"
