#!/bin/sh
# ds-run --jsonl: requests and answers as lines, whatever ends a run early, and how it goes on.
# also: asan
# first: yes
. "${0%/*}/lib.sh"
export DS_MODEL=$M
many=$(few yes "")     # with sanitizers, starts take most of the time

# requests.py N: N requests of several kinds, later ones longer, and two that are wrong
cat >requests.py <<'EOP'
import json, sys
n = int(sys.argv[1])
for i in range(n):
    q = {"prompt": "What is %d * %d?" % (i % 9 + 2, i % 7 + 3), "max_tokens": 4 + i * 24 // n}
    if i % 3 == 0:
        q["id"] = "q%d" % i
    if i % 5 == 1:
        q.update(n=2, temperature=1.5, logprobs=True, seed=2**64 - 1)
    if i % 6 == 2:
        q["id"] = "same"
    if i % 8 == 7:
        q["messages"] = [{"role": "user", "content": q.pop("prompt")}]
    print(json.dumps(q))
print('{"id": "zero", "prompt": "x", "n": 0}\nnonsense')
EOP

# --- the same answers for every cut ---
py requests.py 12 >req
sed '$d' req | sed '$d' >good
limited ds-run --jsonl good --ordered >want
report $? "requests are answered"
for args in "-x layer" $(few "-x,stage,-t,1 --batches,3" ""); do
	args=$(echo "$args" | tr , ' ')
	limited ds-run --jsonl - --ordered $args <good >got
	same got want "... with the same bytes: $args"
done
sort want >sorted
limited ds-run --jsonl good | sort >got
same got sorted "... in any order without --ordered"
limited ds-run --jsonl req --ordered >got 2>said
is "$?" 1 "wrong lines: some requests have no answer"
is "$(sed 's/.*\( of request .* failed: ds-tokenize\): .*/\1/' said)" \
    " of request \"zero\" failed: ds-tokenize
 of request 13 failed: ds-tokenize" "... a message for each, with the id"
is "$(head -n $(wc -l <want) got | cmp - want
    tail -n 2 got | grep -c '"error": "ds-tokenize: ')" 2 \
    "... the others are answered, and these have an error"
cat >by_hand.sh <<'EOP'
mkfifo loop prompts
ds-tokenize --jsonl -c -o - -o prompts good | ds-embed -i - -i loop | ds-block | ds-head |
    ds-sample | tee loop | ds-detokenize --jsonl --prompts prompts --ordered
EOP
ok "the pipeline by hand" sh -c 'sh by_hand.sh >got'
same got want "... prints the same"

prompt='What is 3 * 4?'
printf '{"prompt": "%s"}\n' "$prompt" >one
if [ "$many" ]; then
# an answer is that of a lone prompt
printf '{"prompt": "%s", "n": 3, "seed": 5, "temperature": 1.5, "max_tokens": 20}\n' \
    "$prompt" >three
limited ds-run --jsonl three --ordered >got
limited ds-run -S 5 -T 1.5 -n 20 "$prompt" "$prompt" "$prompt" >equal
py -c 'import json, sys
for l in open("got"):
    print(json.loads(l)["text"])' >texts
same texts equal "n answers are those to n equal prompts"
limited ds-run -S 5 -T 1.5 -n 20 --samples 3 "$prompt" >texts
same texts equal "so are --samples of one"
limited ds-run --jsonl one --samples 3 -S 5 -T 1.5 -n 20 --ordered >again
py -c 'import json
a, b = ([json.loads(l) for l in open(f)] for f in ("got", "again"))
exit(a != b)'
report $? "options hold for what a line leaves open"
fi
limited ds-run --jsonl one --logprobs -n 3 >got
like "$(cat got)" '"logprobs": \[-?[0-9.e-]+, -?[0-9.e-]+, -?[0-9.e-]+\]' "--logprobs"

limited ds-run --jsonl one -g --think-max 4 -n 9 --out - >got
like "$(cat got)" '"text": "[^<]*</think>' "--think-max"

# --- files of answers ---
limited ds-run --jsonl good --ordered --out out
same out want "--out writes a file"
fails_with 2 "^ds-run: --out 'out': it is not empty: give --resume" "... and no file twice" \
    ds-run --jsonl good --out out
limited ds-run --jsonl good --ordered --out out --resume
same out want "--resume has nothing to do"
for n in $(few "0 1 700" "") 1500; do
	head -c $n want >out
	limited ds-run --jsonl good --ordered --out out --resume || echo failed >>out
	same out want "it goes on after $n bytes"
