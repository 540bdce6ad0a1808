#!/bin/bash
# ds-sample: the thinking budget and stop strings, counted in new tokens; the same over a restart.
# only: asan leaks
# check: yes
. "${0%/*}/lib.sh"
export DS_MODEL=$M
mkfifo loop
cat >answers.py <<'EOP'
import json, os, subprocess
import frame

CLOSE, END = 1023, 1
EMBED = "--cache-size 64M"      # sequences share beginnings


def ask(name, asked):
    """The prompts: (seq, ids, its entry of seqs)."""
    with open(name, "wb") as out:
        for seq, ids, params in asked:
            f = frame.prompt((seq, 0, 1, ids))
            if params:
                f.header["seqs"] = {seq: params}
            out.write(f.bytes())
        out.write(frame.Frame({"op": "end"}).bytes())


def run(asked, rows, *options):
    """The new tokens of each sequence, and the errors."""
    ask("asked", asked)
    line = (f"ds-embed {EMBED} -B {rows} -i asked -i loop | ds-block -t 1 | ds-head -t 1 | "
            'ds-sample "$@" | tee loop >told')
    subprocess.run(["bash", "-c", line, "-", *options], check=True)
    new, failed = {}, {}
    for f in frame.read_frames(open("told", "rb")):
        if f.header.get("op") == "error":
            failed[f.header["seq"]] = f.header["text"]
        elif "op" not in f.header:
            for (seq, _, n, _), id in zip(f.header["spans"], f.tensors["ids"]):
                new.setdefault(seq, []).append(int(id))
    return new, failed


def text(ids):
    return b"".join(words[i] for i in ids)


model = json.load(open("tokenizer.json"))
# GPT-2's alphabet
plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
byte = {chr(b): b for b in plain}
byte |= {chr(256 + i): b for i, b in enumerate(sorted(set(range(256)) - set(plain)))}
words = {id: bytes(map(byte.get, s)) for s, id in model["model"]["vocab"].items()
         if set(s) <= set(byte)}
words |= {a["id"]: b"" if a["special"] else a["content"].encode() for a in model["added_tokens"]}
prompts = [list(map(int, line.split())) for line in open("ids")]


def point(good, what):
    print(0 if good else 1, what, sep="\t")
EOP
cat >main.py <<'EOP'
from answers import *

p = prompts[0]
ways = [{}, {"think_max": 3}, {"think_max": 0}, {"think_min": 70}, {"think_min": 5, "think_max": 5},
        {"stop_text": [b"none", b"arry "]}, {"stop_text": ["carry 1\n1+2", "\n</think>"]},
        {"think_min": 70, "stop": [19, CLOSE, CLOSE]}, {"stop_text": ["none", "\n\n4"]},
        {"think_min": 2**31 - 1, "max_new": 80}, {"think_max": 5000}, {"stop_text": []}]
bad = [{"think_min": 4, "think_max": 3}, {"think_min": 2**32}, {"think_max": 1.5},
       {"stop_text": "text"}, {"stop_text": [b""]}, {"stop_text": ["a"] * 65}, {"stop_text": [7]},
       {"think_min": 3, "stop": list(range(64)), "max_new": 9}]
