#!/bin/sh
# ds-embed --cache-size: prefixes, the limit, preemption.
# also: asan leaks
. "${0%/*}/lib.sh"
export DS_MODEL=$M

# --- a pipeline that is played: each row's cache, and every page, is compared ---
mkfifo loop
n=100
for args in "3 1 11 0 1" "4 1 60 1 1" "5 3 8 0 0" "8 2 24 1 1" "200 1 32 1 1"; do
	n=$((n + 1))
	[ $n -le $(few 105 102) ] || break
	rm -f asks loop
	is "$(py "$T/cached.py" $args $n)" "True True 0" \
	    "prompts, forks, frees and errors, with pages, batches, rows, drafts, requests: $args"
done

# --- real caches: the same logits for every limit ---
rm -f loop
mkfifo loop
py -c '
import random, sys, numpy as np, frame, msgpack
dice = random.Random(4)
stem = [dice.randrange(1000) for _ in range(150)]
out = sys.stdout.buffer
for i in range(24):
    ids = stem[:dice.choice([0, 20, 64, 70, 128, 150])]
    ids = ids + [dice.randrange(1000) for _ in range(dice.choice([1, 4, 30]))]
    if i % 6 == 5:
        ids = stem
    if i < 5:                       # these grow into a second page together
        ids = [i] * 60
    f = frame.prompt((i, 0, 1, ids))
    new = 20 if i < 5 else dice.choice([2, 9, 70])
    f.header["seqs"] = {i: {"max_new": new, "greedy": i % 2 == 0, "seed": i, "stop": []}}
    out.write(f.bytes())
out.write(frame.Frame({"op": "end"}).bytes())' >prompts
run() { # run NAME BLOCKS OPTION...
	name=$1 blocks=$2
	shift 2
	ok "it runs: $name" pipe 'ds-embed -v -B 40 "$@" -i prompts -i loop 2>said | '"$blocks"' |
	    ds-head | tee heads | ds-sample -T 0.9 | tee loop >tokens' x "$@"
	frame tensors logits <heads >logits
}
run "no limit" ds-block
mv logits want
frame tensors ids <tokens >tokens.want
run "room for all" ds-block --cache-size 1G --batches auto
same logits want "prefixes are shared, and all logits are the same"
like "$(cat said)" "^ds-embed: (1[3-9]|2[0-3]) of 24 prompts began after a known prefix of " \
    "as -v says"
run "5 pages" ds-block --cache-size 400K
same logits want "sequences are preempted, prefixes dropped, and all logits are the same"
n="[1-9][0-9]*"
like "$(cat said)" "; $n prefixes dropped, $n sequences preempted, $n rows computed again" \
    "as -v says"
like "$(cat said)" "[0-5] pages of 64 positions in use, at most 5 of 5$" "and the pages"
frame tensors ids <tokens >tokens.now
same tokens.now tokens.want "so are the tokens"
run "the tightest process decides" \
    'ds-attn -l 0 --cache-size 150K | ds-route -l 0 | ds-expert -l 0 | ds-block -l 1-3' \
    --cache-size 1G --batches 3
same logits want "and all logits are the same"
like "$(cat said)" "at most [67] of 7$" "as -v says: 150 kB for one layer"
for i in 5 $(few 6 "") $(few 23 ""); do
	py -c '
import sys, frame
for f in frame.read_frames(open("prompts", "rb")):
    if f.header.get("spans", [[int(sys.argv[1])]])[0][0] == int(sys.argv[1]):
        sys.stdout.buffer.write(f.raw)' $i >one
	ok "sequence $i alone" pipe 'ds-embed -i one -i loop | ds-block | ds-head | tee heads |
	    ds-sample -T 0.9 >loop'
	frame tensors logits <heads >logits
	awk -v i=$i '$4 == i' want >want.one
	same logits want.one "it has the same logits"
done

# --- several inputs; no loop ---
py -c '
import frame
files = [open("asks." + str(i), "wb") for i in range(2)]
for i, f in enumerate(frame.read_frames(open("prompts", "rb"))):
    for out in files if "op" in f.header else [files[i % 2]]:
        out.write(f.raw)'
ok "it runs: two inputs of prompts" pipe '
    ds-embed --cache-size 400K -B 30 -i asks.0 -i asks.1 -i loop | ds-block | ds-head |
    tee heads | ds-sample -T 0.9 >loop'
frame tensors logits <heads >logits
same logits want "all logits are the same"
scored() { # scored OPTION...
	pipe 'ds-embed "$@" -i score | ds-block | ds-head | ds-score' x "$@"
}
{ frame prompt 1 0 2 $(seq 70); frame prompt 2 0 2 $(seq 90); frame prompt 3 0 2 $(seq 50)
    frame end; } >score
is "$(scored --cache-size 300K -B 20)" "$(scored)" "without a loop, all rows have their logits"

