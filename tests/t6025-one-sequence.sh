#!/bin/sh
# One sequence that fails costs its own answer: the others go on, the end of the line reports it, the status is 1.
# also: asan
. "${0%/*}/lib.sh"
export DS_MODEL="$M"
a="What is 37 * 46?" b="What is 9 * 8?"
ds-run -g -q "$a" "$b" >two
{ head -1 two; echo; tail -1 two; } >three      # with a line for the answer that is missing

# reported STATUS FILE REGEX DESC: what the last command's status was, and its only line on standard error, in said
reported() {
	[ "$1" -eq 1 ] && cmp -s out "$2" && [ "$(wc -l <said)" -eq 1 ] && grep -Eq -e "$3" said
	report $? "$4" out said
}

# --- every program passes the frame on, and goes on ---
{ frame error "out of luck" 7; frame error "two" 18446744073709551615; frame end; } >failed
for p in attn route expert block head sample "relay -i -" cut "poke --allow-none --zero --tensor h" "join -i - -i failed"; do
	ok "ds-${p%% *} passes it on" sh -c 'cat failed | ds-$1 2>said | cat >out && cmp out failed && ! test -s said' - "$p"
done
for p in attn head "relay -i -" embed; do
	ds-$p <failed >out 2>said
	is "$?, $(cat said)" "1, ds-${p%% *}: sequence 7 failed: out of luck
ds-${p%% *}: sequence 18446744073709551615 failed: two" "ds-${p%% *} that writes a file is the end of the line"
done
ok "ds-cut takes it for a frame of its sequence" sh -c 'ds-cut --seq 7 <failed | ds-dump | grep -c error >n; grep -qx 1 n'
is "$(ds-dump <failed | head -1)" "frame 1: error of sequence 7: out of luck" "ds-dump shows it"
like "$(ds-dump -f json <failed)" '"op": *"error".*"seq": *7|"seq": *7.*"op": *"error"' "also in JSON"

# --- caches forget ---
{ frame prompt 7 0 3 5 6 7; frame error "why" 7; frame prompt 8 0 3 5; frame end; } | ds-embed 2>/dev/null >rows
ds-block <rows 2>/dev/null | ds-head 2>/dev/null | ds-dump -f json >all
is "$(grep -c '"spans"' all)" 2 "rows of other sequences go on"
py - <<'EOP'
import frame
a = list(frame.read_frames(open("rows", "rb")))
rows = a[0]
rows.header["spans"] = [[7, 3, 3, 0]]
open("late", "wb").write(b"".join(f.raw for f in a[:-1]) + rows.bytes() + a[-1].raw)
EOP
fails_with 1 "layer 0: sequence 7: position 3 arrives, cache holds 0" "a cache forgets the sequence" pipe 'ds-attn -l 0 <late | cat >out'

# --- the ends ---
ids() { ds-tokenize -b --seq "$1" "$2" | frame take -1; }
{ ids 0 a; ids 1 b; frame error "bad luck" 1; ids 2 c; frame error "bad luck" 3; frame error "bad luck" 4; frame error "other" 5; frame end; } >said-so
ds-detokenize <said-so >out 2>said
is "$?" 1 "ds-detokenize: the status is 1"
is "$(tr '\n' / <out)" "a/b/c////" "what came is printed, in order"
is "$(cat said)" "ds-detokenize: sequence 1 failed: bad luck
ds-detokenize: 2 more sequences failed: bad luck
ds-detokenize: sequence 5 failed: other" "a line for each, one for those that failed alike"
ds-tokenize -a "12+30=42" "1+1=" | ds-embed | ds-block | ds-head >scored
ds-score <scored >want
py - <<'EOP'
import frame
a = list(frame.read_frames(open("scored", "rb")))
open("scored", "wb").write(b"".join(f.raw for f in a[:-2]) + frame.Frame({"op": "error", "seq": 1, "text": "why"}).bytes() + a[-1].raw)
EOP
ds-score <scored >out 2>said
is "$?, $(cat said), $(grep -c ^sequence out)" "1, ds-score: sequence 1 failed: why, 1" "ds-score has no record of it"

# --- ds-run ---
long=$(yes '1+1=?' | head -3000 | tr '\n' ' ')
for x in fused "stage --batches 2"; do
	ds-run -g -q -x $x "$a" "$long" "$b" >out 2>said
	reported $? three '^ds-detokenize: sequence 1 failed: ds-embed: [0-9]+ tokens are more than max_position_embeddings 2048$' \
	    "-x $x: a prompt that is too long costs its own answer"
