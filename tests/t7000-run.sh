#!/bin/sh
# ds-run: the same text however the work is cut, and by the shell script that it shows.
# also: asan
# check: yes
. "${0%/*}/lib.sh"

reply() {       # reply N: the recorded greedy reply to problem N, as a chat prints it
	py -c 'import json, sys
print([json.loads(l) for l in open(sys.argv[1])][int(sys.argv[2])]["reply"])' "$M/eval.jsonl" "$1"
}
prompt() {
	py -c 'import json, sys
print([json.loads(l) for l in open(sys.argv[1])][int(sys.argv[2])]["prompt"])' "$M/eval.jsonl" "$1"
}
run() { ds-run -m "$M" -g "$@"; }

a=$(prompt 0) b=$(prompt 1)
{ reply 0; reply 1; } >two.expected
reply 1 >one.expected
awk '/<\/think>/ { getline; getline; print }' two.expected >answers.expected

for x in fused layer stage; do
	ok "-x $x answers" sh -c 'ds-run -m "$M" -g -x "$1" "$2" "$3" >out' - $x "$a" "$b"
	same out two.expected "the replies are those recorded: -x $x"
	run -x $x -s "$a" "$b" >script
	ok "the script of -x $x runs in dash" sh -c 'cd / && sh "$S/script" >"$S/out" 2>"$S/said"'
	same out two.expected "it prints the same: -x $x"
	same said /dev/null "and says nothing: -x $x"
done
is "$(grep -c '^run ds-' script)" 17 "-x stage is a line for each stage"
is "$(grep -c 'tee "\$dir/loop"' script)" 1 "and a tee for the loop"

export n=$(few 4 1)
ok "$((25 * n)) prompts are answered" sh -c '
	"$PY" -c "import json, sys, subprocess
