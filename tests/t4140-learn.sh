#!/bin/sh
# ds-learn: records, frames, steps, saving and going on.
# also: asan
. "${0%/*}/lib.sh"
export DS_MODEL="$G/v3"

# --- records and frames: the driver alone ---

cat >sft <<'EOL'
{"ids": [5, 6, 7, 8, 9], "weights": [0, 0, 0.5, 0, 2]}

{"prompt_ids": [10, 11], "ids": [12, 13], "note": "an answer line"}
{"ids": [20, 21, 22], "weights": [0, 1, 0]}
EOL
ds-learn --feed sent.frames --back /dev/null --sft sft --dry-run >/dev/null 2>err
like "$(cat err)" "^ds-learn: /dev/null: ended without an end frame" "a pipeline that says nothing is an error"
py - >said <<'EOP'
import frame
f = frame.read_frame(open("sent.frames", "rb"))
rows = {}
for (seq, pos), i, t, w in zip(f.rows(), f.tensors["ids"], f.tensors["learn.target"], f.tensors["learn.weight"]):
    rows.setdefault(seq, []).append((pos, int(i), int(t), float(w)))
print(f.header["at"], f.header["learn"], sorted(rows.values(), key=lambda r: r[0][1]))
print(sorted([n, flags] for _, _, n, flags in f.header["spans"]), "learn.old" in f.tensors)
EOP
is "$(cat said)" "embed {'id': 0} [[(0, 5, -1, 0.0), (1, 6, 7, 0.5), (2, 7, -1, 0.0), (3, 8, 9, 2.0)], \
[(0, 10, -1, 0.0), (1, 11, 12, 1.0), (2, 12, 13, 1.0)], [(0, 20, 21, 1.0)]]
[[1, 0], [1, 0], [1, 2], [2, 2], [3, 2]] False" "rows up to the last weight, and what they predict"

cat >graded <<'EOL'
{"id": "a", "prompt_ids": [1, 2], "ids": [3, 4], "logprobs": [-0.5, -1.5], "reward": 1}
{"id": 7, "ids": [1, 2, 9], "usage": {"prompt_tokens": 2}, "logprobs": [-0.25], "reward": 3}
{"id": "a", "ids": [1, 2, 5, 6], "prompt_tokens": 2, "logprobs": [-2, -3], "reward": 0}
EOL
ds-learn --feed sent.frames --back /dev/null --records graded --dry-run --clip 0.2,0.3 >/dev/null 2>err
ds-learn --feed mean.frames --back /dev/null --records graded --dry-run --advantage mean >/dev/null 2>&1
py - >said <<'EOP'
import frame
for name in "sent", "mean":
    f = frame.read_frame(open(name + ".frames", "rb"))
    t = f.tensors
    got = [(int(i), round(float(a), 4), float(o)) for i, a, o in zip(t["learn.target"], t["learn.advantage"], t["learn.old"]) if i >= 0]
    print(f.header["learn"]["clip"], sorted(got))
EOP
is "$(cat said)" "[0.2, 0.3] [(3, 1.0, -0.5), (4, 1.0, -1.5), (5, -1.0, -2.0), (6, -1.0, -3.0), (9, 0.0, -0.25)]
[0.2, 0.2] [(3, 0.5, -0.5), (4, 0.5, -1.5), (5, -0.5, -2.0), (6, -0.5, -3.0), (9, 0.0, -0.25)]" \
    "advantages are those of groups with one id"

# wrong KIND LINE REGEX: a file with this line is refused
wrong() {
	printf '%s\n' '' "$2" >bad
	fails_with 1 "^ds-learn: bad: line 2: $3" "$1 $2" \
	    ds-learn --feed sent.frames --back /dev/null "$1" bad --dry-run
}
wrong --sft '{"ids": [1, 2' 'byte 13: not valid JSON'
wrong --sft '[1]' 'not a JSON object'
wrong --sft '{"ids": [1, 2]}' 'give ids and weights, prompt_ids and ids, or prompt and answer'
wrong --sft '{"ids": [1, 2], "weights": [0]}' 'weights has 1 entries, ids has 2'
wrong --sft '{"ids": [1, 320], "weights": [0, 1]}' 'ids\[1\] is 320, must be a token of the model, 0 to 319'
wrong --sft '{"ids": [1, 2], "weights": [1, 1]}' 'weights\[0\] is 1, must be 0'
wrong --sft '{"ids": [1, 2], "weights": [0, "1"]}' 'weights\[1\] is not a number'
wrong --sft '{"ids": [1, 2], "weights": [0, 0]}' 'no token has a weight'
wrong --sft '{"prompt": "x"}' 'answer is missing'
wrong --records '{"ids": [1, 2], "logprobs": [-1]}' 'prompt_ids or prompt_tokens is missing'
wrong --records '{"ids": [1, 2], "logprobs": [-1, -1]}' 'prompt_ids is missing .ds-run --prompt-ids writes it.'
wrong --records '{"ids": [1, 2], "prompt_tokens": 2, "logprobs": [-1]}' 'prompt_tokens is 2, ids has 2: no answer'
wrong --records '{"ids": [1, 2, 3], "prompt_tokens": 1, "logprobs": [-1]}' 'logprobs has 1 entries, the answer has 2 tokens'
wrong --records '{"ids": [1, 2], "prompt_tokens": 1, "logprobs": [null]}' 'logprobs\[0\] is null'
wrong --records '{"ids": [1, 2], "prompt_tokens": 1, "logprobs": [-1]}' 'reward is missing'
wrong --records '{"ids": [1, 2], "prompt_tokens": 1, "logprobs": [-1], "reward": 1}' 'id is missing'
wrong --records '{"id": 1, "ids": [1, 2], "prompt_tokens": 1, "logprobs": [-1], "reward": 1, "model": "0123456789abcdef"}' \
    "model is '0123456789abcdef', this one is "