done
tac want | sed 3,7d >out
limited ds-run --jsonl good --out out --resume
sort out >got
same got sorted "it finds answers in any order"
limited ds-run --jsonl req --ordered --out whole 2>said
head -n 15 whole >out
limited ds-run --jsonl req --ordered --out out --resume 2>said
same out whole "an error is an answer as well"
py -c 'import json
for i in range(8):
    print(json.dumps({"id": "same", "prompt": "What is %d + 2?" % i,
        "max_tokens": 24 - 3 * i}))' >same
limited ds-run --jsonl same >equal
head -n 3 equal >out
limited ds-run --jsonl same --out out --resume
same out equal "of equal ids the first have the answers"
if [ "$many" ]; then
ok "the script goes on, too" sh -c 'head -c 1500 want >out &&
	ds-run --jsonl good --ordered --out out --resume -s >script && cd / && sh "$S/script"'
same out want "... with the same bytes"
rm out
ds-run --jsonl good --ordered --out out -s >script
ok "or writes a new file" sh script
same out want "... with the same bytes"
fails_with 2 "^'.*/out' is not empty" "... but not twice" sh script
fi

head -n 3 want >out
fails_with 1 "^ds-run: 'out' line 1: an answer of precision f32, not bf16" \
    "answers of another precision" ds-run --jsonl good --out out --resume --precision bf16
fails_with 1 "^ds-run: 'out' line 1: an answer of model [0-9a-f]*, not [0-9a-f]*$" \
    "answers of another model" ds-run -m "$G/llama" --jsonl good --out out --resume
printf 'text' >>out
fails_with 1 "^ds-run: 'out': its last line is not a part of an answer" \
    "a file that has something else" ds-run --jsonl good --out out --resume
printf '%s' "$(head -n 2 good)" >kept
cp kept out
fails_with 2 "^ds-run: --out 'out' has the requests: give another file" \
    "the file of the requests" ds-run --jsonl out --out out --resume
fails_with 1 "^ds-run: 'out': its last line is not a part of an answer" \
    "another file of requests" ds-run --jsonl good --out out --resume
(cat kept; printf '\n{"id": 1,') >out
cp out kept
fails_with 1 "^ds-run: 'out' line 1: index is missing" "... whose last line has an id" \
    ds-run --jsonl good --out out --resume
same out kept "... none of which is changed"
fails_with 2 "^ds-run: --resume goes on with a file" "--resume without a file" \
    ds-run --jsonl good --resume
fails_with 2 "^ds-run: --out is for answers in JSON" "--out for texts" ds-run --out new hello
fails_with 2 "^ds-run: --resume: '/dev/null' is not a regular file" "a device" \
    ds-run --jsonl good --out /dev/null --resume
fails_with 3 "^ds-run: cannot open 'no/where'" "a file in no folder" \
    ds-run --jsonl good --out no/where

# --- a run ends early ---
fails_with 3 "^ds-run: ds-detokenize: standard output: cannot write: No space" \
    "a full disk" ds-run --jsonl good --out /dev/full
rm -f out
for size in $(few "1 2" "") 4; do
	(trap '' XFSZ; ulimit -f $size; exec ds-run --jsonl good --ordered --out out --resume \
	    2>said)
	status=$?
	head -n "$(wc -l <out)" want | cmp - out >difference
	is "$status $(tail -c 1 out | wc -l) $(wc -l <said) $(cat difference)" \
	    "3 1 1 " "a file that cannot grow has whole lines"
done
limited ds-run --jsonl good --ordered --out out --resume
same out want "then it goes on"

mkfifo asks
{ limited ds-run --jsonl asks --out out2; echo $? >status; } &
exec 4>asks
head -n 1 good >&4
ok "an answer is written before the next request has come" awaited test -s out2
head -n 2 good | tail -n 1 >&4
exec 4>&-
wait
is "$(cat status; wc -l <out2)" "0
3" "... and the end of the FIFO is that of the run"

# ended.py SIG TIMES ARG...: ds-run, ended by a signal at random moments of its start or of the
# file's growth, then once left alone
cat >ended.py <<'EOP'
import os, random, signal, subprocess, sys, time
sig, times, args = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
random.seed(sig)
total = os.stat("expected").st_size
def size():
    try:
        return os.stat("out").st_size
    except OSError:
        return 0
