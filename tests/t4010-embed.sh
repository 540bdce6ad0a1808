#!/bin/sh
# also: asan leaks
# ds-embed: the door of the pipeline.
. "${0%/*}/lib.sh"

# what a stream's frames are, a line each: op or stage, spans
shape() {
	py -c '
import sys, frame
for f in frame.read_frames(sys.stdin.buffer):
    h = f.header
    print(h["op"], *[v for k, v in h.items() if k != "op"]) if "op" in h else print(h["at"], h.get("layer"), *["%d:%d+%d/%d" % tuple(s) for s in h["spans"]])
'
}

# embed [OPTION...]: the frames on standard input through the straight line
embed() {
	ds-embed -m "$M" "$@" | tee last.dsf | shape
}

{ frame prompt 7 0 1 0 5 6 / 9 0 3 8; frame end; } >two.dsf
is "$(embed <two.dsf)" "attn 0 7:0+3/1 9:0+1/3
end" "one frame of two prompts becomes one batch"
ok "what it writes is as the page says" sh -c "$FRAME check <last.dsf"
like "$($FRAME show <last.dsf)" '"model": *"[0-9a-f]{16}"|model.*[0-9a-f]{16}' "the model is filled in"
is "$(embed -B 2 <two.dsf)" "attn 0 7:0+2/0
attn 0 7:2+1/1 9:0+1/3
end" "a prompt that does not fit is cut, its last flags on the last piece"
is "$(embed -B 1 <two.dsf | wc -l)" 5 "batches of one row"
ds-embed -m "$M" <two.dsf | frame tensors >whole.txt
ds-embed -m "$M" -B 1 <two.dsf | frame tensors >cut.txt
same whole.txt cut.txt "cutting changes no bit"

{ frame prompt 7 0 0 0 5; frame prompt 7 2 1 6; frame end; } >goes-on.dsf
is "$(embed <goes-on.dsf | tail -2)" "attn 0 7:2+1/1
end" "a prompt may come in several frames"
{ frame prompt 7 0 2 0 5 6; frame end; } >scored.dsf
is "$(embed <scored.dsf)" "attn 0 7:0+3/2
free 7
end" "a sequence that asks for no sampled row is freed"
{ frame prompt 7 0 4 0 5 6; frame prompt 7 0 1 3; frame end; } >last.in
is "$(embed <last.in)" "attn 0 7:0+2/0
free 7
attn 0 7:0+1/1
end" "the last token of a sequence is text, and frees it"
{ frame prompt 7 0 2; frame prompt 8 0 1 4; frame end; } >empty.dsf
is "$(embed <empty.dsf)" "attn 0 7:0+0/2
attn 0 8:0+1/1
free 7
end" "an empty prompt is a span without rows"
{ frame prompt 7 0 0 0 5 6; frame fork 7 8 2; frame prompt 8 2 1 9; frame end; } >fork.dsf
is "$(embed <fork.dsf)" "attn 0 7:0+3/0
fork 7 8 2
attn 0 8:2+1/1
free 7
end" "a fork is passed on, and its sequence goes on where it was cut"
{ frame prompt 18446744073709551615 0 1 4; frame end; } >big.dsf
is "$(embed <big.dsf | head -1)" "attn 0 18446744073709551615:0+1/1" "a sequence id is any number of 64 bits"

