#!/bin/sh
# The 300 problems that come with tiny-r1, answered as one batch and one after another, as transformers answered them.
. "${0%/*}/lib.sh"
LIMIT=300
export DS_MODEL=$M

# replies FILE [TEXTS]: how many of the recorded replies these tokens are, and these texts
replies() {
	py - "$@" <<'EOP'
import collections, json, os, sys
import frame
want = [json.loads(line) for line in open(os.environ["DS_MODEL"] + "/eval.jsonl")]
got = collections.defaultdict(list)
for f in frame.read_frames(open(sys.argv[1], "rb")):
    if "op" not in f.header:
        for (seq, pos), token in zip(f.rows(), f.tensors["ids"]):
            got[seq].append(int(token))
texts = open(sys.argv[2], newline="").read().split("\0")[:-1] if len(sys.argv) > 2 else [w["reply"] for w in want]
right = 0
for i, w in enumerate(want):
    a, b = got[i], w["reply_ids"]
    if a == b and texts[i:i + 1] == [w["reply"]]:
        right += 1
    else:
        at = next((k for k, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        print(f"problem {i}: token {at} is {a[at:at + 1]}, recorded {b[at:at + 1]}; text {texts[i:i + 1]}", file=sys.stderr)
print(right, "of", len(want))
EOP
}

# what was recorded is at most 320 tokens long.  The output is the same on every machine, so a near tie can be no excuse:
# that of some other reply than the recorded one would be a change of the arithmetic
mkfifo loop
py - <<'EOP'
import json, os
texts = [json.loads(line)["prompt"] + "\0" for line in open(os.environ["DS_MODEL"] + "/eval.jsonl")]
open("prompts", "w").write("".join(texts))
for i in range(9, len(texts), 30):
    open(f"prompt.{i}", "w").write(texts[i])
EOP
is "$(tr -cd '\0' <prompts | wc -c)" 300 "there are 300 problems"
ok "as one batch: every process succeeds" pipe 'ds-tokenize -0 -c <prompts | ds-embed -i - -i loop | ds-block | ds-head |
    ds-sample -g -n 320 | tee loop batch | ds-detokenize -0 >texts'
is "$(replies batch texts)" "300 of 300" "as one batch: the replies are those recorded, tokens and text"
ok "one after another, row by row: every process succeeds" pipe 'ds-tokenize -0 -c <prompts | ds-embed -B 1 -i - -i loop |
    ds-block -t 1 | ds-head -t 1 | ds-sample -g -n 320 | tee loop >single'
is "$(replies single)" "300 of 300" "one after another: the replies are those recorded"
ok "each in a pipeline of its own: ten of them succeed" pipe '
    for p in prompt.*; do
	ds-tokenize -0 -c --seq ${p#*.} <$p | ds-embed -i - -i loop | ds-block -l 0-1 | ds-block -l 2-3 | ds-head |
	    ds-sample -g -n 320 | tee loop >own.${p#*.} || exit 1
    done'
printf '%s\tsame\tpart\t%s\n' own "$(echo own.* | tr ' ' '\t')" >list
py - <<'EOP'
import glob
import frame
own = {int(n[4:]) for n in glob.glob("own.*")}
with open("part", "wb") as out:
    for f in frame.read_frames(open("single", "rb")):
        if "op" in f.header and f.header["op"] == "end" or "op" not in f.header and f.header["spans"][0][0] in own:
            out.write(f.raw)
EOP
is "$(py "$T/bits.py" compare list | cut -f 1)" 0 "their replies are the same"
done_testing
