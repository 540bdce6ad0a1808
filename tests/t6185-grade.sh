#!/bin/sh
# ds-grade: rules, weights, workers that fail in every way, and how it meets its surroundings.
# only: asan leaks
# check: yes
. "${0%/*}/lib.sh"

# rewards: what was added to each line
rewards() {
	grep -o ', "reward.*' | sed 's/^, "reward": //; s/}$//'
}

cat >requests <<'EOP'
{"id": 7, "prompt": "?", "solution": 1702}
{"prompt": "?", "solution": "x = 1,702"}

{"id": "q", "prompt": "?", "solution": "none"}
{"id": "b", "prompt": "?", "solution": "\\frac{1}{2}", "meta": {"a": [1, "}"]}}
EOP
cat >answers <<'EOP'
{"id": 7, "index": 0, "text": "a</think>It is 1702.", "seed": 18446744073709551615, "ids": [1, 2]}
{"id": 1, "index": 0, "text": "<think>\na</think>1702.0", "usage": {"completion_tokens": 3}}  
{"id": 1, "index": 1, "text": "a</think>1702", "ids": [1, 2, 3], "finish_reason": "length"}
{"id": 1, "index": 2, "text": "a</think> ", "usage": {"completion_tokens": 4}}
{"id": 1, "index": 3, "text": "1702", "ids": [1, 2, 3, 4]}
{"id": 1, "index": 4, "text": "a</think></think>1703", "ids": []}
{"id": 1, "index": 5, "answer": null, "text": "1702", "ids": []}
EOP
ds-grade --expect solution --with requests --number answers >out
is "$? $(rewards <out | xargs)" "0 1 1 0 0 1 0 0" "the expected answer, as a number"
is "$(sed 's/, "reward": [01]}$/}/' out)" "$(sed 's/ *$//' answers)" \
    "order and bytes of the lines stay, digits of 64 bits, too"
is "$(ds-grade --format think answers 2>/dev/null | rewards | xargs)" "1 1 0 0 0 0 0" "the format"
is "$(ds-grade --length 3 answers | rewards | xargs)" "1 1 1 0 0 1 1" "the length"
is "$(ds-grade --length 3 --expect solution --with requests --number --format think \
    --weights 0.1,1,-0.25 answers | sed -n '2p; 3p' | rewards)" \
'0.85, "rewards": {"length": 1, "expect": 1, "format": 1}
0.1, "rewards": {"length": 1, "expect": 0, "format": 0}' "weights, in the order of the rules"
cat >boxed <<'EOP'
{"id": "b", "text": "\\boxed{0.5}"}
{"id": "b", "text": "\\boxed{\\dfrac24}"}
{"id": "b", "text": "0.5"}
EOP
is "$(ds-grade --expect solution --with requests --boxed boxed | rewards | xargs)" "1 1 0" "boxes"
cat >own <<'EOP'
{"id": 1, "text": "the answer: b", "label": "b"}
{"id": 1, "text": "the answer: b", "label": "so the answer: b, or c"}
{"id": 1, "text": "the answer: true", "label": true}
{"id": 1, "text": "the answer: c", "label": "b"}
EOP
is "$(ds-grade --expect label --regex 'answer: (\w+)' own | rewards | xargs)" "1 1 1 0" \
    "a key of the line itself, by a regular expression"
ds-vote --number answers | ds-grade --expect solution --with requests --number >out
is "$(rewards <out | xargs)" "1 1" "it grades votes"

# lines that have no reward
cat >bad <<'EOP'
{"id": 8, "text": "1"}
not JSON
{"id": "q", "text": "1"}
{"text": "1"}
{"id": 7, "text": 5}
{"id": 7, "text": "1", "reward": 1}

{"id": 7, "text": "1702"}
EOP
ds-grade --expect solution --with requests --number bad >out 2>err
is "$? $(rewards <out)" "1 null, \"reward_error\": \"'requests' has no id 8\"
null, \"reward_error\": \"solution has nothing to compare\"
null, \"reward_error\": \"id is missing\"
null, \"reward_error\": \"text is 5, must be a string\"
1" "a line without a reward has the reason"
is "$(cat err)" "ds-grade: bad: line 2: byte 0: not valid JSON: left out
ds-grade: 2 lines were left out
ds-grade: 4 of 5 lines have no reward" "what is no line of answers is left out, and counted"
echo '{"id": 7, "solution": 5}' >>requests
fails_with 1 'requests: line 6: id 7 appears twice' "an id that is twice in FILE" \
    ds-grade --expect solution --with requests answers
