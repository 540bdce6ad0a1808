#!/bin/sh
# Each of 100 sequences of a busy run on three hosts has the answer that it has alone, to the bit:
# with batches, forks, guesses, prefixes from memory and from disk, evictions and preemptions.
# also: asan
. "${0%/*}/lib.sh"
export DS_MODEL=$M
"$PY" -c 'import zmq' 2>/dev/null || skip_all "no python3-zmq"
unset DS_RSH DS_KEY DS_PEERS
mkfifo loop prompts

# Requests of 1 to 4 paths each: short, long, equal, with a common beginning, the next turn of a
# conversation, greedy and sampled, with all that can end an answer.
paths=$(few 100 40)
py - "$paths" >requests <<'EOP'
import json, os, random, sys
dice, left = random.Random(15), int(sys.argv[1])
asks = [json.loads(l)["prompt"] for l in open(os.environ["M"] + "/eval.jsonl")][:400:7]
shots = " ".join("%d + %d = %d." % (a, b, a + b) for a, b in zip(range(11, 29), range(64, 99)))
before = None
for i in range(left):
    ask = asks[i % len(asks)] if i % 9 else asks[0]
    q = {"id": "q%d" % i, "prompt": ask, "n": min(left, [1, 1, 2, 4, 1][i % 5])}
    if i % 4 == 1:
        q["prompt"] = shots[:dice.choice([40, 160, len(shots)])] + " " + ask
    if i % 6 == 2:
        q["ids"] = [dice.randrange(1000)] * 3 + [dice.randrange(1000) for _ in range(i * 3)]
        del q["prompt"]
    if i % 7 == 3 and before:
        q["messages"] = [{"role": "user", "content": before},
            {"role": "assistant", "content": "</think>\n\n42"},
            {"role": "user", "content": ask}]
        q.pop("prompt", None)
        q.pop("ids", None)
    q["temperature"] = dice.choice([0, 0, 0.6, 1, 1.5])
    q["seed"] = dice.choice([i, 7, 2**64 - 1])
    q["max_tokens"] = dice.choice([1, 2, 9, 9, 20, 20, 70])
    if i % 8 == 1:
        q.update(top_p=0.9, top_k=5)
    if i % 10 == 4:
        q["stop"] = ["1", 24]
    if i % 11 == 5:
        q.update(think_min=4, think_max=9)
    if i < 8:               # these grow by two pages together
        q = {"id": "q%d" % i, "ids": [i + 30] * 10, "temperature": 1, "max_tokens": 140,
            "think_min": 140}
    before, left = q.get("prompt", before), left - q.get("n", 1)
    print(json.dumps(q))
    if left == 0:
        break
EOP

# --- the reference: no cache, no guesses, one batch in one pipeline; and each of some alone ---
# answers REQUESTS: on standard output, by a line of programs without any of it
answers() {
	pipe 'ds-tokenize --jsonl -c --logprobs -o - -o prompts "$0" | ds-embed -i - -i loop |
	    ds-block -t 1 | ds-head -t 1 | ds-sample | tee loop |
	    ds-detokenize --jsonl --prompts prompts --ordered' "$1"
}
answers requests >want
is "$(grep -c '"finish_reason": "[sl]' want)" "$paths" "the reference has all answers"
for i in $(few "2 9 11 14 23 31" 11); do
	sed -n "${i}p" requests >one
	answers one >lone
	grep "^{\"id\": \"q$((i - 1))\"," want >want.one
	same lone want.one "request $i alone has the same answers"
done

# --- the busy run ---
sed -n '1~4p' requests >some
ok "some prefixes are saved" ds-run -t 1 --jsonl some --cache-dir saved --out .some
set -- $(ports 6)
busy="-B 30 --batches 3 --cache-size 2M"
n="[1-9][0-9]*" kept="--cache-dir '$S/saved'" m="-m '$M'"
cat >three.plan <<EOP
plan 1
host alpha 127.0.0.1
host beta 127.0.0.2
host gamma 127.0.0.3
feed tcp://{alpha}:$1
take tcp://{gamma}:$2
run alpha ds-embed $m $busy $kept -i @tcp://{alpha}:$1 -i @tcp://{alpha}:$3 -o ipc://{run}/0
run alpha ds-block $m -t 1 -l 0-1 $kept -i @ipc://{run}/0 -o tcp://{beta}:$4
run beta ds-attn $m -t 1 -l 2 $kept --cache-size 230K -i @tcp://{beta}:$4 -o ipc://{run}/1
run beta ds-route $m -t 1 -l 2 -i @ipc://{run}/1 -o ipc://{run}/2
run beta ds-expert $m -t 1 -l 2 -i @ipc://{run}/2 -o tcp://{gamma}:$5
run gamma ds-block $m -t 1 -l 3 $kept -i @tcp://{gamma}:$5 -o ipc://{run}/3
run gamma ds-head $m -t 1 -i @ipc://{run}/3 -o ipc://{run}/4
run gamma ds-sample $m -i @ipc://{run}/4 -o tcp://{alpha}:$3 -o @tcp://{gamma}:$2
EOP
for kind in mtp $(few prompt ""); do
	limited ds-run --plan three.plan --draft $kind --jsonl requests --ordered \
	    --logprobs -v -v >got 2>said
	report $? "--draft $kind: it runs" said
	same got want "... each sequence has the answer that it has alone, with the same bits"
	like "$(cat said)" "^alpha: ds-embed: $n of $n prompts began after a known prefix of $n " \
	    "... prompts were forked"
	like "$(cat said)" "; $n prefixes dropped, $n sequences preempted, $n rows computed again" \
	    "... prefixes dropped, sequences preempted"
	like "$(cat said)" "^alpha: ds-embed: $n prefixes of $n positions loaded, " \
	    "... prefixes loaded"
	like "$(cat said)" "^gamma: ds-draft: $n guesses, $n accepted" "... guesses accepted"
done
done_testing
