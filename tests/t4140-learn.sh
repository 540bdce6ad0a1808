#!/bin/sh
# also: asan
# ds-learn: records, frames, steps, saving and going on.
. "${0%/*}/lib.sh"
export DS_MODEL="$G/v3"

# --- records and frames: the driver alone ---

# alone OPTION...: its first frames go to sent.frames, and nothing answers
alone() {
	ds-learn --feed sent.frames --back /dev/null --dry-run "$@"
}
cat >sft <<'EOL'
{"ids": [5, 6, 7, 8, 9], "weights": [0, 0, 0.5, 0, 2]}

{"prompt_ids": [10, 11], "ids": [12, 13], "note": "an answer line"}
{"ids": [20, 21, 22], "weights": [0, 1, 0]}
EOL
fails_with 3 "^ds-learn: /dev/null: ended without an end frame" "a pipeline that says nothing" \
    alone --sft sft
py - >said <<'EOP'
import frame
f = frame.read_frame(open("sent.frames", "rb"))
t, rows = f.tensors, {}
for (seq, pos), *of in zip(f.rows(), t["ids"], t["learn.target"], t["learn.weight"]):
    rows.setdefault(seq, []).append("%d %d %d %g" % (pos, *of))
print(f.header["at"], f.header["learn"]["id"], sorted(n for n in t if n != "ids"))
lines = zip(f.header["learn"]["lines"], rows.values())
print(*sorted("line %d: %s" % (n, ", ".join(r)) for n, r in lines), sep="\n")
print(sorted([n, flags] for _, _, n, flags in f.header["spans"]))
EOP
cat >expected <<'EOL'
embed 0 ['learn.target', 'learn.weight']
line 1: 0 5 -1 0, 1 6 7 0.5, 2 7 -1 0, 3 8 9 2
line 3: 0 10 -1 0, 1 11 12 1, 2 12 13 1
line 4: 0 20 21 1
[[1, 0], [1, 0], [1, 2], [2, 2], [3, 2]]
EOL
same said expected "rows up to the last weight, and what they predict"

cat >graded <<'EOL'
{"id": "a", "prompt_ids": [1, 2], "ids": [3, 4], "logprobs": [-0.5, -1.5], "reward": 1}
{"id": 7, "ids": [1, 2, 9], "usage": {"prompt_tokens": 2}, "logprobs": [-0.25], "reward": 3}
{"id": "a", "ids": [1, 2, 5, 6], "prompt_tokens": 2, "logprobs": [-2, -3], "reward": 0}
EOL
for t in 30 31 32; do
	echo '{"id": "equal", "prompt_ids": [1], "ids": ['$t'], "logprobs": [-1], "reward": 0.1}'
done >>graded
alone --records graded --clip 0.2,0.3 2>err
mv sent.frames std.frames
alone --records graded --advantage mean 2>err
py - >said <<'EOP'
import frame
for name in "std", "sent":
    f = frame.read_frame(open(name + ".frames", "rb"))
    rows = zip(*(f.tensors["learn." + k] for k in ("target", "advantage", "old")))
    print(f.header["learn"]["clip"], *sorted("%d %.4g %g" % r for r in rows if r[0] >= 0), sep=", ")
EOP
cat >expected <<'EOL'
[0.2, 0.3], 3 1 -0.5, 4 1 -1.5, 5 -1 -2, 6 -1 -3
[0.2, 0.2], 3 0.5 -0.5, 4 0.5 -1.5, 5 -0.5 -2, 6 -0.5 -3
EOL
same said expected "advantages are those of the lines with one id; equal rewards teach nothing"