# keys that it does not know
{ frame prompt 1 0 1 4 5 6 | frame set note '{"a": [1, null]}'; frame prompt 2 0 1 4; frame end; } >other.dsf
is "$(embed -B 2 <other.dsf)" "attn 0 1:0+2/0
attn 0 1:2+1/1
attn 0 2:0+1/1
end" "a frame with unknown keys is a batch of its own"
is "$(frame show <last.dsf | grep -c note)" 2 "and its pieces copy them"
{ py -c '
import sys, numpy as np, frame
ids = np.arange(3, dtype=np.int32)
frame.write_frame(sys.stdout.buffer, {"at": "embed", "spans": [[1, 0, 3, 1]]},
    {"ids": ids, "mine": np.arange(6, dtype=np.float32).reshape(3, 2), "all": np.arange(4, dtype=np.uint8)})'; frame end; } >own.dsf
ds-embed -m "$M" -B 2 <own.dsf >own.out
is "$(py -c '
import frame
print([(k, v.tolist()) for f in frame.read_frames(open("own.out", "rb")) for k, v in f.tensors.items() if k in ("mine", "all")])')" \
    "[('mine', [[0.0, 1.0], [2.0, 3.0]]), ('all', [0, 1, 2, 3]), ('mine', [[4.0, 5.0]]), ('all', [0, 1, 2, 3])]" \
    "a frame's own tensors are cut with its rows"

# the loop: a second program plays ds-sample
mkfifo loop
# answer TOKENS FLAGS...: for each sampled row send the next token of the list back, the last with flag 4
player() {
	py -c '
import sys, numpy as np, frame
out = open(sys.argv[1], "wb", buffering=0)
left = {}
for f in frame.read_frames(sys.stdin.buffer):
    h = f.header
    if h.get("op") == "end":
        frame.write_frame(out, h)
        print("end"); break
    if "op" in h:
        print(h["op"], h.get("seq")); continue
    spans, frees = [], []
    print(h["at"], *["%d:%d+%d/%d" % tuple(s) for s in h["spans"]])
    for seq, pos, n, flags in h["spans"]:
        if flags & 1 and n:
            left[seq] = left.get(seq, int(sys.argv[2])) - 1
            spans.append([seq, pos + n, 1, 1 if left[seq] else 4])
            if not left[seq]: frees.append(seq)
    if spans:
        frame.write_frame(out, {"at": "embed", "spans": spans}, {"ids": np.full(len(spans), 3, np.int32)})
    for s in frees: frame.write_frame(out, {"op": "free", "seq": s})
' loop "$1"
}
# door TOKENS INPUT...: ds-embed with the loop; its exit status comes last
door() {
	n=$1; shift
	opts=
	for f; do opts="$opts -i $f"; done
	{ timeout 20 ds-embed -m "$M" $opts -i loop 2>err; echo $? >status; } | player "$n"
	cat status
}
is "$(door 2 two.dsf)" "attn 7:0+3/1 9:0+1/3
attn 7:3+1/1 9:1+1/1
free 7
free 9
end
0" "the loop runs until every sequence is free"
is "$(door 2 scored.dsf)" "attn 7:0+3/2
free 7
end
0" "one that nobody samples does not keep it waiting"
is "$(door 1 two.dsf two.dsf | head -1)" "attn 7:0+3/1 9:0+1/3 9223372036854775808:0+3/1 9223372036854775809:0+1/3" \
    "sequences of a second input that clash get ids of their own"
{ frame prompt 1 0 1 4; frame prompt 2 0 1 4; frame prompt 3 0 1 4; frame end; } >three.dsf
is "$(n=1; { timeout 20 ds-embed -m "$M" -B 1 -i three.dsf -i loop; echo $? >status; } | player 1 | grep -c attn; cat status)" "3
0" "prompts are taken in as room is made"

# faults
printf '' >nothing
fails_with 3 'ended without an end frame' "an input that ends early" ds-embed -m "$M" -i nothing
{ frame prompt 7 0 1 0 1024; frame end; } >bad-id.dsf
fails_with 1 '^ds-embed: sequence 7 failed: token id 1024 at position 1 is not in the vocabulary of 1024$' "an id outside the vocabulary" ds-embed -m "$M" -i bad-id.dsf -o /dev/null
{ frame prompt 7 0 1 0 -- -1 2>/dev/null || frame prompt 7 0 1 0 -1; frame end; } >neg.dsf
fails_with 1 'token id -1' "a negative id" ds-embed -m "$M" -i neg.dsf -o /dev/null
{ frame prompt 7 5 1 0; frame end; } >late.dsf
fails_with 1 '^ds-embed: sequence 7 failed: it begins at position 5' "a sequence that does not begin at 0" ds-embed -m "$M" -i late.dsf -o /dev/null
{ frame prompt 7 0 1 0; frame prompt 7 2 1 0; frame end; } >gap.dsf
fails_with 1 '^ds-embed: sequence 7 failed: position 2 arrives, it stands at 1$' "a prompt with a gap" ds-embed -m "$M" -i gap.dsf -o /dev/null
{ frame prompt 7 0 1 0; frame prompt 7 0 1 0; frame end; } >again.dsf
fails_with 1 '^ds-embed: sequence 7 failed: position 0 arrives, it stands at 1$' "only the loop may go back" ds-embed -m "$M" -i again.dsf -o /dev/null
{ frame prompt 7 0 1 4 | frame set model '"0123456789abcdef"'; frame end; } >other-model.dsf
fails_with 1 'of model 0123456789abcdef' "a frame of another model" ds-embed -m "$M" -i other-model.dsf -o /dev/null
fails_with 1 'which is not alive' "a loop that brings what nobody sent" ds-embed -m "$M" -i two.dsf -i big.dsf -o /dev/null
fails_with 2 '-B' "a batch of no rows" ds-embed -m "$M" -B 0
fails_with 2 'no model' "no model" ds-embed -i two.dsf -o /dev/null
fails_with 1 'config.json' "a folder that is no model" ds-embed -m "$S" -i two.dsf -o /dev/null
fails_with 3 'standard output' "a full disk" sh -c "ds-embed -m '$M' <two.dsf >/dev/full"
{ frame error 'disk on fire'; } >error.dsf
fails_with 3 'upstream: disk on fire' "an error frame from above" ds-embed -m "$M" -i error.dsf -o passed.dsf
like "$(frame show <passed.dsf 2>/dev/null)" 'disk on fire' "which is passed on"
done_testing
