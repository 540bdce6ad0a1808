#!/bin/sh
# ds-learn --grpo: answers that are sampled, graded and learned from by one pipeline.
# also: asan leaks
# first: yes
. "${0%/*}/lib.sh"
export DS_MODEL=$M

cat >prompts <<'X'
{"id": "a", "prompt": "What is 12 + 30?"}
{"id": "b", "prompt": "What is 7 * 8?", "n": 2}
{"prompt": "What is 9 - 4?", "temperature": 9}
X

# A grader in the shell: a reward for short answers, the lines in reverse order.
grade='tee -a graded | jq -c "{id, index, reward: ((.ids | add) % 2)}" | tac'

# learn OUT OPTION...: its metrics are in the file `metrics`, the lines of the grader in `graded`
learn() {
	learn_out=$1; shift
	rm -f graded
	limited ds-learn $options --grade "$grade" -o "$learn_out" "$@" >metrics 2>err
}
options="-t 1 --grpo prompts --group 4 --batch 2 --steps 2 --rate 1e-2 -T 6 -n 12 -S 3"

# --- a run ---
learn out
report $? "two steps" err
is "$(jq -c '[.step, .exact == .tokens, .ratio]' metrics | xargs)" \
    "[1,true,0] [2,true,0]" \
    "each answer is learned from with the probabilities that it was sampled with"
cmp -s out/model.safetensors "$M/model.safetensors"
is $? 1 "they change the weights"
is "$(jq -c '.reward >= 0 and .reward <= 1' metrics | sort -u)" true \
    "the mean reward is that of the grader"
# steps 1 and 2 have all prompts once, and one of the second epoch
is "$(jq -r .id graded | sort -u | xargs)" "2 a b" "each prompt was asked"
is "$(jq -c 'select(.id == "b") | .index' graded | sort -n | tail -n 1)" 1 \
    "n of a prompt wins over --group"
is "$(jq -r .model graded | sort -u)" "$(ds-info | sed -n 's/^model.*, id //p')" \
    "answer lines have the model"
is "$(jq '(.ids | length) == (.logprobs | length) and (.prompt_ids | length) > 0' graded |
    sort -u)" true "and all that learning needs"
jq -c '[.id, .index, .seed, .ids]' graded | sort >first
is "$(cut -d, -f3 first | sort -u | wc -l)" "$(jq -c '[.id, .seed]' graded | sort -u | wc -l)" \
    "random numbers of a prompt are its own in each step"

learn again -x stage
report $? "the same, a process for each stage" err
jq -c '[.id, .index, .seed, .ids]' graded | sort >second
same first second "the same answers"
same again/model.safetensors out/model.safetensors "the same checkpoint"

# --- the script ---
learn script -s
grep -c '^run ' metrics >count
is "$(cat count)" 6 "-s prints a script of the driver and five programs"
mv metrics script.sh
rm -f graded
ok "which runs" sh script.sh
same script/model.safetensors out/model.safetensors "to the same checkpoint"

# --- the reference model ---
learn beta --beta 0.1
report $? "with a KL to the model at its start" err
is "$(jq -c '[.step, .kl == 0, .kl >= 0]' metrics | tr '\n' ' ')" "[1,true,true] [2,false,true] " \
    "which is 0 in the first step"

once || done_testing

# --- a terminal ---
cat >terminal.py <<'X'
import os, pty, re, sys
pid, fd = pty.fork()
if pid == 0:
    os.dup2(os.open("terminal.metrics", os.O_WRONLY | os.O_CREAT), 1)
    os.execvp("ds-learn", ["ds-learn", *sys.argv[1:]])
got = b""
try:
    while new := os.read(fd, 65536):
        got += new
except OSError:
    pass
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
line = rb"\rstep 1 of 1, loss [-\d.e]+, reward [\d.]+, [\d.]+ tokens/s"
if status != 0 or not re.search(line, got) or not got.endswith(b"\r"):
    sys.exit("%d %r" % (status, got))
X
"$PY" terminal.py $options --grade "$grade" --steps 1 -o terminal >err 2>&1
report $? "a terminal shows the step, and nothing at the end" err
is "$(jq -c .step terminal.metrics)" 1 "and the metrics are in the file"

# --- a signal ---
# (the grader of the second step waits for a file)
wait_grade="while [ -d state/step-1 ] && [ ! -e go ]; do sleep 0.05; done; $grade"
setsid ds-learn $options --grade "$wait_grade" -o stopped --state state --save-every 1 \
    >metrics 2>err &
