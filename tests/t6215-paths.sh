#!/bin/sh
# The scripts of examples/paths run and show what they promise.
. "${0%/*}/lib.sh"
paths=$R/examples/paths
mkdir tmp
export TMPDIR="$S/tmp"

# script NAME [ARG...]: run it; its output is in out
script() {
	script=$1; shift
	ok "$script${1:+ $*} runs" \
	    sh -c 'timeout -k 2 40 "$@" >out 2>err && test ! -s err' - "$paths/$script" "$@"
	is "$(ls tmp)" "" "and leaves nothing in TMPDIR"
}

for f in "$paths"/*; do
	grep -q "\](${f##*/})" "$paths/README.md" || [ "${f##*/}" = README.md ] || echo "${f##*/}"
done >missing
is "$(cat missing)" "" "the README lists each file"
for f in "$paths"/*.sh; do
	grep -q "^script ${f##*/}" "$T/${0##*/}" || echo "${f##*/}"
done >missing
is "$(cat missing)" "" "each script is tried here"
for f in "$paths"/*.sh; do
	like "$("$f" -h | head -1)" "^${f##*/} \[.*\]: " "${f##*/} -h prints what it is for"
done
fails_with 2 "no eval.jsonl" "a model without problems is refused" \
    env DS_MODEL="$G/v2" "$paths/rejection.sh"
fails_with 2 "PROBLEMS '0': there are 1 to 300" "so are no problems" "$paths/pass-at-k.sh" 0

script self-consistency.sh "What is 2 * 3?" 2
is "$(cut -c1-52 out)" '{"id": 0, "answer": "6", "share": 1, "count": 2, "to' "the majority"
script best-of-n.sh "What is 2 * 3?" 2
is "$(jq -c '[.id, .answer, .reward < 0 and .reward > -0.5]' out)" '[0,"6",true]' \
    "the most probable path"
script pass-at-k.sh 2 2
is "$(sed 's/ [0-9.][0-9.]*%$//' out | xargs)" "pass@1 pass@2" "pass@k for each k that is possible"
script rejection.sh 2 2
is "$(jq -s 'length > 0 and all(.[]; .completion | test("</think>"))' out)" true "lines to train on"
script table.sh votes 1 "$S/kept"
is "$(head -1 out | tr -d ' |')" "kind0.6,k=10.6,k=40.6,k=161.0,k=11.0,k=41.0,k=16" "columns"
is "$(tail -n +3 out)" '| add | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 |
| all | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 |' "a table"
sed -i '3,$d' kept/answers-*
cp out first
script table.sh votes 1 "$S/kept"
same out first "a run that was stopped goes on"
script table.sh drafts 1
is "$(sed 's/ [0-9.][0-9.]*%\{0,1\} |/ x |/g; 2d' out)" \
    '|  | none | mtp | ratio | accepted | prompt | ratio | accepted |
| one ds-block | x | x | x | x | x | x | x |
| a process a stage | x | x | x | x | x | x | x |
| two hosts | x | x | x | x | x | x | x |' "speeds, and shares of guesses"
is "$(awk -F'|' 'NR > 2 { print $6 }' out | sort -u | xargs)" "97.4%" "the same guesses in all ways"
fails_with 2 "FOLDER is for votes" "no folder for drafts" "$paths/table.sh" drafts 1 kept
fails_with 2 "PART 'draft'" "an unknown part is refused" "$paths/table.sh" draft

# pass@k against its definition
cat >graded <<'EOP'
{"id": 0, "reward": 1}
{"id": 0, "reward": 0}
{"id": 0, "reward": 0}
{"id": 0, "reward": 0}
EOP
awk '/jq -sr/ { on = 1; sub(/.*jq -sr ./, "") } on' "$paths/pass-at-k.sh" | sed "s/'\$//" >formula
is "$(jq -srf formula graded | xargs)" "pass@1 25% pass@2 50% pass@4 100%" "one of four is right"
done_testing