# wrong KIND LINE REGEX: a file with this line is refused
wrong() {
	printf '%s\n' '' "$2" >bad
	fails_with 1 "^ds-learn: bad: line 2: $3" "$1 $2" alone "$1" bad
}
wrong --sft '{"ids": [1, 2' 'byte 13: not valid JSON'
wrong --sft '[1]' 'not a JSON object'
wrong --sft '{"ids": [1, 2]}' 'give ids and weights, prompt_ids and ids, or prompt and answer'
wrong --sft '{"ids": [1, 2], "weights": [0]}' 'weights has 1 entries, ids has 2'
wrong --sft '{"ids": [1, 320], "weights": [0, 1]}' 'ids\[1\] is 320, must be a token of the model'
wrong --sft '{"ids": [1, 2], "weights": [1, 1]}' 'weights\[0\] is 1, must be 0'
wrong --sft '{"ids": [1, 2], "weights": [0, "1"]}' 'weights\[1\] is not a number'
wrong --sft '{"ids": [1, 2], "weights": [0, 0]}' 'no token has a weight'
wrong --sft '{"prompt": "x"}' 'answer is missing'
wrong --records '{"id": 1, "error": "too long"}' 'it has an error, not an answer: leave it out$'
line='"logprobs": [-1]'
wrong --records "{\"ids\": [1, 2], $line}" 'prompt_ids or prompt_tokens is missing'
wrong --records "{\"ids\": [1], $line}" 'prompt_ids is missing'
wrong --records "{\"ids\": [1, 2], \"prompt_tokens\": 2, $line}" 'prompt_tokens is 2, ids has 2'
wrong --records "{\"ids\": [1, 2, 3], \"prompt_tokens\": 1, $line}" 'logprobs has 1 entries, the'
line="\"ids\": [1, 2], \"prompt_tokens\": 1, $line"
wrong --records '{"ids": [1, 2], "prompt_tokens": 1, "logprobs": [0.5]}' \
    'logprobs\[0\] is 0.5, must be a number from -1e\+30 to 0'
wrong --records "{$line}" 'reward is missing'
wrong --records "{$line, \"reward\": 1}" 'id is missing'
wrong --records "{$line, \"id\": 1, \"reward\": 1, \"model\": \"0123456789abcdef\"}" \
    "model is '0123456789abcdef', this one is "
: >bad
fails_with 1 "^ds-learn: bad: no records" "a file without records" alone --sft bad
fails_with 1 "^ds-learn: cannot open 'none'" "a file that is missing" alone --sft none
fails_with 2 "--sft, --records or --grpo" "nothing to learn from" ds-learn -o out
fails_with 2 "give one of them, once" "two sources" ds-learn -o out --sft sft --records graded
fails_with 2 "--grpo needs rewards: give --grade" "no grades" ds-learn -o out --grpo sft
fails_with 2 "give -o" "no result" ds-learn --sft sft
fails_with 2 "give --dry-run" "gradients of a run" ds-learn --sft sft -o out --gradients g
fails_with 2 "^ds-learn: --betas '1,1': give N or N,N, from 0 to 0.999999999$" "a beta of 1" \
    ds-learn --sft sft -o out --betas 1,1
fails_with 2 "^ds-learn: --betas '0.9': give both, as 0.9,0.95$" "one beta" \
    ds-learn --sft sft -o out --betas 0.9
fails_with 2 "^ds-learn: --clip is for policy gradients, not for --sft$" "clipping for --sft" \
    ds-learn --sft sft -o out --clip 0.1
fails_with 2 "^ds-learn: --temperature is for --grpo$" "how to sample what was sampled" \
    ds-learn --records graded -o out -T 1
fails_with 2 "^ds-learn: --gradients '.' is no file: name a file$" "gradients as a folder" \
    alone --sft sft --gradients .
fails_with 2 "^ds-learn: --schedule 'x': give constant, linear or cosine" "a schedule" \
    ds-learn --sft sft -o out --schedule x

echo '{"prompt": "2+3=", "answer": "5"}' >text
alone -m "$M" --sft text 2>err
py - >said <<'EOP'
import frame, json, os
f = frame.read_frame(open("sent.frames", "rb"))
t = [int(i) for i in f.tensors["learn.target"] if i >= 0]
eos = json.load(open(os.environ["M"] + "/config.json"))["eos_token_id"]
print(len(t), t[-1] == eos)
EOP
is "$(cat said)" "2 True" "of a text, the answer and the end of sequence are learned"

# --- steps, with a pipeline ---