: >bad
fails_with 1 "^ds-learn: bad: no records" "a file without records" ds-learn --feed sent.frames --back /dev/null --sft bad --dry-run
fails_with 1 "^ds-learn: cannot open 'none'" "a file that is missing" ds-learn --feed sent.frames --back /dev/null --sft none --dry-run
fails_with 2 "--sft, --records or --grpo" "nothing to learn from" ds-learn -o out
fails_with 2 "give one of them, once" "two sources" ds-learn -o out --sft sft --records graded
fails_with 2 "--grpo needs rewards: give --grade" "no grades" ds-learn -o out --grpo sft
fails_with 2 "give -o" "no result" ds-learn --sft sft
fails_with 2 "give --dry-run" "gradients of a run" ds-learn --sft sft -o out --gradients g
fails_with 2 "^ds-learn: --betas '1': give N or N,N, from 0 to" "a beta of 1" ds-learn --sft sft -o out --betas 1
fails_with 2 "^ds-learn: --schedule 'x': give one of: constant linear cosine" "a schedule" ds-learn --sft sft -o out --schedule x

# text by the chat template: the end of sequence is learned as well
echo '{"prompt": "2+3=", "answer": "5"}' >text
ds-learn -m "$M" --feed sent.frames --back /dev/null --sft text --dry-run >/dev/null 2>err
py - >said <<'EOP'
import frame, json, os
f = frame.read_frame(open("sent.frames", "rb"))
t = [int(i) for i in f.tensors["learn.target"] if i >= 0]
eos = json.load(open(os.environ["M"] + "/config.json"))["eos_token_id"]
print(len(t), t[-1] == eos, f.tensors["ids"].tolist())
EOP
like "$(cat said)" "^2 True \[" "an answer of one token, and the end of sequence"

# --- steps, with a pipeline ---

# learn OPTION...: a run whose metrics are in the file `metrics`
learn() {
	limited ds-learn -t 1 --sft steps.jsonl --batch 2 --steps 4 --rate 1e-2 --warmup 2 --save-every 1 "$@" >metrics 2>err
}
cat >steps.jsonl <<'EOL'
{"ids": [1, 2, 3, 4, 5, 6, 7, 8], "weights": [0, 1, 1, 1, 1, 1, 1, 1]}
{"ids": [9, 8, 7, 6, 5, 4], "weights": [0, 0, 1, 1, 1, 0.5]}
{"ids": [100, 200, 300], "weights": [0, 0, 1]}
EOL
learn -o out --state state
report $? "four steps" err
is "$(grep -c '"grad_norm"' metrics)" 4 "a line for each"
py - >said <<'EOP'
import json
rows = [json.loads(l) for l in open("metrics")]
print([r["step"] for r in rows], [r["rate"] for r in rows], rows[3]["loss"] < rows[0]["loss"])
EOP
is "$(cat said)" "[1, 2, 3, 4] [0.005, 0.01, 0.01, 0.01] True" "rates of the warm-up, and the loss falls"
is "$(ls state)" step-4 "the newest state is kept"
is "$(cd out && ls)" "$(cd "$DS_MODEL" && ls | grep -v expected)" "the form of the model"
learn -o out --state state
is "$? $(wc -c <metrics)" "0 0" "a run that is complete makes no step"
learn -o rows --rows 1
is "$?" 0 "a frame for each record"
same rows/model.safetensors out/model.safetensors "the same bytes, also in frames of one record"

# killed after a state has appeared, and continued
for n in 1 3; do
	rm -rf again killed
	setsid ds-learn -t 1 --sft steps.jsonl --batch 2 --steps 4 --rate 1e-2 --warmup 2 --save-every 1 \
	    -o killed --state again >/dev/null 2>&1 &
	awaited test -d again/step-$n -o -d again/step-4
	kill -9 -$! 2>/dev/null
	wait $! 2>/dev/null
	learn -o killed --state again
	report $? "killed after step $n, and continued" err
	same killed/model.safetensors out/model.safetensors "the bytes of a run that was not killed"
done
fails_with 1 "^ds-learn: 'state/step-4': it was made with --rate 0.01, now it is 0.1: give the same" "another rate" \
    ds-learn --sft steps.jsonl --batch 2 --steps 4 --rate 0.1 --warmup 2 -o out --state state
fails_with 1 "^ds-learn: 'state/step-4': it was made with data .*, now it is" "other records" \
    ds-learn --sft sft --batch 2 --steps 4 --rate 1e-2 --warmup 2 -o out --state state
mkdir foreign && touch foreign/file
fails_with 2 "foreign" "a folder that another program made" ds-learn --sft steps.jsonl --steps 1 -o foreign
done_testing