q = [json.loads(l) for l in open(sys.argv[1])][:25]
out = subprocess.run([\"ds-run\", \"-m\", sys.argv[2], \"-g\", \"-q\"] + int(sys.argv[3]) * [x[\"prompt\"] for x in q], stdout=subprocess.PIPE, check=True).stdout.decode().split(\"\n\")
sys.exit(out != int(sys.argv[3]) * [x[\"reply\"].split(\"</think>\")[1].strip() for x in q] + [\"\"])" "$M/eval.jsonl" "$M" "$n"'

once || done_testing

printf %s "$b" | run >out
same out one.expected "standard input is a prompt"
run -s >script
printf %s "$b" | sh script >out
same out one.expected "it is for the script, too"
printf %s "$b" | DS_MODEL=$M ds-run -g >out
same out one.expected "DS_MODEL stands in for -m"
printf '%s\n' "$b" | run >out
same out one.expected "the newline that ends a line is no part of it"
run -q "$a" "$b" >out
same out answers.expected "-q prints the answers alone"
run -t 1 "$a" "$b" >out
same out two.expected "with one thread as well"
ok "a prompt may begin with a dash, behind --" sh -c 'ds-run -m "$M" -g -n 3 -- -5+3 | grep -q .'

ok "-w goes on with a text" sh -c '
	ds-run -m "$M" -g -w -n 12 "4 + 4" >out && mkfifo loop &&
	ds-tokenize -m "$M" "4 + 4" | ds-embed -m "$M" -i - -i loop | ds-block -m "$M" | ds-head -m "$M" |
	ds-sample -m "$M" -g -n 12 | tee loop | ds-detokenize -m "$M" >hand'
same out hand "and does so as the line by hand"

ds-run -m "$M" -T 3 -S 7 -k 50 -p 0.99 -n 40 "$a" "$b" >out
ds-run -m "$M" -T 3 -S 7 -k 50 -p 0.99 -n 40 -x layer "$a" "$b" >again
same out again "sampling at random with a seed is the same for any cut"
ds-run --model "$M" --temperature 3 --seed=7 --top-k 50 --top-p=0.99 --max-tokens 40 --threads 1 "$a" "$b" >again
same out again "words stand for letters"
ds-run --mod="$M" --gre --max 12 --comp "4 + 4" >again
same hand again "a word may be shortened"
ds-run -m "$M" -T 3 -S 7 -k 50 -p 0.99 -n 40 -s "$a" "$b" >script
sh script >again
same out again "and in the script"
ds-run -m "$M" -T 3 -S 8 -k 50 -p 0.99 -n 40 "$a" "$b" >again
ok "another seed says other things" sh -c '! cmp -s out again'

# what the shell could take for its own
ln -s "$M" "it's \$HOME model"
odd="it's \"\$HOME\" \`x\` \\n
* ; | & \$(ls) 'a'"
ds-run -m "it's \$HOME model" -g -n 20 -- "$odd" "-c" "" >out
ds-run -m "it's \$HOME model" -g -n 20 -s -- "$odd" "-c" "" >script
ok "a script with odd prompts and paths runs" sh -c 'cd / && sh "$S/script" >"$S/again"'
same out again "it quotes them"

printf 'Q: {}\nA:' >template
ds-run -m "$M" -g -n 8 --template template hello >out
ds-run -m "$M" -g -n 8 -w "Q: hello
A:" >again
ok "--template takes another chat template" test -s out
ds-run -m "$M" -g -n 8 --template template -s hello >script
ok "the script finds it from elsewhere" sh -c 'cd / && sh "$S/script" >"$S/again"'
same out again "and prints the same with it"

ds-run -m "$M" -g -v "$a" "$b" >out 2>said
same out two.expected "-v changes nothing that is printed"
p=$(ds-tokenize -m "$M" -c "$a" "$b" | ds-dump -f ids | wc -w)
g=$(py -c 'import json, sys
print(sum(len(json.loads(l)["reply_ids"]) for l in list(open(sys.argv[1]))[:2]))' "$M/eval.jsonl")
like "$(cat said)" "^ds-run: $((p)) prompt tokens, $g generated, [0-9.]+ tokens/s, the first after [0-9]+ ms$" "-v counts tokens"
is "$(wc -l <said | tr -d ' ')" 1 "in one line"
run -vv -q "$a" >out 2>said
like "$(cat said)" "^ds-sample: [0-9]+ tokens$" "-vv lets each program speak"

# --- prompts from a file ---
ds-run -m "$M" -g -q "$a" "" "$b" >three.expected
printf '%s\n\n%s\n' "$a" "$b" >lines
printf '%s\r\n\r\n%s' "$a" "$b" >windows
printf '%s\0\0%s\0' "$a" "$b" >nuls
run -q --lines lines >out
same out three.expected "--lines: each line is a prompt, an empty one too"
run -q --lines windows >out
same out three.expected "lines may end in CR and newline, the last in nothing"
run -q --lines - <lines >out
same out three.expected "- is standard input"
run -q -0 nuls >out
same out three.expected "-0: each prompt ends in a NUL"
head -c -1 nuls | run -q -x layer -0 - >out
same out three.expected "the last NUL may be missing"
printf 'a\rb\r\n\r\r\n\r' >odd
printf 'a\rb\0\r\0\r' >same-odd
ds-tokenize -m "$M" --lines <odd >odd.dsf
ds-tokenize -m "$M" -0 <same-odd >want.dsf
same odd.dsf want.dsf "a CR that ends no line stays, as does all but one before a newline"
printf 'two\nlines\0' | run -n 1 -0 - >out
ds-run -m "$M" -g -n 1 "two
lines" >want
same out want "with -0 a prompt has several lines"
is "$(run --lines /dev/null; run -0 /dev/null; echo $?)" 0 "an empty file has no prompts and no answers"
mkfifo asks
{ timeout "$LIMIT" ds-run -m "$M" -g -q --lines asks >out; } &
exec 4>asks
printf '%s\n' "$a" >&4
ok "a line is answered before the next has come" awaited test -s out
exec 4>&-
wait
run -q -s --lines lines >script
ok "the script finds the file from elsewhere" sh -c 'cd / && sh "$S/script" >"$S/out"'
same out three.expected "and prints the same"
run -q -s -0 - >script
sh script <nuls >out
same out three.expected "or reads its standard input"
fails_with 3 "^ds-run: cannot open 'nowhere'" "no such file" ds-run -m "$M" --lines nowhere
fails_with 3 "^ds-run: '/' is a folder" "a folder" ds-run -m "$M" -0 /
fails_with 2 "^ds-run: 'lines' has the prompts" "a file and an operand" ds-run -m "$M" --lines lines hello
fails_with 2 "^ds-run: -0, --lines, --messages" "two files" ds-run -m "$M" --lines lines -0 nuls

# --- conversations from a file ---
py - <<'EOP'
import json
c = [{"role": "user", "content": "What is 37 * 46?"}, {"role": "assistant", "content": "x</think>1702"}, {"role": "user", "content": "What is 3 + 4?"}]
open("talk", "w").write(json.dumps(c) + json.dumps({"messages": c[:1]}, indent=1))
EOP
ds-tokenize -m "$M" -b --messages talk | ds-detokenize -m "$M" --special -0 >prompts
run -w -0 prompts >want
run --messages talk >out
same out want "--messages: an answer to each conversation"
run --messages - <talk >out
same out want "also of standard input"
run --messages talk -s >script
ok "the script finds the file from elsewhere" sh -c 'cd / && sh "$S/script" >"$S/out"'
same out want "and prints the same"
echo '{{ bos_token }}<｜User｜>{{ messages[0].content }}<｜Assistant｜>{% if thinking %}<think>{{ "\n" }}{% endif %}' >think.jinja
is "$(run --template think.jinja --thinking on "$a")" "$(run "$a")" "--thinking on and a template in Jinja"
is "$(run -q --template think.jinja --thinking on "$a")" "$(run -q "$a")" "whose thought ds-detokenize knows"
run --template think.jinja --thinking off -s "$a" >script
is "$(grep -c -- '--thinking off' script)" 2 "both programs that read the template are told"
fails_with 2 "ds-tokenize: --thinking: .* uses neither|ds-detokenize: --thinking: .* uses neither" "a template that does not read it" \
    ds-run -m "$M" --thinking on hello
fails_with 2 "give on or off" "on or off" ds-run -m "$M" --thinking maybe hello
fails_with 2 "messages is for a chat" "--messages with -w" ds-run -m "$M" -w --messages talk
fails_with 1 "middle of a conversation" "a file that is cut short" sh -c 'head -c 50 talk | ds-run -m "$M" --messages -'

for bad in "-x other" "-T hot" "-T -1" "-k 1.5" "-p 2" "-n many" "-S -1" "-t 0" "-z" "-w --template template" "-i -"; do
	fails_with 2 "^ds-run: .*$(echo "$bad" | cut -c 2-2)" "'$bad' is a usage error" ds-run -m "$M" $bad hello
done
fails_with 2 "^ds-run: no model" "so is no model" ds-run hello
is "$(mandoc -T lint -W warning "$R/man/ds-run.1" 2>&1)" "" "the page has no mistake that mandoc knows"

# a conversation that is no prompt costs its own answer
printf '[{"role":"user","content":"2+2=?"}] {"x":1} [{"role":"user"}] [{"role":"user","content":"3+4=?"}]' >some.json
limited ds-run -m "$M" -g -q --messages some.json >got 2>said
is "$? $(tr '\n' , <got)" "1 4,,,7," "of four conversations two are no prompts: the others are answered"
is "$(sed 's/failed: .*/failed/' said)" "ds-detokenize: sequence 1 failed
ds-detokenize: sequence 2 failed" "a line for each of the two"
done_testing
