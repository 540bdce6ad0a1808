#!/bin/sh
# Attention here, experts there: frames go round for each layer, several batches at once; the bits are those of the straight loop.
# also: asan
. "${0%/*}/lib.sh"

# straight PROMPTS NAME: tokens and logits of the loop
straight() {
	pipe 'ds-embed -i "$0" -i loop | ds-block | ds-head | tee "$1.head" | ds-sample -g -n 12 | tee loop >"$1.tokens"' "$1" "$2"
}
experts='ds-head --ring | tee got.head | ds-sample -g -n 12 --ring | tee loop | ds-cut --at embed >got.tokens'
# ring PROMPTS OPTIONS-OF-EMBED: the same, the two sides in two pipelines joined by FIFOs
ring() {
	pipe 'ds-embed --ring '"$2"' -i "$0" -i loop | ds-attn | ds-route | tee way >there &
	{ ds-expert <there | '"$experts"'; } && wait $!' "$1"
}
# split: the experts in two processes of their own
split() {
	pipe 'ds-expert -e "$0,s" -i a -o c & p=$!; ds-expert -e "$1" -i b -o d & q=$!
	ds-embed --ring --batches 2 -i batch -i loop | ds-attn | ds-route -o a -o b & r=$!
	{ ds-join -i c -i d | '"$experts"'; } && wait $p && wait $q && wait $r' "0-$half" "$((half + 1))-$last"
}
# compared DESC NAME: what the ring left is what NAME is
compared() {
	ds-cut --at sample <got.head >got.logits
	printf '%s: the logits have the same bits\tsame\t%s.head\tgot.logits\n%s: the same tokens are sampled\tsame\t%s.tokens\tgot.tokens\n' \
	    "$1" "$2" "$1" "$2" >list
	py "$T/bits.py" compare list >compared
	tab=$(printf '\t')
	while IFS=$tab read -r status what why; do
		echo "$why" >why
		report "$status" "$what" why
	done <compared
}

case $PATH in *build-asan*) models= ;; *) models=$(echo "$G"/v*) ;; esac
for DS_MODEL in $(! once || echo "$M") $models; do
	export DS_MODEL
	name=${DS_MODEL##*/}
	mkdir "$S/$name"
	cd "$S/$name" || exit 2
	mkfifo loop there a b c d
	set -- $(py "$T/bits.py" prompts "$DS_MODEL")         # number of layers, of experts
	last=$(($2 - 1)) half=$(($2 / 2 - 1))
	straight batch want
	for how in "--batches 1" "--batches 3 -B 64"; do
		ok "$name: a ring, $how" ring batch "$how"
		compared "$name: a ring, $how" want
	done
	like "$(ds-dump <way | awk '/^frame/ { print $3, $4, $5 }' | head -n 2 | tr '\n' ' ')" "^expert layer 0, expert layer 0, $" \
	    "$name: the second batch follows before the first comes round"
	ok "$name: experts in two processes, in a ring" split
	compared "$name: experts in two processes, in a ring" want
	# a prompt that two sequences share, rows that are not sampled
	{
		frame prompt 1 0 0 $(seq 20 120)
		frame fork 1 2 101
		frame fork 1 3 57
		frame prompt 2 101 3 7
		frame prompt 3 57 3 8 9
		frame prompt 4 0 2 $(seq 30 60)
		frame end
	} >forks
	straight forks shared
	ok "$name: forks, and rows that are not sampled, in a ring" ring forks "--batches 2 -B 16"
	compared "$name: forks" shared
	cd "$S"
	rm -rf "$name"
done

once || done_testing

export DS_MODEL=$M
tcp() {
	a=tcp://127.0.0.1:$(ports 1) b=tcp://127.0.0.1:$(ports 1)
	ds-tokenize -c "12+30=?" "What is 17 * 3?" | ds-embed --ring --batches 2 -i - -i "@$b" | ds-attn | ds-route -o "$a" &
	ds-expert -i "@$a" | ds-head --ring | ds-sample --ring -g -o - -o "$b" | ds-cut --at embed | ds-detokenize -c
	wait $!
}
ds-run -g "12+30=?" "What is 17 * 3?" >want
ok "the two sides meet over tcp" tcp
same .out want "and say what one process says"

mkfifo loop there
# without HEAD-OPTION SAMPLE-OPTION PROGRAM NUMBER: a ring where one --ring is missing;
# the program, which has that number in its line, refuses the rows
without() {
	fails_with 1 "^ds-$3: sequence 0 still waits for attn layer 1.*in a ring give ds-$3 --ring" "without ds-$3 --ring frames that are to go round are refused" \
	    pipe 'ds-tokenize "a" | ds-embed --ring -i - -i loop 2>/dev/null | ds-attn 2>/dev/null | ds-route >there 2>/dev/null &
	    ds-expert <there 2>/dev/null | ds-head $0 2>said.head | ds-sample $1 -o loop 2>said.sample; s=${PIPESTATUS[$3]}
	    wait; cat said.$2 >&2; exit $s' "$1" "$2" "$3" "$4"
}
without "" --ring head 1
without --ring "" sample 2
fails_with 2 "a ring has a loop" "a ring without a loop is none" ds-embed --ring

# statuses PROMPTS EXPERT: of all that stand in a ring of large frames in which something fails
cat >statuses.sh <<'EOP'
ds-embed --ring --batches 8 -i "$1" -i loop | ds-attn | ds-route >there &
eval "$2" <there | ds-head --ring | ds-sample --ring >loop
echo ${PIPESTATUS[*]}
wait
EOP
py - <<'EOP'
import frame
for name, model in ("long", {}), ("wrong", {"model": "0" * 16}):
    with open(name, "wb") as out:
        for i in range(12):
            out.write(frame.prompt((i, 0, 1, [5 + k % 900 for k in range(400)])).bytes())
        f = frame.prompt((99, 0, 1, [5]))
        f.header.update(model)
        out.write(f.bytes() + frame.Frame({"op": "end"}).bytes())
EOP
timeout "$LIMIT" bash statuses.sh wrong ds-expert 2>said >ended
is "$?, $(grep -c '^ds-embed: .*of model 0000000000000000' said)" "0, 1" "a prompt that is wrong ends a ring that is full of frames"
timeout "$LIMIT" bash statuses.sh long "head -c 3000000 | ds-expert" 2>said >ended
is "$?, $(grep -c '^ds-expert: standard input: frame [0-9]* ends after' said)" "0, 1" "and so does a way to the experts that breaks"
done_testing