for kind, more in ("greedy", {"greedy": True}), ("sampled", {"temperature": 1.5, "seed": 3}):
    asked = [(i, p, {**more, **w}) for i, w in enumerate(ways)]
    new, failed = run(asked, 32)
    base = new[0]
    point(not failed and len(new) == len(ways), f"{kind}: all are answered")
    if kind == "greedy":
        long = b"carry 1\n1+2"
        point(new[1][:4] == [*base[:3], CLOSE] and CLOSE not in base[:4],
              "think_max 3: token 3 is </think>")
        point(new[5] == base[:len(new[5])] and text(new[5]).endswith(b"arry ") and
              text(new[5]).count(b"arry ") == 1,
              "a stop string that begins within a token and ends with another")
        point(long in text(new[6]) and long not in text(new[6][:-1]), "one over many tokens")
        point(new[10] == base and new[11] == base,
              "a budget that is not reached, and no stop string, change nothing")
        point(text(new[8]).endswith(b"</think>\n\n4"), "one after the thinking")
    point(new[2][0] == CLOSE, f"{kind}: think_max 0: no thinking")
    point(not {CLOSE, END} & set(new[3][:70]) and len(new[3]) > 70,
          f"{kind}: think_min 70: neither </think> nor the end before")
    point(new[4].index(CLOSE) == 5, f"{kind}: both 5: </think> is token 5")
    point(not {CLOSE, 19} & set(new[7][:70]) and new[7][-1] in (CLOSE, 19),
          f"{kind}: the ids of stop are held back, too")
    point(len(new[9]) == 80 and not {CLOSE, END} & set(new[9]),
          f"{kind}: max_new ends a sequence in any case")
    for part in 3, 2:           # of the answer is in the prompt of the restarted sequence
        cut = {i: max(1, len(ids) * (part - 1) // part) for i, ids in new.items() if len(ids) > 1}
        again, failed = run([(i, p + new[i][:n], {**more, **ways[i], "new": n})
                             for i, n in cut.items()], 7)
        os.rename("asked", "again")
        point(not failed and all(new[i][n:] == again.get(i, []) for i, n in cut.items()),
              f"{kind}: restarted after 1 - 1/{part}: the same tokens")

reasons = ["think_min 4 is more than think_max 3",
           "'think_min' 4.29497e+09 is not from 0 to 4.29497e+09",
           "'think_max' 1.5 is not an integer", "'stop_text' is not an array of strings",
           "'stop_text': a stop string is empty", "'stop_text': more than 64 stop strings",
           "'stop_text' has an element that is not a string"]
new, failed = run([(i, p, {"greedy": True, **w}) for i, w in enumerate([*bad, {}])], 64)
point(sorted(failed) == list(range(7)) and len(new) == 2,
      "sequences with wrong parameters fail alone")
for i, why in enumerate(reasons):
    point(why in failed.get(i, ""), f"{failed.get(i)}")

opted, _ = run([(0, p, {})], 32, "-g", "--think-max", "3", "--stop", "none", "--stop", "rry 1")
want, _ = run([(0, p, {"greedy": True, "think_max": 3, "stop_text": ["none", "rry 1"]})], 32)
point(opted == want, "options do the same")
EOP
ds-tokenize -c "What is 13 + 28?" | tee one.in | ds-dump -f ids >ids
sed -i 's/^0 //' ids
frame end >end
ln -s "$M/tokenizer.json" .
py main.py >points 2>why || cat why >&2
while IFS=$(printf '\t') read -r status what; do
	report "$status" "$what"
done <points
is "$(wc -l <points)" 30 "all of these were tried"

# guesses change nothing; `again` has restarted sequences
for way in "" "--draft | ds-draft -t 1 --guesses 3"; do
	pipe "ds-embed -i again -i loop | ds-block -t 1 | ds-head -t 1 --tap head.hidden |
	    ds-sample $way | tee loop | ds-detokenize --special -0" >text."${way:+draft}" ||
	    report 1 "sampled${way:+ with guesses}"
done
same text.draft text. "with guesses the text is the same"
is "$(tr -cd '\0' <text.draft | wc -c)" 12 "of all sequences"

cp -r "$M" plain
py -c '
import json
t = json.load(open("plain/tokenizer.json"))
t["added_tokens"] = [a for a in t["added_tokens"] if a["content"] != "</think>"]
json.dump(t, open("plain/tokenizer.json", "w"))'
fails_with 2 "^ds-sample: think_max: the vocabulary has no token '</think>'$" \
    "a vocabulary without </think> refuses the option" ds-sample -m plain --think-max 9 -i end
ok "not without it" ds-sample -m plain --stop x -i end
fails_with 2 "^ds-sample: --think-min 9 is more than --think-max 8$" "bounds that contradict" \
    ds-sample --think-min 9 --think-max 8 -i end
fails_with 2 "^ds-sample: --stop '': a stop string is empty$" "an empty stop string" \
    ds-sample --stop '' -i end
mv plain/tokenizer.json away
ok "a model without a tokenizer is enough without both" ds-sample -m plain -i end
fails_with 1 "tokenizer.json" "but not with" ds-sample -m plain --stop x -i end
ds-embed <one.in | ds-block | ds-head >logits.dsf
py -c '
import sys, frame
for f in frame.read_frames(open("logits.dsf", "rb")):
    if "op" not in f.header:
        f.header["seqs"] = {0: {"think_min": 3}}
        t = {k: v.copy() for k, v in f.tensors.items()}
        t["logits"][:] = -float("inf")
        t["logits"][:, 1023] = 0
        f.tensors = t
    sys.stdout.buffer.write(f.bytes())' >held.dsf
refused="error of sequence 0: ds-sample"
like "$(ds-sample -n 1 -i held.dsf | ds-dump)" \
    "$refused: position [0-9]+: think_min leaves no possible token" "a minimum that leaves no token"
like "$(ds-sample -n 1 -m plain -i held.dsf | ds-dump)" "$refused: .*tokenizer.json" \
    "a sequence that needs a vocabulary that is missing"
py -c '
import sys, frame
for f in frame.read_frames(open("logits.dsf", "rb")):
    if "op" not in f.header:
        sys.stdout.buffer.write(f.bytes())
        f.header["seqs"] = {0: {"think_max": 1}}
        f.header["spans"] = [[0, n, n, flags] for _, _, n, flags in f.header["spans"]]
    sys.stdout.buffer.write(f.bytes())' >late.dsf
is "$(ds-sample -n 2 -i late.dsf | ds-dump -f ids | tail -n 1)" 1023 \
    "a budget that comes with a later token"
like "$(ds-sample -n 2 -m plain -i late.dsf | ds-dump)" "$refused: .*tokenizer.json" \
    "and needs a vocabulary"
for value in inf nan; do
	ds-poke --tensor logits --col 5 --set $value <logits.dsf >poked.dsf
	like "$(ds-sample -n 1 -i poked.dsf | ds-dump)" \
	    "$refused: position [0-9]+: the logit of token 5 is (infinite|not a number)" \
	    "a logit that is $value fails its sequence"
done
done_testing