ended = 0
for k in range(times + 1):
    limit = size() + random.randrange(2 * total // (times + 1) + 1) if k < times else 1 << 60
    until = time.time() + (random.random() * 0.1 if k < times and k % 4 == 0 else 1e9)
    p = subprocess.Popen(["ds-run"] + args + ["--out", "out", "--resume"], stderr=subprocess.PIPE)
    while p.poll() is None and size() <= limit and time.time() < until:
        time.sleep(0.0005)
    if p.poll() is None:
        p.send_signal(sig)
        ended += 1
    said = p.communicate()[1]
    if said:
        sys.exit("it says %r" % said)
    if p.returncode not in (0, -sig):
        sys.exit("it ends with %d" % p.returncode)
    if sig != 9 and size() and open("out", "rb").read()[-1:] != b"\n":
        sys.exit("the file has a torn line")
print(ended)
sys.exit(ended < times // 2)
EOP
n=40
py requests.py $n | head -n $n >req
limited ds-run --jsonl req --ordered >expected
sort expected >sorted
n=$(few 20 3)
rm out
py ended.py 9 $n --jsonl req --ordered -t 1 >times
report $? "killed $n times" times
same out expected "... the file has the bytes of an undisturbed run"
if [ "$many" ]; then
	rm out
	py ended.py 9 $n --jsonl req -t 1 >times
	report $? "killed $n times, without --ordered" times
	sort out >got
	same got sorted "... each answer is there, once"
fi
rm out
py ended.py 2 $(few 5 1) --jsonl req --ordered -t 1 >times
report $? "interrupted, with whole lines" times
same out expected "... the same"

# --- several hosts ---
unset DS_RSH DS_KEY DS_PEERS
TMPDIR=$S/tmp
export TMPDIR
mkdir tmp
set -- $(ports 4)
cat >plan <<EOP
plan 1
host alpha 127.0.0.1
host beta 127.0.0.2
host gamma 127.0.0.3 spare
feed tcp://{alpha}:$1
take tcp://{beta}:$2
run alpha ds-embed -m $M -i @tcp://{alpha}:$1 -i @tcp://{alpha}:$3 -o ipc://{run}/0
run alpha ds-block -m $M -t 1 -l 0-1 -i @ipc://{run}/0 -o tcp://{beta}:$4
run beta ds-block -m $M -t 1 -l 2-3 -i @tcp://{beta}:$4 -o ipc://{run}/0
run beta ds-head -m $M -t 1 -i @ipc://{run}/0 -o ipc://{run}/1
run beta ds-sample -m $M -i @ipc://{run}/1 -o tcp://{alpha}:$3 -o @tcp://{beta}:$2
EOP
py requests.py $(few 100 40) >req
limited ds-run --jsonl req --ordered >expected 2>said
# killed PATTERN: a run of the plan, a process of which is killed once there are answers
killed() {
	rm -f out
	ds-run --plan plan --jsonl req --ordered --out out 2>said &
	run=$!
	awaited test -s out
	if [ "$1" = agent ]; then
		pids=$(cat "/proc/$run/task/$run/children")
	else
		pids=$(grep -lsz "^TMPDIR=$TMPDIR\$" /proc/[0-9]*/environ |
		    sed 's,/proc/,,; s,/environ,,')
	fi
	for p in $pids; do
		tr '\0' ' ' 2>/dev/null <"/proc/$p/cmdline" | grep -Eq "$1" && victim=$p
	done
	kill -9 "$victim"
	wait $run
	is $? 1 "a plan with a killed $1 goes on; two requests are wrong"
	same out expected "... with the bytes of an undisturbed run"
	like "$(cat said)" \
	    "^ds-run: (alpha|beta): .*killed by signal 9; .*, [0-9]+ answers? goe?s? on" \
	    "... it was killed in time"
}
[ ! "$many" ] || killed agent
killed '^ds-sample'
rm -rf tmp/ds-run.*
# a second run goes on where ds-run itself was killed
rm out
ds-run --plan plan --jsonl req --ordered --out out 2>said &
awaited test -s out
kill -9 $!
wait $! 2>said
limited ds-run --plan plan --jsonl req --ordered --out out --resume 2>said
same out expected "a killed ds-run is resumed with a plan as well"
sed '/ds-head/s/$/ --precision bf16/' plan >bf16.plan
fails_with 1 "^ds-run: 'out' line 1: an answer of precision f32, not bf16" \
    "... but not by one of another precision" ds-run --plan bf16.plan --jsonl req --out out --resume

# --- the line of progress ---
n=20
head -n $n req >good
cat >terminal.py <<'EOP'
import os, pty, re, sys
pid, fd = pty.fork()
if pid == 0:
    os.dup2(os.open("out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.execvp("ds-run", ["ds-run", "--jsonl", "good", "--samples", "2"])
got = b""
while True:
    try:
        new = os.read(fd, 65536)
    except OSError:
        break
    got += new
shown = re.search(rb"\r\d+ of %d answers(, [\d.]+ tokens/s)?\r" % (2 * int(sys.argv[1])), got)
if os.waitpid(pid, 0)[1] != 0 or not shown or not got.endswith(b"\r"):
    sys.exit("%r" % got)
EOP
"$PY" terminal.py $n >said 2>&1
report $? "a terminal shows the progress, and nothing at the end" said
done_testing
