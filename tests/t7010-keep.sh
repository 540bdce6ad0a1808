#!/bin/sh
# ds-run --keep: every stream of a run in a folder, each good for the program behind it.
# also: asan
. "${0%/*}/lib.sh"
export DS_MODEL="$M"
a="What is 37 * 46?" b="How many e in cheese?"

ds-run -g "$a" "$b" >plain
ok "a run is kept" sh -c 'ds-run -g -x stage --keep "new folder" "$1" "$2" >out' - "$a" "$b"
same out plain "what it prints is the same"
mv "new folder" stage
is "$(ls stage | tr '\n' ' ')" "$(
	n=2
	printf '000-tokenize.dsf 001-embed.dsf '
	for l in 0 1 2 3; do
		for p in attn route expert; do
			printf '%03d-%s-l%d.dsf ' $n $p $l
			n=$((n + 1))
		done
	done
	echo '014-head.dsf 015-sample.dsf ')" "its streams are listed in the order of the pipeline"
is "$(for f in stage/*.dsf; do frame check <"$f" 2>&1; done | grep -vc '^[0-9]* frames$')" 0 "all of them are whole"

# each program again, from the stream in front of it
differ=
set -- stage/*.dsf
shift
while [ $# -gt 2 ]; do
	name=${2##*/} layer=
	name=${name#*-} name=${name%.dsf}
	case $name in *-l*) layer="-l ${name##*-l}" ;; esac
	"ds-${name%-l*}" $layer $(test "$name" != sample || echo -g) <"$1" >again
	cmp again "$2" || differ="$differ $2"
	shift
done >said 2>&1
is "$differ" "" "each is what its program makes of the one in front of it"
# (the foremost sequence is printed as it comes, the other when that has ended)
ds-detokenize -c <stage/015-sample.dsf >again
same again plain "and the last one is the text"

for x in fused layer; do
	ds-run -g -x $x -t 1 --keep $x "$a" "$b" >out
	same out plain "a run with -x $x is kept"
	ok "and has the same bits where both have something" ds-diff --common --partial stage $x
done
is "$(ls fused | tr '\n' ' ')" "000-tokenize.dsf 001-embed.dsf 002-block.dsf 003-head.dsf 004-sample.dsf " "its files are those of its programs"
fails_with 1 "" "without --common a step that one run lacks is a difference" ds-diff -q stage fused
# the first question by itself
mkdir one && for f in stage/*.dsf; do ds-cut --seq 0 <"$f" >"one/${f##*/}"; done
printf %s "$a" | ds-run -g --keep piped >out
ok "a prompt from standard input is kept, too" ds-diff --common --partial piped one
ds-run -g -x layer --keep kept -s "$a" "$b" >script
ok "the script of --keep keeps the run where it was told to" sh -c 'cd / && sh "$S/script" >"$S/out"'
same out plain "and prints the same"
is "$(ds-hash kept)" "$(ds-hash layer)" "the streams are the same, to the bit"
fails_with 2 "'$S/kept/000-tokenize.dsf' exists from another run" "it keeps nothing over another run" sh script
is "$(ds-hash kept)" "$(ds-hash layer)" "which is as it was"

fails_with 2 "^ds-run: --keep 'kept': '00[0-9]-[a-z]*(-l[0-3])?\.dsf' exists from another run" "nor does ds-run" ds-run --keep kept "$a"
is "$(ds-hash kept)" "$(ds-hash layer)" "which leaves it alone"
mkdir notes && echo text >notes/readme
ok "other files in the folder do not matter" ds-run -g -n 2 --keep notes "$a"
is "$(cat notes/readme)" text "and stay"
fails_with 3 "^ds-run: cannot create the folder 'no/such/folder': No such file" "a folder is made where there is one to hold it" ds-run --keep no/such/folder "$a"
fails_with 3 "^ds-run: cannot open the folder 'plain': Not a directory" "a file is no folder" ds-run --keep plain "$a"
fails_with 3 "^ds-run: .*cannot open '/proc/sys/0" "one that cannot be written to ends the run" ds-run --keep /proc/sys "$a"

# --- two runs at the same time want the same new folder ---
# race COMMAND: of two, one is done and one refused, and the streams are of one run
race() {
	rm -rf both
	sh -c "$1" >one.out 2>one.err & p=$!
	sh -c "$1" >other.out 2>other.err
	s=$?
	wait $p
	echo "$(printf '%s\n' $? $s | sort | tr '\n' ' ')$(cat one.err other.err | grep -c "\.dsf' exists from another run")"
	for f in both/*.dsf; do frame check <"$f" >/dev/null 2>&1 || echo "damaged: $f"; done
}
for i in $(seq "$(few 3 1)"); do
	is "$(race 'ds-run -g -n 40 --keep both "What is 37 * 46?"')" "0 2 1" "two runs at a time: one is refused ($i)"
done
rm -rf both
ds-run -g -n 40 --keep both -s "What is 37 * 46?" >script
for i in $(seq "$(few 3 1)"); do
	is "$(race 'sh script')" "0 2 1" "two scripts at a time: one is refused ($i)"
done
done_testing
