#!/bin/sh
# ds-vote: majorities of answer lines, ties, abstentions, and how it meets its surroundings.
# only: asan leaks
# check: yes
. "${0%/*}/lib.sh"

# line ID INDEX TEXT [MORE]: an answer line
line() {
	printf '{"id": %s, "index": %s, "text": "%s"%s}\n' "$1" "$2" "$3" "${4:+, $4}"
}
# short: "ID ANSWER SHARE COUNT/TOTAL-ABSTAINED INDICES" of each result
short() {
	sed -e 's/^{"id": //; s/, "answer": / /; s/, "share": / /; s/, "count": / /' \
	    -e 's/, "total": /\//; s/, "abstained": /-/; s/, "indices": / /; s/}$//'
}

{
	line '"q"' 2 'a 1</think>\n\n1,702.0 ' '"finish_reason": "stop"'
	line 18446744073709551615 0 '3/6'
	line '"q"' 0 'a</think>It is 1702.'
	line '"q"' 1 'a</think>17'
	echo
	line '"q"' 3 '17</think>17' '"finish_reason": "length"'
	line 18446744073709551614 1 '2/6'
	line 18446744073709551615 1 'x</think>0.50'
} >lines
is "$(ds-vote --number lines | short)" '"q" "1702" 0.5 2/4-1 [0, 2]
18446744073709551615 "0.5" 1 2/2-0 [0, 1]
18446744073709551614 "1/3" 1 1/1-0 [1]' "numbers, by question, ids to the last digit"
is "$(sort -r lines | ds-vote --number | sort)" "$(ds-vote --number lines | sort)" \
    "the order of the lines has no influence"
is "$(ds-vote <lines | short | head -1)" '"q" "It is 1702." 0.25 1/4-1 [0]' \
    "of equal counts the lowest index wins"
{
	line 1 0 a '"logprobs": [-1, -2]'
	line 1 1 b '"logprobs": [-0.5, -2]'
	line 1 2 a '"logprobs": [-1, -2]'
	line 1 3 b '"logprobs": [-1, -2]'
	line 1 4 c
	line 1 5 c '"logprobs": null'
	line 2 0 '' '"answer": "of the key"'
	line 2 1 'of the key'
	line 3 0 x '"finish_reason": "stopped"'
	echo '{"id": 3, "index": 1, "finish_reason": "error", "error": "why"}'
	line 4 0 'no' ; echo '{"id": 4, "text": "yes"}'; echo '{"id": 4, "text": "yes"}'
} >ties
is "$(ds-vote ties | short)" '1 "b" 0.333333333 2/6-0 [1, 3]
2 "of the key" 1 2/2-0 [0, 1]
3 null 0 0/2-2 []
4 "yes" 0.666666667 2/3-0 [1, 2]' \
    "of equal counts the largest sum of logprobs wins; the key answer; abstentions; no index"
{
	line 1 0 'so \\boxed{\\frac{1}{2}} </think> so \\boxed{ 1/2 }'
	line 1 1 'answer: \\boxed{\\dfrac12}'
	line 1 2 'answer: 0.5, answer: 2'
} >boxes
is "$(ds-vote --boxed boxes | short)" '1 "0.5" 0.666666667 2/3-1 [0, 1]' "boxes"
is "$(ds-vote --regex 'answer: (\S*)(?=,)' --number boxes | short)" \
    '1 "0.5" 0.333333333 1/3-2 [2]' \
    "a number in the first group of a regular expression"

# one question at a time
mkfifo in
ds-vote --of 2 in >out & voter=$!
exec 3>in
{ line 1 0 a; line 2 0 b; line 2 1 b; } >&3
ok "a result is written when its last answer has come" awaited grep -q '"id": 2' out
exec 3>&-
wait $voter
is "$? $(short <out)" '0 2 "b" 1 2/2-0 [0, 1]
1 "a" 1 1/1-0 [0]' "an incomplete question comes at the end"

