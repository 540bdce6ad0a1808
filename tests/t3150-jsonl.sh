#!/bin/sh
# only: asan leaks
# Requests and answers as lines of JSON: ds-tokenize --jsonl, ds-sample, ds-detokenize --jsonl.
. "${0%/*}/lib.sh"
export DS_MODEL="$M"

# answers OPTION...: those of ds-detokenize for the requests in `requests`; $options of ds-tokenize
options=
answers() {
	rm -f loop prompts; mkfifo loop prompts
	ds-tokenize --jsonl $options -o - -o prompts requests | ds-embed -i - -i loop | ds-block |
	    ds-head | ds-sample -n 12 | tee loop | ds-detokenize --jsonl --prompts prompts "$@"
}

cat >requests <<'EOL'
{"id": "a", "prompt": "2+2=", "n": 2, "temperature":1, "seed": 18446744073709551615,"logprobs":true}
{"messages": [{"role":"user","content":"2+2?"}], "temperature":0, "max_tokens":60, "logprobs":true}
{"id": 2e0, "messages": [{"role":"user","content":"2+2?"}], "temperature":0, "stop": ["=", "carry"]}

{"id": "b", "n": 0, "prompt": "x"}
{"id": "ids", "ids": [0, 22, 18], "temperature": 0, "stop": 1021, "max_tokens": 40}
{"id": "é\n\"", "ids": []}
{"id": "none", "prompt": "2+2=", "max_tokens": 0, "logprobs": true}
EOL
answers >got 2>err
is $? 1 "a run with wrong requests ends with 1"
is "$(grep -c failed err)" 3 "and names each on standard error"
answers --ordered >ordered 2>/dev/null
sort got >got.sorted
sort ordered >ordered.sorted
same got.sorted ordered.sorted "--ordered gives the same lines"

without_ids() { sed 's/"prompt_ids": \[[0-9, ]*\], //'; }
answers --ordered --prompt-ids >with 2>/dev/null
without_ids <with >without
same without ordered "--prompt-ids adds a key and nothing else"
like "$(head -1 with)" '"prompt_ids": \[0, 20, 13, 20, 31\], "ids"' "the tokens of the prompt"

py - >said <<'EOP'
import json
rows = [json.loads(l) for l in open("ordered")]
keys = [list(r) for r in rows]
want = "id index text reasoning answer ids finish_reason usage seed model precision".split()
print("keys", all([k for k in r if k not in ("logprobs", "error")] == want for r in rows))
print("order", *(json.dumps(r["id"], ensure_ascii=False) + "/%d" % r["index"] for r in rows))
print("reasons", *(r["finish_reason"] for r in rows))
failed = [(r["error"], r["ids"], r["precision"]) for r in rows if r["finish_reason"] == "error"]
print("errors", failed == [
    ("ds-tokenize: empty, not JSON", [], None),
    ("ds-tokenize: n is 0, must be between 1 and 65536", [], None),
    ("ds-embed: it has no tokens: give at least one", [], None)])
a, b, talk, cut, _, _, ids, _, none = rows
print("seeds", a["seed"] == b["seed"] == 2**64 - 1, a["ids"] != b["ids"], talk["seed"])
print("split", talk["text"] == talk["reasoning"] + "</think>\n\n" + talk["answer"],
    json.dumps(talk["answer"]), none["reasoning"])
rest = talk["text"][len(cut["text"]):]
print("cut", talk["text"].startswith(cut["text"]), rest[:1], cut["reasoning"] == cut["text"],
    "logprobs" in cut)
print("eos", talk["ids"][-1], ids["ids"][-1], ids["text"].endswith("<think>"))
print("usage", all(r["usage"]["completion_tokens"] == len(r["ids"]) for r in rows),
    talk["usage"]["prompt_tokens"], ids["usage"]["prompt_tokens"])