done
ds-run -g -q "$long" >out 2>said
reported $? /dev/stdin '^ds-detokenize: sequence 0 failed' "also where it is the only one" <<'EOP'

EOP
ds-run -g -q -s "$a" "$long" "$b" >script
sh script >out 2>said
reported $? three '^ds-detokenize: sequence 1 failed' "the script says the same"

# --- other reasons: a program between two of the line that spoils sequence 1 ---
mkfifo loop
# spoilt DESC REGEX BEFORE AFTER: it stands before ds-embed, and after ds-head
spoilt() {
	ds-tokenize -c "$a" "Hi" "$b" | eval "$3" | ds-embed -i - -i loop | ds-block | ds-head | eval "$4" |
	    ds-sample -g | tee loop | ds-detokenize -c -q >out 2>said
	reported $? three "^ds-detokenize: sequence 1 failed: $2" "$1"
}
cat >spoil.py <<'EOP'
import frame, sys
out = sys.stdout.buffer
for f in frame.read_frames(sys.stdin.buffer):
    if f.header.get("spans", [[0]])[0][0] == 1:
        ids = f.tensors["ids"].copy()
        f.tensors["ids"] = ids
        exec(sys.argv[1])
        f.raw = f.bytes()
    out.write(f.raw)
    out.flush()