# what is no answer line
{
	line 1 0 a
	cat <<'EOP'
{"id": 1
[]
{"text": "a"}
{"id": [], "text": "a"}
{"id": 1, "text": 5}
{"id": 1, "index": -1, "text": "a"}
{"id": 1, "index": 0.5, "text": "a"}
{"id": 1, "index": 3}
{"id": 1, "index": 4, "text": "a", "logprobs": [NaN]}
{"id": 1, "text": "a", "logprobs": [1e999]}
{"id": 1, "id": 2, "text": "a"}
{"id": 1, "index": 0, "text": "a again"}
{"id": null, "text": "a"}
EOP
	line 2 0 "$(printf '\377')"
	printf '\0 %s\n' '{"id": 3, "text": "a"}'
	line 2 0 a
} >bad
ds-vote bad >out 2>err
is "$? $(short <out)" '1 1 "a" 1 1/1-0 [0]
2 "a" 1 1/1-0 [0]' "lines that are none are left out; the others count"
is "$(cat err)" 'ds-vote: bad: line 2: byte 8: not valid JSON: left out
ds-vote: 15 lines were left out' "the first is named, the others are counted"
while IFS='|' read -r text message; do
	printf '%s\n' "$text" >one
	fails_with 1 "^ds-vote: one: line 1: $message: left out\$" "refused: $message" ds-vote one
done <<'EOP'
{"text": "a"}|id is missing
{"id": {}, "text": "a"}|id must be a string or a number
{"id": 01, "text": "a"}|id must be a string or a number
{"id": 1, "text": "a", "index": 0.5}|index is 0.5, must be an integer
{"id": 1, "text": "a", "logprobs": ["x"]}|logprobs must be finite numbers
{"id": 1}|answer and text are missing
EOP
{ line 1 0 a; line 1 0 b; } >one
fails_with 1 'one: line 2: id 1: a second answer with index 0: left out' "a repeated index" \
    ds-vote one
{ line 1 0 "$(printf 'a%.0s' $(seq 60))!"; line 1 1 abc; } >one
fails_with 1 'one: line 1: --regex: match limit exceeded' "an expression that backtracks for ever" \
    ds-vote --regex '^(a+)+$' one
fails_with 1 "cannot open 'none'" "a missing file" ds-vote none
fails_with 2 "^ds-vote: --regex 'a\(b': .* at byte 3" "a wrong regular expression" \
    ds-vote --regex 'a(b'
fails_with 2 'do not go together' "two ways to select" ds-vote --regex a --boxed
fails_with 2 "^ds-vote: --of '0'" "--of has a range" ds-vote --of 0
fails_with 3 'standard output: cannot write' "a full disk is noticed" \
    sh -c 'ds-vote <lines >/dev/full'
is "$(ds-vote </dev/null; echo $?)" 0 "an empty input has no questions"
pipe 'yes "{\"id\": 1, \"text\": \"a\"}" | ds-vote --of 1 | head -1' >out 2>err
is "$(short <out) $(cat err)" '1 "a" 1 1/1-0 [0] ' "it ends when its output is closed"

# --early: three questions with four, two and one paths; sequence 6 is the error of a request
py - <<'EOP'
import json, os
import frame, numpy as np
tokenizer = json.load(open(os.environ["M"] + "/tokenizer.json"))
token = tokenizer["model"]["vocab"]
added = {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
five, six, think = token["5"], token["6"], added["</think>"]
def put(out, spans, **more):
    ids = np.array([s.pop() for s in spans], "<i4")
    frame.write_frame(out, {"at": "embed", "spans": spans, **more}, {"ids": ids})
def control(out, **header):
    frame.write_frame(out, header, {})
paths = [("a", i, 4) for i in range(4)] + [("b", i, 2) for i in range(2)]
with open("prompts.dsf", "wb") as out:
    for seq, (name, i, n) in enumerate(paths):
        put(out, [[seq, 0, 1, 1, added["<think>"]]],
            seqs={seq: {"request": {"id": json.dumps(name), "index": i, "n": n, "seed": 0}}})
    control(out, op="error", seq=6, text="why", request={"id": "7", "index": 0, "n": 1, "seed": 0})
    control(out, op="end")
with open("tokens.dsf", "wb") as out:
    put(out, [[s, 1, 1, 1, think] for s in range(6)])
    control(out, op="error", seq=6, text="why", request={"id": "7", "index": 0, "n": 1, "seed": 0})
    put(out, [[0, 2, 1, 4, five], [1, 2, 1, 4, five], [2, 2, 1, 1, five], [3, 2, 1, 1, six],
        [4, 2, 1, 4, five], [5, 2, 1, 1, five]])
    for s in 0, 1, 4:
        control(out, op="free", seq=s, ended={"reason": "stop", "model": "", "precision": "bf16"})
    put(out, [[2, 3, 1, 1, five], [3, 3, 1, 1, six], [5, 3, 1, 1, five]])
    put(out, [[2, 4, 1, 4, five], [3, 4, 1, 1, six], [5, 4, 1, 4, five]])
    control(out, op="free", seq=2, ended={"reason": "length", "model": "", "precision": "bf16"})
    control(out, op="free", seq=5, ended={"reason": "stop", "model": "", "precision": "bf16"})
    put(out, [[3, 5, 1, 1, six]])
    control(out, op="end")
EOP
pipe 'ds-vote --early -m "$M" --prompts prompts.dsf -v <tokens.dsf | cat' >out.dsf 2>err
is "$? $(tail -1 err)" "0 ds-vote: 1 questions decided early, 1 paths stopped" \
    "three of four agree, or abstain: the question is decided"
frame show <tokens.dsf >was
frame show <out.dsf >now
is "$(diff was now | sed '1d; s/, "tensors".*//')" '< {"at": "embed", "spans": [[3, 5, 1, 1]]
---
> {"at": "embed", "spans": [[3, 5, 1, 4]]
> {"op": "free", "seq": 3, "ended": {"reason": "stopped", "model": "", "precision": "bf16"}' \
    "the next token of its last path becomes the last one, and nothing else changes"
ds-detokenize -m "$M" --jsonl --prompts prompts.dsf <out.dsf >lines 2>/dev/null
is "$(ds-vote lines | short)" '7 null 0 0/1-1 []
"a" "5" 0.5 2/4-2 [0, 1]
"b" "5" 0.5 1/2-0 [0]' "votes on its answers"
head -c 300 prompts.dsf >prompts
ds-vote --early -m "$M" --prompts prompts -o out.dsf <tokens.dsf 2>err
is "$? $(cut -d: -f1-3 err)" "3 ds-vote: prompts: frame 3 ends after 36 of 132 bytes" \
    "prompts that are cut"
fails_with 2 '^ds-vote: --early requires --prompts$' "--early without prompts" \
    ds-vote --early -m "$M"
fails_with 2 '^ds-vote: -o is for --early$' "-o without --early" ds-vote -o x lines

# ds-run --early: of eight paths that agree, six run at a time
echo '{"id": "x", "prompt": "What is 2 * 3?", "n": 8}' >request
ds-run -m "$M" --jsonl request -T 0.6 | sort >without
ds-run -m "$M" --jsonl request -T 0.6 --early number -s | sed 's/run ds-embed/& -B 6/' >script
is "$(grep -c -e 'ds-vote.* --early .* --number |$' -e 'mkfifo.*/votes' script)" 2 \
    "ds-run -s --early"
pipe 'sh script | sort' >lines
is "$? $(wc -l <lines) $(ds-vote --number lines | cut -c1-26)" '0 8 {"id": "x", "answer": "6",' \
    "a majority of eight answers"
stopped=$(grep -c '"finish_reason": "stopped", ' lines)
ok "paths that start late are stopped: $stopped" test "$stopped" -ge 2
is "$(grep -v '"stopped"' lines | comm -23 - without)" "" \
    "the other answers are those without --early"
limited ds-run -m "$M" --jsonl request -T 0.6 --early 'regex=(.*)' --draft prompt -v >lines 2>err
is "$? $(ds-vote --number lines | cut -c1-26)" '0 {"id": "x", "answer": "6",' "with drafts, too"
for how in none 'regex (.*)'; do
	fails_with 2 "^ds-run: --early '$how': give text, number, boxed or regex=RE" \
	    "--early $how" ds-run -m "$M" --jsonl request --early "$how"
done
fails_with 2 "^ds-run: --early counts answers in JSON: give --jsonl" "--early without --jsonl" \
    ds-run -m "$M" --early text x
fails_with 2 "^ds-run: --early does not go with --plan" "--early with a plan" \
    ds-run -m "$M" --plan x --jsonl request --early text
done_testing