print("none", none["text"] == "", none["ids"], none["logprobs"])
print("model", {r["model"] for r in (a, talk, none)} == {"a69eda05a861adf5"} and a["precision"])
EOP
like "$(cat said)" "^keys True" "each line has all keys"
like "$(cat said)" '^order "a"/0 "a"/1 1/0 2.0/0 3/0 "b"/0 "ids"/0 "é\\n\\""/0 "none"/0$' \
    "in the order of the requests, with their ids"
like "$(cat said)" "^reasons length length stop stop error error stop error length$" \
    "with the reasons of their ends"
like "$(cat said)" "^errors True" "and the messages of those that failed"
like "$(cat said)" "^seeds True True 0" \
    "seeds have 64 bits, and the paths of a request are different"
like "$(cat said)" '^split True "4" None' "reasoning and answer are split as by -q"
like "$(cat said)" '^cut True = True False' "a stop string is no part of the text"
like "$(cat said)" "^eos 1 1021 False" \
    "ids contain the last token; ids in stop end an answer as well"
like "$(cat said)" "^usage True 9 3" "usage counts them"
like "$(cat said)" "^none True \[\] \[\]" "max_tokens 0 is an answer without text"
like "$(cat said)" "^model f32" "model and precision are those of the logits"

# --- an answer depends on its request alone ---
rm -f loop prompts; mkfifo loop prompts
ds-tokenize --jsonl -o - -o prompts requests | ds-embed -B 3 --batches 2 -i - -i loop |
    ds-attn -l 0 | ds-route -l 0 | ds-expert -l 0 | ds-block -l 1- | ds-head |
    ds-sample -n 12 --draft | ds-draft --by prompt | tee loop |
    ds-detokenize --jsonl --prompts prompts --ordered 2>/dev/null >split
same split ordered "another split, small batches and drafts give the same lines"
mv requests all
sed -n 1p all >requests
answers --ordered >lone
head -2 ordered >both
same lone both "a request alone has the same answers"
head -1 all | sed 's/"n": 2, //' >requests
options="--samples 2" answers --ordered >lone
same lone both "--samples is the default of n"
sed 's/.*/{"id": "a", "prompt": "2+2=", "temperature": 1}/' all | head -1 >requests
options="-S 18446744073709551615 --logprobs --samples 2" answers --ordered >lone
same lone both "-S and --logprobs are defaults as well"
rm -f loop; mkfifo loop
ds-tokenize --samples 2 "2+2=" | ds-embed -i - -i loop | ds-block | ds-head |
    ds-sample -n 12 -T 1 -S 3 | tee loop | ds-detokenize >texts
echo '{"prompt": "2+2=", "n": 2, "seed": 3, "temperature": 1}' >requests
answers --ordered >lone
py - <<'EOP'
import json
print(*(json.loads(l)["text"] for l in open("lone")), sep="\n", file=open("lone.texts", "w"))
EOP
same lone.texts texts "path i is the i-th of equal prompts"

# --- log-probabilities replay ---
py - <<'EOP'
import json, numpy
rows = [json.loads(l) for l in open("ordered")]
prompt = {"a": [0, 20, 13, 20, 31]}
out = open("requests", "w")
for r in rows[:2]:      # the prompts with their answers
    json.dump({"id": "%d" % r["index"], "ids": prompt["a"] + r["ids"], "max_tokens": 0}, out)
    out.write("\n")
same = [("%.9g" % numpy.float32(x)) == ("%.9g" % x) for r in rows[:2] for x in r["logprobs"]]
print(*same, file=open("digits", "w"))
EOP
is "$(tr ' ' '\n' <digits | sort | uniq -c | awk '{print $1, $2}')" "24 True" \
    "nine digits are a float32"
ds-tokenize --jsonl -a requests | ds-embed | ds-block | ds-head >logits
ds-score --tokens --json <logits >scores
py - >said <<'EOP'
import frame, json, numpy, sys
rows = [json.loads(l) for l in open("ordered")][:2]
scores = {}
for s in (json.loads(l) for l in open("scores")):
    if "pos" in s:
        scores.setdefault(s["seq"], []).append(s["logprob"])