# --- a prompt goes on where an answer ended ---
cat >turns.py <<'EOP'
import subprocess, frame, numpy as np
door = subprocess.Popen(["ds-embed", "--cache-size", "1G", "-B", "16", "-i", "asks", "-i", "loop"],
                        stdout=subprocess.PIPE)
asks, loop = open("asks", "wb", buffering=0), open("loop", "wb", buffering=0)
back = frame.read_frames(door.stdout)
def ask(seq, ids):
    asks.write(frame.prompt((seq, 0, 1, ids)).bytes())
def token(seq, pos, flags, id):
    ids = np.array([id], "<i4")
    frame.write_frame(loop, {"at": "embed", "spans": [[seq, pos, 1, flags]]}, {"ids": ids})
    if flags == 4:
        frame.write_frame(loop, {"op": "free", "seq": seq})
def show(n):
    for _ in range(n):
        h = next(back).header
        print(*[v for k, v in h.items() if k in ("op", "from", "to", "n", "seq", "spans")])
first = next(back)
ask(1, list(range(30)))
frame.write_frame(loop, {**first.header, "positions": 640})
show(2)
token(1, 30, 1, 77); show(1)
token(1, 31, 4, 78); show(2)
ask(2, list(range(30)) + [77, 78, 5, 6]); show(2)      # the last token was not embedded
token(2, 34, 1, 9)
show(1)
ask(3, [8] * 60)                                        # a long prompt: 2 goes on in each batch
for i in range(4):
    token(2, 35 + i, 1, 9)
    show(1)
token(3, 60, 4, 9)
token(2, 39, 4, 9)
show(5)
ask((1 << 63) + 1, [5] * 9)     # an id that a retained prefix has
show(2)
token((1 << 63) + 1, 9, 4, 9)
frame.write_frame(asks, {"op": "end"})
frame.write_frame(loop, {"op": "end"})
print([f.header["op"] for f in back][-1], door.wait(20), flush=True)
EOP
rm -f asks
mkfifo asks
is "$(py turns.py)" "[[1, 0, 16, 0]]
[[1, 16, 14, 1]]
[[1, 30, 1, 1]]
fork 1 9223372036854775808 31
free 1
fork 9223372036854775808 2 31
[[2, 31, 3, 1]]
[[2, 34, 1, 1]]
[[2, 35, 1, 1], [3, 0, 15, 0]]
[[2, 36, 1, 1], [3, 15, 15, 0]]
[[2, 37, 1, 1], [3, 30, 15, 0]]
[[2, 38, 1, 1], [3, 45, 15, 1]]
fork 3 9223372036854775809 60
free 3
free 9223372036854775808
fork 2 9223372036854775810 39
free 2
free 9223372036854775809
[[9223372036854775809, 0, 9, 1]]
end 0" "a prompt starts after the thoughts of the one before; a long prompt stalls no sequence"

once || done_testing

# --- what is wrong ---
fails_with 2 "cache-size '0': give bytes, such as 1000000, 512M or 4G" "a size of 0" \
    ds-embed --cache-size 0
fails_with 2 "cache-size '18446744073709551615K': give bytes" "a size beyond 64 bits" \
    ds-attn --cache-size 18446744073709551615K
fails_with 2 "cache-size '5X': give bytes" "an unknown unit" ds-block --cache-size 5X
fails_with 2 "cache-size: not with --ring" "a ring" \
    ds-embed --cache-size 1G --ring -i prompts -i prompts
fails_with 2 "cache-size 81919: a page of 64 positions has 81920 bytes in all layers" "no page" \
    ds-embed --cache-size 81919 -i prompts
ds-embed -i prompts >embedded
fails_with 2 "layer 0: --cache-size: ds-embed, which keeps the limit, has to be given one, too" \
    "a stage alone" ds-attn --cache-size 1G -i embedded
{ cat embedded | frame take -1; frame end; } >rows
fails_with 1 "rows: rows arrived that wait for attn layer 0: with --cache-size" \
    "rows that ds-embed did not make" ds-embed --cache-size 1G -i rows
{ frame prompt 1 0 1 $(seq 70); frame prompt 2 0 1 5; frame end; } >long
ds-embed --cache-size 82K -i long 2>said >out
is "$? $(cat said; frame show <out | grep -c spans)" \
    "1 ds-embed: sequence 1 failed: it needs 70 positions of the KV caches, --cache-size allows 64
1" "a prompt that is longer than the cache fails alone"
{ frame prompt 1 0 1 $(seq 65); frame prompt 2 0 1 $(seq 65); frame end; } >long
pipe 'ds-embed --cache-size 82K -i long -i loop | ds-block | ds-head | ds-sample -n 1 |
    tee loop >out'
is "$? $(frame show <out | grep -c "it needs 65 positions")" "0 2" "... also where no other is left"
done_testing
