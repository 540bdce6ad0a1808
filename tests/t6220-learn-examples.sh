#!/bin/sh
# The scripts of examples/learn run and write what they promise.
. "${0%/*}/lib.sh"
learn=$R/examples/learn
[ -e /usr/share/dict/words ] || skip_all "no /usr/share/dict/words (wamerican)"
mkdir tmp python
ln -s "${PYCLIENT:-$(command -v "$PY")}" python/python3
export TMPDIR="$S/tmp" PATH="$S/python:$PATH"

# script NAME [ARG...]: run it; its output is in out
script() {
	script=$1; shift
	ok "$script${1:+ $*} runs" \
	    sh -c 'timeout -k 2 60 "$@" >out 2>err && test ! -s err' - "$learn/$script" "$@"
	is "$(ls tmp)" "" "and leaves nothing in TMPDIR"
}

for f in "$learn"/*; do
	grep -q "\](${f##*/})" "$learn/README.md" || [ "${f##*/}" = README.md ] || echo "${f##*/}"
done >missing
is "$(cat missing)" "" "the README lists each file"
for f in "$learn"/*.sh; do
	like "$("$f" -h | head -1)" "^${f##*/} \[.*\]: " "${f##*/} -h prints what it is for"
	is "$(grep -vc '^ *\(#\|$\)' "$f" | awk '$1 > 20')" "" "it has at most 20 lines of shell"
done
for f in "$learn"/*.py; do
	"$f" -h >help && grep -q "${f##*/}" help || echo "${f##*/}"
done >silent
is "$(cat silent)" "" "each Python program has -h"

script problems.py --held-out 3
is "$(jq -c keys out | uniq)" '["answer","kind","prompt"]' "problems with their answers"
script grpo.sh "$S/new" 1 0.65 1e-5 2 2
is "$(sed 's/[0-9.]*%$//' out | xargs)" "before: pass@1 after: pass@1" "pass@1 before and after"
is "$(jq -c '[.step, .answers, .exact == .tokens]' new.jsonl)" "[1,16,true]" \
    "one step on 16 answers, with ratios of exactly 1"
ok "a curve" grep -q '</svg>' new.svg
cmp -s new.start/model.safetensors "$M/model.safetensors"
is $? 1 "the start is weaker"
script grpo.sh "$S/new" 2 0.65 1e-5 2 1
is "$(jq .step new.jsonl | xargs)" "1 2" "the same command goes on"
fails_with 1 "^curve.py: none: No such file" "a missing file is one line" \
    "$learn/curve.py" loss new.jsonl none

script distill.sh "$S/students" 4 1 1
is "$(sed 's/.*\///; s/ [0-9.]*%$//' out | xargs)" \
    "2226560 parameters tiny-r1: pass@1 right: pass@1 all: pass@1" \
    "pass@1 of the teacher and two students"
tokens() {
	jq '.ids | length' "$1" | awk '{ n += $1 } END { print n }'
}
ok "both learned, from as many tokens at most" \
    test "$(tokens students/all.jsonl)" -le "$(tokens students/right.jsonl)"
is "$(jq -s 'length' students/right.steps students/all.steps)" 2 "in one step each"
is "$(cd students && wc -c <right/model.safetensors)" \
    "$(wc -c <students/start/model.safetensors)" "a student keeps its size"
done_testing