EOP
spoil() { py spoil.py "$1"; }
spoilt "an id that is too large" "ds-embed: token id 1024 at position 1 " 'spoil "ids[1] = 1024"' cat
spoilt "one that is negative" "ds-embed: token id -7 at position 0 " 'spoil "ids[0] = -7"' cat
spoilt "a sequence that begins late" "ds-embed: it begins at position 3" 'spoil "f.header[\"spans\"][0][1] = 3"' cat
spoilt "one without tokens" "ds-embed: it has no tokens" 'spoil "f.header[\"spans\"][0][2] = 0; f.tensors[\"ids\"] = ids[:0]"' cat
spoilt "parameters that are none" "ds-sample: seqs: 'top_p' 7 is not from 0 to 1" 'spoil "f.header[\"seqs\"] = {1: {\"top_p\": 7.0}}"' cat
spoilt "a tool that refuses it" "no" 'py -c "
import frame, sys
for f in frame.read_frames(sys.stdin.buffer):
    if f.header.get(\"spans\", [[0]])[0][0] == 1:
        f = frame.Frame({\"op\": \"error\", \"seq\": 1, \"text\": \"no\"}); f.raw = f.bytes()
    sys.stdout.buffer.write(f.raw)"' cat
spoilt "logits that are not numbers" "ds-sample: position [0-9]+: the logit of token 0 is not a number" cat 'ds-poke --seq 1 --tensor logits --set nan'

# --- what its input still brings of it is dropped, until it begins anew ---
shape() { ds-dump | sed 's/;.*//; s/, [0-9]* rows*//; /^ /d; s/^frame [0-9]*: //'; }
{ frame prompt 7 0 0 5 2000; frame prompt 7 2 0 6; frame prompt 7 3 1 6 7; frame prompt 7 0 1 9; frame free 3; frame end; } |
    ds-embed | shape >out
is "$(cat out)" "error of sequence 7: ds-embed: token id 2000 at position 1 is not in the vocabulary of 1024
attn layer 0: 7@0+1 sample
free 3
end" "it fails once"
{ frame fork 7 8 0; frame prompt 8 0 1 5; frame prompt 1 0 0 5; frame fork 1 2 3; frame prompt 2 3 1 5; frame fork 1 4 1; frame prompt 4 1 1 5; frame end; } |
    ds-embed | shape >out
is "$(cat out)" "error of sequence 8: ds-embed: fork from sequence 7, which is not alive
attn layer 0: 8@0+1 sample
attn layer 0: 1@0+1
error of sequence 2: ds-embed: fork of 3 positions from sequence 1, which has 1
fork the first 1 positions of 1 to 4
attn layer 0: 4@1+1 sample
free 1
end" "a fork that cannot be costs the new sequence"
{ frame prompt 7 0 1 5; frame prompt 8 0 1 5; frame end; } >one.in
{ frame prompt 7 0 1 2000; frame prompt 8 0 1 6; frame end; } >other.in
mkfifo there
ds-embed -i one.in -i other.in -i loop 2>said | ds-block | ds-head | ds-sample -g -n 2 -o loop -o - | shape >out
is "$(grep error out)" "error of sequence 9223372036854775808: ds-embed: token id 2000 at position 0 is not in the vocabulary of 1024" \
    "the sequence of a second input has the number that the line knows"
is "$(grep -o last out | wc -l)" 3 "three others are answered"

{ frame prompt 7 0 1 5 2000; frame prompt 7 0 1 5 6; frame prompt 8 0 1 5 6; frame end; } >again.in
ds-embed -i again.in -i loop 2>said | ds-block | ds-head | ds-sample -g -n 3 | tee loop kept.dsf | ds-detokenize >out 2>>said
is "$?, $(cat said), $(wc -l <out)" "1, ds-detokenize: sequence 7 failed: ds-embed: token id 2000 at position 1 is not in the vocabulary of 1024, 3" \
    "a number that is used again right after it failed is answered: the error that comes round is not the new sequence's"
is "$(ds-dump <kept.dsf | grep -o '7@4+1 last')" "7@4+1 last" "with all of its tokens"
{ py -c '
import sys, frame
raw = bytearray(frame.Frame({"op": "error", "seq": 3, "text": "y" * 500000}).bytes())
text = bytes(raw).index(b"y" * 500000)
raw[text:text + 500000] = b"\xff" * 500000
header = int.from_bytes(raw[6:10], "big")
raw[14:18] = frame.crc32c(bytes(raw[18:18 + header])).to_bytes(4, "big")
sys.stdout.buffer.write(raw)'; frame prompt 8 0 1 5; frame end; } | ds-embed | shape >out
is "$(cut -c1-21 out)" "error of sequence 3: 
attn layer 0: 8@0+1 s
end" "a text that is long and no UTF-8 costs no other sequence"

# --- a ring ---
ds-tokenize -c "$a" "$long" "$b" | ds-embed --ring --batches 2 -i - -i loop | ds-attn | ds-route >there &
ds-expert <there | ds-head --ring | ds-poke --seq 2 --pos 40- --tensor logits --set nan | ds-sample --ring -g | tee loop |
    ds-cut --at embed | ds-detokenize -c -q >out 2>said
is "$?, $(grep -c -x -F "$(head -1 two)" out), $(wc -l <out)" "1, 1, 3" "in a ring the others go on, too"
is "$(sed 's/^ds-detokenize: \(sequence [0-9] failed: ds-[a-z]*\): .*/\1/' said)" "sequence 1 failed: ds-embed
sequence 2 failed: ds-sample" "and both are reported"
wait
is "$?" 0 "all have ended"

# --- the loop is forgotten ---
line() { ds-tokenize -c "$@" | ds-embed | ds-block | ds-head; }
line "$a" >head.dsf
fails_with 1 "^ds-detokenize: sequence 0 failed: ds-sample: .*is the loop missing\?" "a loop that is forgotten is reported" \
    bash -c 'ds-sample -g <head.dsf | ds-detokenize -c'
same .out /dev/stdin "with the token that came" <<'EOP'
3
EOP
line "$a" "$b" "Hi" | ds-sample -g 2>/dev/null | ds-detokenize -c >out 2>said
is "$?, $(grep -c '^ds-detokenize: sequence 0 failed: ' said), $(grep -c '^ds-detokenize: 2 more sequences failed: ' said), $(wc -l <said)" "1, 1, 1, 2" \
    "of several by their number"
fails_with 1 "^ds-sample: sequence 0 failed: .*loop" "ds-sample that writes a file reports it" sh -c 'ds-sample -g <head.dsf >out'
ok "a token alone can be asked for" bash -o pipefail -c 'test "$(ds-sample -g -n 1 <head.dsf | ds-detokenize -c 2>&1)" = 3'
ok "prompts are text" sh -c 'ds-tokenize -c Hi | ds-detokenize --special >out 2>said && test -s out && ! test -s said'
ds-tokenize -c "$a" "$b" | ds-embed -i - -i loop | ds-block | ds-head | tee logits.dsf | ds-sample -g | tee loop kept.dsf | ds-detokenize -c >out
ds-detokenize -c <kept.dsf >again 2>said
is "$?, $(cat said)" "0, " "so is the copy of a run"
same out again "the whole of it"
ds-sample -g <logits.dsf 2>said | ds-detokenize -c >again 2>>said
is "$?, $(cat said)" "0, " "and its logits, sampled again"
same out again "which say the same"
ds-cut --pos 40-50 <kept.dsf | ds-detokenize -c >out 2>said
is "$?, $(cat said)" "0, " "and a piece of it"
done_testing