options="-t 1 --sft steps.jsonl --batch 2 --steps 4 --rate 1e-2 --warmup 2 --save-every 1"
learn() {
	limited ds-learn $options "$@" >metrics 2>err
}
cat >steps.jsonl <<'EOL'
{"ids": [1, 2, 3, 4, 5, 6, 7, 8], "weights": [0, 1, 1, 1, 1, 1, 1, 1]}
{"ids": [9, 8, 7, 6, 5, 4], "weights": [0, 0, 1, 1, 1, 0.5]}
{"ids": [100, 200, 300], "weights": [0, 0, 1]}
EOL
learn -o out --state state
report $? "four steps" err
is "$(cat err)" "" "without a message"
py - >said <<'EOP'
import json
rows = [json.loads(l) for l in open("metrics")]
print([(r["step"], r["rate"]) for r in rows], rows[3]["loss"] < rows[0]["loss"])
EOP
is "$(cat said)" "[(1, 0.005), (2, 0.01), (3, 0.01), (4, 0.01)] True" \
    "a line for each: rates of the warm-up, and the loss falls"
is "$(ls state)" step-4 "the newest state is kept"
files() { (cd "$1" && ls | grep -Ev '^(expected|gradients)'); }
is "$(files out)" "$(files "$DS_MODEL")" "the form of the model"
learn -o out --state state
is "$? $(wc -c <metrics)" "0 0" "a run that is complete makes no step"
learn -o rows --rows 1
is "$?" 0 "a frame for each record"
same rows/model.safetensors out/model.safetensors "the same bytes, also in frames of one record"

for n in $(few "1 3" 1); do
	rm -rf again killed
	setsid ds-learn $options -o killed --state again >/dev/null 2>&1 &
	awaited sh -c 'ls again | grep -E "^step-[$1-4]$"' - $n
	kill -9 -$! 2>/dev/null
	wait $! 2>/dev/null
	learn -o killed --state again
	report $? "killed after step $n, and continued" err
	same killed/model.safetensors out/model.safetensors "the bytes of a run that was not killed"
done

fails_with 1 "^ds-learn: 'state/step-4': it was made with --rate 0.01, now it is 0.1: give" \
    "another rate" ds-learn $options --rate 0.1 -o out --state state