print(all(abs(x - y) < 1e-6 for i, r in enumerate(rows)
    for x, y in zip(r["logprobs"], scores[i][-len(r["ids"]):])))
EOP
is "$(cat said)" True "log-probabilities are those of ds-score for the same ids"

ds-tokenize -c "2+2?" >talk
py - <<'EOP'
import frame, json
talk = json.loads(open("ordered").readlines()[2])
prompt = next(frame.read_frames(open("talk", "rb"))).tensors["ids"].tolist()
with open("requests", "w") as out:      # a request for each token, after those before it
    for k in range(len(talk["ids"])):
        ids = prompt + talk["ids"][:k]
        json.dump({"ids": ids, "temperature": 0, "max_tokens": 1, "logprobs": True}, out)
        out.write("\n")
EOP
answers --ordered >replayed
py - >said <<'EOP'
import json
talk = json.loads(open("ordered").readlines()[2])
rows = [json.loads(l) for l in open("replayed")]
print(len(rows) > 20, [r["ids"][0] for r in rows] == talk["ids"],
    [r["logprobs"][0] for r in rows] == talk["logprobs"])
inside = talk["ids"].index(1023) + 1                            # up to </think>
print([r["reasoning"] is not None for r in rows] == [i < inside for i in range(len(rows))])
EOP
is "$(tail -1 said)" "True" "a prompt that ends in the reasoning continues it"
is "$(head -1 said)" "True True True" \
    "and to the bit those of each token alone, after the ids before it"

# --- other ends of a stream ---
py - <<'EOP'
import frame, json
import numpy as np
def entry(i):
    request = {"id": json.dumps("r%d" % i), "index": 0, "seed": i}
    return {"stop_text": ["\u00e9"], "request": request}
def prompts(name, seqs, cut=False):
    with open(name, "wb") as to:
        for s in seqs:
            frame.write_frame(to, {"at": "embed", "spans": [[s, 0, 2, 1]], "seqs": {s: entry(s)}},
                {"ids": np.array([0, 20], "<i4")})
        if not cut: frame.write_frame(to, {"op": "end"})
def tokens(to, pos, flags, *pairs):
    frame.write_frame(to, {"at": "embed", "spans": [[s, pos, len(ids), flags] for s, ids in pairs]},
        {"ids": np.array([i for s, ids in pairs for i in ids], "<i4")})
prompts("p", [3, 4, 5])
prompts("p.down", [4, 3])
prompts("p.cut", [3], True)
with open("tokens", "wb") as to:
    tokens(to, 2, 1, (3, [20, 20]), (5, [170]))                 # 170: a byte that is no UTF-8
    tokens(to, 4, 9, (3, [22, 500, 500]))                       # a draft: its guesses are no text
    tokens(to, 4, 1, (3, [22]))                                 # again, after a restart
    tokens(to, 3, 4, (5, [20]))
    ended = {"reason": "stop", "model": "0" * 16, "precision": "bf16"}
    frame.write_frame(to, {"op": "free", "seq": 5, "ended": ended})
    tokens(to, 5, 4, (3, [20]))
    frame.write_frame(to, {"op": "free", "seq": 3})
    frame.write_frame(to, {"op": "end"})
with open("tokens.cut", "wb") as to:
    tokens(to, 2, 4, (3, [20]))
    frame.write_frame(to, {"op": "free", "seq": 3})
    tokens(to, 2, 1, (4, [20]))
with open("tokens.bad", "wb") as to:
    tokens(to, 2, 1, (9, [20]))
    frame.write_frame(to, {"op": "end"})
with open("tokens.lost", "wb") as to:
    tokens(to, 3, 1, (4, [20]))
    frame.write_frame(to, {"op": "end"})