awaited test -d state/step-1
kill -TERM $!
wait $! 2>/dev/null
is "$? $(cat err)" \
    "143 ds-learn: interrupted: 'state/step-1' is saved, and the same command goes on from it" \
    "SIGTERM ends it"
is "$(ps -o args= -s $! | grep ds-)" "" "and all programs of the line"
# (the reference model has stopped: the driver waits for its scores)
once_more="touch asked; while [ ! -e more ]; do sleep 0.05; done; $grade"
setsid ds-learn $options --grade "$once_more" --beta 0.1 -o scored >metrics 2>err &
awaited test -e asked
kill -STOP $(ps -o pid=,args= -s $! | awk '/ds-loss -m [^ ]* -q/ { print $1 }')
: >more
awaited sh -c '! ps -o comm= -s $0 | grep -qxE "jq|tac|sleep"' $!
report $? "the grader has ended"
kill -TERM $!
wait $! 2>/dev/null
is "$? $(cat err)" "143 ds-learn: interrupted: no state is saved without --state" \
    "a signal while the reference scores"
: >go
learn stopped --grade "$wait_grade" --state state --save-every 1
report $? "it goes on" err
same stopped/model.safetensors out/model.safetensors "to the checkpoint of a run that was not ended"

# --- what is wrong ---
# refuses STATUS REGEX DESC [OPTION...]
refuses() {
	refuses_status=$1 refuses_regex=$2 refuses_desc=$3; shift 3
	fails_with $refuses_status "$refuses_regex" "$refuses_desc" \
	    ds-learn --grpo prompts --group 2 --batch 1 --steps 1 -n 2 -o bad "$@"
}
refuses 1 '^ds-learn: step 1: --grade: its output: line 1: id .*, index 0: its reward is null' \
    "a reward of null" --grade 'jq -c ".reward = null"'
refuses 1 '--grade: its output: line 1: .*: its reward is missing' "no reward" --grade cat
refuses 1 '--grade: it ended with status 0 without a reward for .*, index 0' "no lines" \
    --grade 'cat >/dev/null'
refuses 1 '--grade: its output: line 2: .* it has a second reward' "two rewards" \
    --grade 'jq -c ".reward = 1" | sed p | sort'
refuses 1 '--grade: its output: line 1: .*.reward. appears twice' "two rewards in a line" \
    --grade 'jq -c ".reward = 1" | sed "s/^{/{\"reward\": 0, /"'
refuses 1 '--grade: its output: line 1: byte 0: not valid JSON' "no JSON" \
    --grade 'cat >/dev/null; echo x'
refuses 1 '--grade: its output: line 1: no answer of this step is id "z", index 0' "a new answer" \
    --grade 'jq -c ".reward = 1 | .id = \"z\""'
refuses 1 '--grade: it ended with status 5' "a grader that fails" \
    --grade 'jq -c ".reward = 1"; exit 5'
refuses 1 '--grade: it was killed by signal 9 without' "a grader that is killed" \
    --grade 'kill -9 $$'
refuses 2 '^ds-learn: --group 1: the advantage of a lone answer is 0: give 2 or more$' \
    "groups of one" --grade cat --group 1
refuses 2 '^ds-learn: -T 0: all answers to a prompt are the same, and teach nothing$' \
    "greedy answers" --grade cat -T 0
refuses 2 '^ds-learn: -k 1: all answers to a prompt are the same' "answers of one token each time" \
    --grade cat -k 1
refuses 1 "^ds-learn: --reference: cannot open 'none': [^:]*$" "a reference that is missing" \
    --grade cat --beta 1 --reference none
is "$(ls -d bad 2>&1 | grep -c 'cannot access')" 1 "no checkpoint comes of these"

# bad LINE REGEX DESC: a prompt that the driver refuses, before it sends anything
bad() {
	printf '%s\n' '{"id": 1, "ids": [5]}' "$1" >prompts
	refuses 1 "prompts: line 2: $2" "$3" --grade cat $alone
}
alone="--feed /dev/null --back /dev/null"
bad '{"id": 1, "ids": [6]}' 'id 1 is that of line 1' "two prompts with one id"
bad '{"ids": [6], "logprobs": false}' 'logprobs is false' "a prompt without log probabilities"
bad '{"ids": [6], "n": 0}' 'n is 0' "no answers"
bad '{"ids": []}' 'the prompt is empty' "an empty prompt"
bad '{"ids": [6], "reward": 1}' "unknown key 'reward'" "a key that requests have not"
: >prompts
refuses 1 'prompts: no prompts' "no prompts" --grade cat $alone
done_testing
