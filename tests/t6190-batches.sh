#!/bin/sh
# However many batches are under way at once, the text and every token are the same.
. "${0%/*}/lib.sh"
export DS_MODEL=$M

py -c '
import json, sys
asks = [json.loads(l)["prompt"] for l in open(sys.argv[1])][:12]
open("asks", "w").write("".join(a + "\0" for a in asks))' "$M/eval.jsonl"
cat >turns.py <<'EOP'
import sys, frame
between, last = 0, {}
for i, f in enumerate(frame.read_frames(open(sys.argv[1], "rb"))):
    for seq, pos, n, flags in f.header.get("spans", []):
        if seq in last and i > last[seq] + 1:
            between += 1
        last[seq] = i
print(between)
EOP
mkfifo loop
for n in 1 2 3 8; do
	ok "12 questions, $n batches" pipe 'ds-tokenize -c -0 <asks | ds-embed --batches "$0" -i - -i loop | tee batches |
	    ds-block -l 0-1 | ds-block -l 2-3 | ds-head | ds-sample -g -n 60 | tee loop tokens.$0 | ds-detokenize -c >text.$0' $n
	[ $n -gt 1 ] || continue
	ok "rows of others go between a row and the next of its sequence, with $n" test "$(py turns.py batches)" -gt 100
	same text.$n text.1 "the text is the same with $n"
	printf 'x\ttexts\ttokens.%s\ttokens.1\n' $n >list
	is "$(py "$T/bits.py" compare list)" "0	x	" "and each token, with $n"
done
set -- "What is 12 + 30?" "9 * 8" "100 - 1"
ds-run -g "$@" >want
for x in fused layer; do
	ok "ds-run --batches, -x $x" sh -c 'ds-run -g -x $0 --batches 3 "$@" >got' $x "$@"
	same got want "says the same: -x $x"
done
ds-run -g --batches 3 -s "$@" >script
is "$(grep -c 'ds-embed.* --batches 3' script)" 1 "-s shows it"
ok "the script runs" sh -c 'sh script >got'
same got want "and says the same"
is "$(ds-run -s "$@" | grep -c -e '--batches auto')" 1 "the default finds the number"
fails_with 2 "batches 'x': give an integer" "ds-run wants a number" ds-run --batches x
done_testing