fails_with 1 'requests: line 1: other is missing' "a key that is missing in FILE" \
    ds-grade --expect other --with requests answers
sed -i '$d' requests

# commands
is "$(ds-grade --command 'while IFS= read -r l; do echo ${#l}; done' answers | rewards | xargs)" \
    "$(awk '{ print length }' answers | xargs)" "a command gets each line; the reward is its number"
ds-grade -j 3 --command 'sh -c "IFS= read -r l; sleep 0.0\${#l}; echo \${#l}"' answers >out
is "$(rewards <out | xargs)" "$(awk '{ print length }' answers | xargs)" \
    "three processes for a line each: the order stays"
is "$(ds-grade --with requests --command 'while read -r l; do case $l in
    *"\"with\": {\"id\": \"b\", "*"\"a\": [1, \"}\"]}}}") echo 1;; *) echo 0;; esac; done' boxed |
    rewards | xargs)" "1 1 1" "it gets the line of FILE, too"
cat >fails <<'EOP'
#!/bin/sh
while read -r l; do
	case $l in
	*'"index": 1'*) exit 7 ;;
	*'"index": 3'*) echo nan ;;
	*'"index": 4'*) kill -9 $$ ;;
	*'"index": 5'*) exec <&- >&-; sleep 100 ;;
	*) echo 2 ;;
	esac
done
EOP
chmod +x fails
for j in 1 4; do
	ds-grade -j $j --command 'exec ./fails' answers >out.$j 2>err
	is "$? $(cat err)" "1 ds-grade: 4 of 7 lines have no reward" \
	    "$j workers that fail cost their lines"
done
is "$(rewards <out.1)" '2
2
null, "reward_error": "the command ended with status 7"
2
null, "reward_error": "the command answered '"'nan'"', not a number"
null, "reward_error": "the command was ended by signal 9"
null, "reward_error": "the command closed its input or output"' "each has its reason"
is "$(head -2 answers | ds-grade --timeout 0.3 --command 'sleep 100' 2>err | rewards | uniq)" \
    'null, "reward_error": "the command did not answer within 0.3 s"' \
    "nor is one that hangs awaited"
same out.1 out.4 "the number of workers has no influence"
big=$(printf '%0200000d' 1)
printf '{"id": 1, "text": "%s"}\n' "$big" "$big" >big
is "$(ds-grade --command 'echo 1; sleep 100' big 2>/dev/null | rewards | sort -u | cut -c1-70)" \
    'null, "reward_error": "the command answered before it read the line"' \
    "one that does not read a long line"
is "$(ds-grade --command 'while IFS= read -r l; do echo ${#l}; done' big | rewards | xargs)" \
    "200021 200021" "lines that no pipe holds at once"
fails_with 1 'answered more lines than it got: rewards may belong to other lines$' \
    "an answer too many" ds-grade --command 'while read -r l; do echo 1; done; echo 2' answers
fails_with 3 "^ds-grade: 'nothing-like-it' cannot be run: exit status 127" \
    "a command that is missing" \
    sh -c "ds-grade --command nothing-like-it answers 2>&1 | grep ^ds- >&2; exit 3"
mkfifo in
ds-grade --command 'while read -r l; do echo 3; done' in >out & grader=$!
exec 3>in
head -1 answers >&3
ok "a line is written when it is graded" awaited grep -q '"reward": 3' out
exec 3>&-
wait $grader
is "$? $(wc -l <out)" "0 1" "and it ends with its input"

while IFS='|' read -r options message; do
	fails_with 2 "^ds-grade: $message" "refused: $options" ds-grade $options
done <<'EOP'
|no rule: give --expect, --format, --length or --command
--format json|--format 'json': give think
--expect answer|--expect answer: .* give --with FILE
--expect a --weights 1,2|--weights '1,2': give 1 numbers
--expect a --length 3 --weights 1|--weights '1': give 2 numbers
--length 1 --number|--number, --boxed and --regex need --expect
--expect a --boxed --regex a|--regex and --boxed do not go together
--length 1 --with requests|--with needs --expect or --command
--length 1 -j 2|-j needs --command
--length 1 --length 2|--length appears twice
EOP
fails_with 3 'standard output: cannot write' "a full disk is noticed" \
    sh -c 'ds-grade --length 1 answers >/dev/full'
for rule in '--length 1' "--command 'while read -r l; do echo 1; done'"; do
	pipe "yes '{\"id\": 1, \"text\": \"a\", \"ids\": []}' | ds-grade $rule | head -1" >out 2>err
	is "$(wc -l <out) $(cat err)" "1 " "$rule: it ends when its output is closed"
done
done_testing