fails_with 1 "^ds-learn: 'state/step-4': it was made with data .*, now it is" "other records" \
    ds-learn ${options%%--sft*} --sft sft ${options#*steps.jsonl} -o out --state state
fails_with 1 "^ds-learn: 'state/step-4': it was made with weights .*, now it is" \
    "another model of its shapes" ds-learn $options -m out -o new --state state
fails_with 2 "^ds-learn: --balance: the routers of '.*/qwen2' have no biases" \
    "a balance of no routers" ds-learn $options -m "$G/qwen2" -o new --balance 0.1
fails_with 1 "^ds-learn: 'state/step-4': it has more steps than the 2 of this run: give another" \
    "fewer steps than were made" ds-learn $options --steps 2 -o out --state state
mkdir out/state
for o in out out/state; do
	fails_with 2 "^ds-learn: --state '$o' is in the folder of the result: name another one$" \
	    "a state that saving would remove: $o" ds-learn $options -o out --state $o
done
rmdir out/state
mkdir foreign && touch foreign/file
fails_with 2 "foreign" "a folder that another program made" \
    ds-learn --sft steps.jsonl --steps 1 -o foreign
mkdir g.shards rows/sub && touch g.shards/file
fails_with 3 "cannot create 'g.shards'" "files of others where it writes its own" \
    ds-learn --sft steps.jsonl --steps 1 --dry-run --gradients g
fails_with 2 "^ds-learn: '.*rows/sub': a folder in a result" "a folder that was put into a result" \
    ds-learn --sft steps.jsonl --steps 1 -o rows
fails_with 2 "'state/step-4' is no file: name a file" "gradients in place of a folder" \
    ds-learn --sft steps.jsonl --dry-run --gradients state/step-4
fails_with 2 "--state 'both' is in the folder of the result" "a folder for two" \
    ds-learn --sft steps.jsonl --steps 1 -o both --state both
is "$(ls g.shards rows | grep -c -e file -e sub)" 2 "nothing of them is lost"
for o in "-o none/out" "-o new --state none/state" "--dry-run --gradients none/file"; do
	fails_with 3 "^ds-learn: cannot create 'none/" "$o: before the first step" \
	    ds-learn --sft steps.jsonl --steps 1 $o
done
same killed/model.safetensors out/model.safetensors "what fails leaves the result as it is"

# a state goes on in another split
learn -o cut --state cut.state --steps 2
learn -o cut --state cut.state -x stage
is "$? $(wc -l <metrics)" "0 2" "two steps, then two with a process for each stage"
same cut/model.safetensors out/model.safetensors "the same bytes"

# answers of the model as records: it learns from the probabilities that it sampled with
for q in "2+3=?" "What is 12+9?"; do
	echo "{\"prompt\": \"$q\", \"n\": 2, \"temperature\": 4, \"max_tokens\": 12}"
done >requests
ds-run -m "$M" --jsonl requests --logprobs --prompt-ids 2>err |
    sed -E 's/^.("id": [^,]*, "index": ([0-9]+))/{"reward": \2, \1/' >graded
learn2() { ds-learn -m "$M" -t 1 --records graded "$@" >metrics 2>err; }
learn2 --steps 2 --rate 1e-3 --schedule linear -o answers
report $? "answers of ds-run are records" err
py - >said <<'EOP'
import json
rows = [json.loads(l) for l in open("metrics")]
print(*(r["answers"] for r in rows), rows[0]["exact"] == rows[0]["tokens"], rows[0]["ratio"],
    rows[1]["exact"] < rows[1]["tokens"], rows[1]["ratio"] > 0)
print(*(r["rate"] for r in rows))
EOP
is "$(tail -n 1 said)" "0.001 0.0005" "a rate that falls"
is "$(head -n 1 said)" "4 4 True 0 True True" "every ratio is 1 at first, and not after a step"

# equal rewards have no gradients: their rows are computed only for the router's balance
jq -c 'if .id == 1 then .reward = 0 else . end' graded >equal
for o in 0 1e-3; do
	ds-learn -m "$M" -t 1 --records equal --steps 1 --rate 1e-3 --balance $o -o equal-$o 2>err
done >metrics
report $? "a group with equal rewards" err
py - >said <<'EOP'
import json, quant
rows = [json.loads(l) for l in open("metrics")]
print(rows[0]["positions"] < rows[1]["positions"],
    *(rows[0][k] == rows[1][k] for k in ("loss", "weight", "grad_norm")))
a, b = (quant.tensors("equal-" + o) for o in ("0", "1e-3"))
others = [n for n in a if "correction_bias" not in n]
print(len(a) > len(others) > 9, *(n for n in others if bytes(a[n][2]) != bytes(b[n][2])))
EOP
is "$(cat said | xargs)" "True True True True True" \
    "is left out, with the same loss, norm and weights"

# interrupted: more steps than it can make
ds-learn $options --steps 100000 -o long --state long.state >/dev/null 2>err &
awaited test -d long.state/step-1 -o -d long.state/step-2 -o -d long.state/step-3
kill -TERM $!
wait $! 2>/dev/null
is "$?" 143 "SIGTERM ends it"
like "$(cat err)" "^ds-learn: interrupted: 'long.state/step-[0-9]*' is saved, and the same" \
    "and it names its state"

# a full disk
sh -c 'trap "" XFSZ; ulimit -f 100; exec "$@"' - ds-learn $options -o full --state full.state \
    >metrics 2>err
is "$? $(wc -l <err)" "3 1" "a full disk is one line"
like "$(cat err)" "^ds-learn: .*'.*/full.state/step-1.part/.*': cannot write: File too large" \
    "which names the file"
is "$(ls full.state) $(ls -d full* | xargs)" " full.state" "no half of a state is left"

mkdir locked.state
fails_with 3 "'locked.state': another run writes to it" "two runs do not share a state" \
    flock locked.state ds-learn $options -o locked --state locked.state
fails_with 3 "'locked': another run writes to it" "nor a result" \
    flock locked.lock ds-learn $options -o locked --state other.state
is "$(ls -d locked* other* 2>/dev/null | xargs)" "locked.lock locked.state" \
    "and the run that is refused makes nothing"

# a loss out of range in the second step
head -2 steps.jsonl >big
echo '{"ids": [100, 200, 300], "weights": [0, 1e6, 1e6]}' >>big
fails_with 1 "^ds-learn: ds-loss: record of line 3: position 0: the loss is" "a loss out of range" \
    ds-learn -t 1 --sft big --batch 1 --steps 3 -S 2 --save-every 1 -o huge --state huge.state
is "$(ls huge.state) $(ls huge)" "step-1 $(ls out)" "the last state and its result are there"
done_testing
