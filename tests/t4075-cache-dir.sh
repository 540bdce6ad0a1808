#!/bin/sh
# also: asan leaks
# --cache-dir: a later run goes on after what an earlier one has saved, with the same bits; what is
# wrong with the files is one line, and is computed again.
. "${0%/*}/lib.sh"

# prompts SEED N...: a prompt of N tokens each; the first tokens are those of the longer ones
prompts() {
	py -c '
import sys, frame
seed, *lengths = map(int, sys.argv[1:])
for seq, n in enumerate(lengths):
    ids = [(seed * i + i // 3) % 900 + 3 for i in range(n)]
    sys.stdout.buffer.write(frame.prompt((seq, 0, 1, ids)).bytes())
frame.write_frame(sys.stdout.buffer, {"op": "end"})' "$@"
}

# served FILE [OPTION...]: the pipeline over these prompts; what it computes in `logits`, `tokens`
layers=fused
precision=
limit=
served() {
	s_in=$1; shift
	rm -f loop; mkfifo loop
	exec 9<>loop                    # a program that fails at once leaves no other waiting
	rm -f ./*.err logits tokens
	s_m="-m $model $precision"
	ds-embed $s_m -i "$s_in" -i loop -v "$@" 2>embed.err | tee embedded |
		if [ $layers = fused ]; then
			[ -z "$limit" ] || { trap '' XFSZ; ulimit -f $limit; }
			ds-block $s_m ${dir:+--cache-dir "$dir"} 2>block.err
		else
			ds-block $s_m -l 0 ${dir:+--cache-dir "$dir"} 2>block.err |
				ds-attn $s_m -l 1 ${dir:+--cache-dir "$dir"} 2>attn.err |
				ds-route $s_m -l 1 | ds-expert $s_m -l 1 |
				ds-block $s_m -l 2- ${dir:+--cache-dir "$dir"} 2>rest.err
		fi | ds-head $s_m | tee head.frames | ds-sample -m "$model" -g -n 8 |
		tee loop >token.frames
	exec 9>&-
	frame tensors logits <head.frames | sort >logits
	frame tensors ids <token.frames | sort >tokens
}
cached() {
	c_in=$1; shift
	served "$c_in" --cache-size 64M --cache-dir "$dir" "$@"
}
# computed: rows that the pipeline computed
computed() {
	frame show <embedded | py -c '
import json, sys
print(sum(s[2] for line in sys.stdin for s in json.loads(line).get("spans", [])))'
}
# agrees DESC: with `want`
agrees() {
	cat logits tokens >got
	same want got "$1"
}
# warned REGEX DESC: of all programs one line does
warned() {
	cat ./*.err | grep -v 'frames\|pages of\|prefix' >said
	is "$(wc -l <said)" 1 "$2: one line"
	like "$(cat said)" "$1" "$2: says why"
}
silent() {
	cat ./*.err | grep -v 'frames\|pages of\|prefix' >said
	is "$(cat said)" "" "$1"
}

# the promise, MODEL
keeps() {
	model=$1 name=${1##*/}
	rm -rf kept
	dir=
	served in
	cat logits tokens >want
	dir=kept
	cached in
	agrees "$name: a run that saves has the same bits"
	like "$(cat embed.err)" "0 prefixes of 0 positions loaded, [1-9]* saved" "$name: it saves"
	cached in
	agrees "$name: a warm run has the same bits"
	like "$(cat embed.err)" "[1-9] prefixes of [0-9]* positions loaded" "$name: it loads"
	silent "$name: without a word"
}
prompts 7 100 100 90 33 >in
if [ "$(few 1 0)" = 1 ]; then
	keeps "$G/qwen3"
	keeps "$G/qwen2-window"
fi
keeps "$M"

# that of tiny-r1 goes on: each of 4 sequences has at most 8 rows, and the last of its prompt
like "$(computed)" "^(2[0-9]|3[0-6])\$" "no row but the last of a prompt is computed again"
is "$(find kept -name '*part*')" "" "no temporary file is left"
cp -r kept good
again() {
	rm -rf kept
	cp -r good kept
}
layers=stages
cached in
agrees "another cut reads the same files"
silent "without a word"
rm -rf kept
cached in
is "$(diff -r kept good)" "" "and writes the same files"
layers=fused

# damaged DESC REGEX: one line, the bits are right, and it is saved again
damaged() {
	cached in
	agrees "$1: the same bits"
	warned "$2" "$1"
	cached in
	silent "$1: it has been saved again"
}
key=$(cd good && for f in *.ids; do echo "$(frame tensors ids <$f | wc -l) ${f%.ids}"; done |
    sort -n | tail -1 | cut -d' ' -f2)
printf X | dd of=kept/$key.l2 bs=1 seek=5000 conv=notrunc 2>/dev/null
damaged "a byte of a layer" "^ds-block: 'kept/$key.l2': the CRC does not match.*is computed again"
if [ "$(few 1 0)" = 1 ]; then
	again; truncate -s 9000 kept/$key.l3
	damaged "a short layer" "^ds-block: 'kept/$key.l3': a frame of .*it is computed again"
	again; rm kept/$key.l0
	damaged "a missing layer" "^ds-block: cannot open 'kept/$key.l0': No such file"
fi
again; printf X | dd of=kept/$key.ids bs=1 seek=70 conv=notrunc 2>/dev/null
damaged "a byte of the index" "^ds-embed: 'kept/$key.ids': the CRC does not match.*it is left out"
again; mv kept/$key.ids kept/0123456789abcdef.ids
cached in
agrees "an index of another name: the same bits"
warned "^ds-embed: 'kept/0123456789abcdef.ids': its name is that of other tokens: it is left out" \
    "an index of another name"

if [ "$(few 1 0)" = 1 ]; then
	again
	precision="--precision bf16" dir=
	served in
	cat logits tokens >bf16
	dir=kept
	cached in
	cat logits tokens >got
	same bf16 got "files of another precision are not read"
	silent "and they are not in the way"
	precision=
	cached in
	agrees "nor is a folder of two precisions"
	mv want want.tiny
	model=$G/qwen3
	dir=
	served in
	cat logits tokens >want
	dir=kept
	cached in
	agrees "nor of two models"
	silent "without a word"
	model=$M
	mv want.tiny want
fi

# another conversation that begins alike, and one that does not
again
py -c '
import frame, sys
same = [(7 * i + i // 3) % 900 + 3 for i in range(100)]
for seq, ids in enumerate(([*same[:60], *range(5, 40)], [*same, *range(5, 100)], range(9, 90))):
    sys.stdout.buffer.write(frame.prompt((seq, 0, 1, list(ids))).bytes())
frame.write_frame(sys.stdout.buffer, {"op": "end"})' >other
dir=
served other
cat logits tokens >want
dir=kept
cached other
agrees "prompts that share the beginning of what is saved"
like "$(cat embed.err)" "2 prefixes of 160 positions loaded" "load no more than that"
cached other --batches 3
agrees "with several batches in flight"
again
served other --cache-size 700K --cache-dir kept
agrees "with so few pages that some are freed"
silent "without a word"

# two at once, whose folder is one
rm -rf kept two
mkdir two
(cd two && dir=../kept && cached ../other && cat logits tokens >../got.two) &
cached other
wait
agrees "two runs at once share a folder"
same got.two want "and both are right"
is "$(find kept -name '*part*')" "" "they leave no temporary file"
cached other
agrees "a third reads what they wrote"
silent "without a word"

# what cannot be written
rm -rf kept
limit=1
cached other
agrees "a full disk: the same bits"
warned "^ds-block: 'kept/[0-9a-f]*.l0': cannot write: File too large: no more" "a full disk"
is "$(ls -A kept)" "" "a full disk: nothing is left over"
limit=
mkdir kept/0123456789abcdef.ids
cached other
agrees "a folder instead of an index file"
warned "^ds-embed: 'kept/0123456789abcdef.ids' is not a regular file: it is left out" "a folder"

fails_with 2 "^ds-embed: --cache-dir: give --cache-size, too" "--cache-dir without --cache-size" \
    ds-embed -m "$M" --cache-dir kept -i in -i other -o /dev/null
fails_with 2 "^ds-embed: --cache-dir: it needs a loop" "--cache-dir without a loop" \
    ds-embed -m "$M" --cache-dir kept --cache-size 1M -i in -o /dev/null
fails_with 2 "^ds-embed: --cache-dir 'in' is not a folder" "a file instead of the folder" \
    ds-embed -m "$M" --cache-dir in --cache-size 1M -i in -i other -o /dev/null
done_testing