EOP
detok() { p=$1; shift; ds-detokenize --jsonl --prompts "$p" "$@"; }
detok p tokens >got 2>err
is "$? $(cat err)" "1 ds-detokenize: the stream ended before 1 sequences" \
    "a sequence without an end has failed"
py - >said <<'EOP'
import json
for l in open("got"):
    r = json.loads(l)
    print(r["id"], r["finish_reason"], ascii(r["text"]), r["ids"], r["precision"], r.get("error"))
EOP
is "$(sed -n 1p said)" "r5 stop '\\ufffd2' [170, 20] bf16 None" "bytes that are no UTF-8 are U+FFFD"
is "$(sed -n 2p said)" "r3 stopped '2242' [20, 20, 22, 20] None None" \
    "a free without a reason was another program's; guesses are no text"
is "$(sed -n 3p said)" "r4 error '' [] None the stream ended before the sequence" \
    "and what has no end is an answer"
fails_with 3 "tokens.cut: ended without an end frame" \
    "a stream that breaks is an error" sh -c 'ds-detokenize --jsonl --prompts p tokens.cut >got'
is "$(grep -c . got)" 1 "and only what was complete has a line"
fails_with 3 "p.cut: ended without an end frame" \
    "prompts that break are an error" detok p.cut tokens
fails_with 1 "tokens without a prompt" "tokens without a prompt" detok p tokens.bad
fails_with 1 "sequence 4: position 2: its token is missing" \
    "a token that is missing" detok p tokens.lost
fails_with 1 "its prompt comes after that of 4" "prompts that do not ascend" detok p.down tokens
ds-tokenize "Hi" >plain
fails_with 1 "the prompt has no request: was it sent by ds-tokenize --jsonl" \
    "prompts that are no requests" detok plain tokens
fails_with 3 "standard output: cannot write" \
    "a full disk is an error" sh -c 'ds-detokenize --jsonl --prompts p tokens >/dev/full'

# --- lines that are long, many, or still open ---
head -c 20000000 /dev/zero | tr '\0' ' ' >requests
printf '\n{"prompt": "x"}' >>requests
ds-tokenize --jsonl requests >frames 2>err
is "$? $(ds-dump frames | grep -c embed)" "1 1" \
    "a line of 20 MB is one failed request, and the next one is sent"
like "$(cat err)" "sequence 0 failed: the line is longer than 16777216 bytes" "with its message"
rm -f feed; mkfifo feed
ds-tokenize --jsonl feed >frames &
exec 8>feed
printf '{"prompt": "x"}\n{"prom' >&8
ok "a request is sent as soon as its line is complete" awaited sh -c '[ -s frames ]'
printf 'pt": "y"}\n' >&8
exec 8>&-
wait $!
is "$? $(ds-dump frames | grep -c embed)" "0 2" "and so is the next one"

echo '{"prompt": "2+2?"}' | ds-tokenize --jsonl -c >chat
echo '{"messages": [{"role": "user", "content": "2+2?"}]}' | ds-tokenize --jsonl >talk
same chat talk "with -c a prompt is a user message"

# --- options ---
fails_with 2 "--lines does not go with --jsonl" "--lines with --jsonl" ds-tokenize --jsonl --lines
fails_with 2 "uses neither" \
    "--thinking for a template without it, before the first line" \
    ds-tokenize --jsonl --thinking on requests
fails_with 2 "-S is for requests" "-S without --jsonl" ds-tokenize -S 1 x
fails_with 2 "--samples '0'" "--samples 0" ds-tokenize --samples 0 x
fails_with 2 "--jsonl requires --prompts" "--jsonl without --prompts" ds-detokenize --jsonl tokens
fails_with 2 "--ordered is for --jsonl" "--ordered without --jsonl" ds-detokenize --ordered tokens
fails_with 2 "-q does not go with --jsonl" \
    "-q with --jsonl" ds-detokenize --jsonl --prompts p -q tokens
fails_with 2 "reads one stream" \
    "two streams of tokens" ds-detokenize --jsonl --prompts p tokens tokens
done_testing
