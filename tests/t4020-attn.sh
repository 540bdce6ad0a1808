#!/bin/sh
# only: asan leaks kernels
# ds-attn: the cache and its rules, and that a row depends on nothing but its sequence.
. "${0%/*}/lib.sh"

# rows WORD...: frames, as rows.py makes them
D=256
rows() {
	py "$T/rows.py" d=$D "$@"
}

# attn [OPTION...] <FRAMES: what each row of h became, sorted
attn() {
	ds-attn -m "$model" -l 0 "$@" | frame tensors h | sort
}

# all_of FILE FILE NUMBER DESC: the lines of the first are among the NUMBER lines of the second
all_of() {
	is "$(comm -23 "$1" "$2" | wc -l) missing of $(wc -l <"$2")" "0 missing of $3" "$4"
}

# the promise of a row, MODEL WIDTH
rows_alone() {
	model=$1 D=$2 name=${1##*/}
	rows 7:0+150 end | attn -t 1 >want
	for cut in 1 7 64; do
		words=$(seq 0 $cut 149 |
			awk -v c=$cut '{ print "7:" $1 "+" (c < 150 - $1 ? c : 150 - $1) }')
		rows $words end | attn >got
		same want got "$name: in chunks of $cut rows every row has the same bits"
	done
	rows 7:0+150 end | attn -t 2 >got
	same want got "$name: with two threads too"
	rows 3:0+20,7:0+90,9:0+70 7:90+60,3:20+5 end | attn | awk '$4 == 7' >got
	same want got "$name: and in a batch with others"
	rows 7:0+40,7:40+110 end | attn >got
	same want got "$name: and cut within a frame"

	rows 7:0+100 7:100+9:1 7:100+50 end | attn | uniq >got
	all_of want got 159 "$name: a draft taken back leaves no trace"
	rows 7:0+100,7:100+9:1,7:100+50 end | attn | uniq >got
	all_of want got 159 "$name: nor within one frame"
	rows 7:0+70:1,7:3+40:1,7:0+150 end | attn | uniq >got
	all_of want got 220 "$name: nor if all is taken back"
	rows 7:0+100 fork=7,8,70 7:100+50 end | attn >got
	same want got "$name: a fork leaves the sequence alone"
	rows 7:0+70 fork=7,8,70 8:70+50 7:70+80 end | attn | awk '$4 == 7' >got
	same want got "$name: what the fork goes on with does not reach it"
	py -c '
import sys, frame, rows
h = rows.batch([(7, 70, 80, 0, 0)], '$D')
frame.write_frame(sys.stdout.buffer, {"at": "attn", "layer": 0, "spans": [[8, 70, 80, 0]]}, {"h": h})' >forked
	{ rows 7:0+100 fork=7,8,70; cat forked; rows end; } | attn |
		awk '$4 == 8 { print $5, $7 }' >got
	awk '$5 >= 70 { print $5, $7 }' want >tail
	same tail got "$name: a fork goes on from what it shares"
	rows 7:0+20:1 free=7 7:0+150 end | attn >got
	all_of want got 170 "$name: a sequence that was let go begins anew"
}
rows_alone "$M" 256
rows_alone "$G/qwen2-types" 64          # a window of 17
model=$M D=256

rows 7:0+0 7:0+3,9:0+0 9:0+1 end >in
is "$(ds-attn -m "$M" -l 0 -i in | frame check)" "4 frames" "spans and frames without rows pass"

# refuses REGEX WORD...: they end in an error of this text
refuses() {
	refuses_regex=$1; shift
	rows "$@" >in
	fails_with 1 "^ds-attn: $refuses_regex\$" "rows are refused: $*" ds-attn -m "$M" -i in -o /dev/null
}
refuses 'layer 0: sequence 7: position 40 arrives, cache holds 12' 7:0+12 7:40+1 end
refuses 'layer 0: sequence 7: position 1 arrives, cache holds 0' 7:1+1 end
refuses 'layer 2: sequence 8: position 3 arrives, cache holds 0' layer=2 7:0+12,8:3+1 end
refuses 'layer 0: sequence 7: position 5 arrives, cache holds 0' 7:0+5 free=7 7:5+1 end
refuses 'layer 0: sequence 7: position 2048 arrives, the model ends at 2047' 7:0+2049 end
refuses 'layer 0: sequence 7: unknown, cannot be forked' fork=7,8,0 end
refuses 'layer 0: sequence 7: fork of 13 positions, cache holds 0' 7:0+0 fork=7,8,13 end
refuses "layer 0: tensor 'h' is F32 of rank 2 with 3 rows, not F32 \[3, 256\]" d=255 7:0+3 end
refuses "attn layer 0: the frame is of model 0123456789abcdef, this is .*" model=0123456789abcdef 7:0+3 end
rows 7:0+3 >in
fails_with 3 "ended without an end frame" "an end that is missing is the system's failure" ds-attn -m "$M" -i in -o /dev/null

rows at=route 7:9+3 at=attn layer=1 7:9+3 at=later 8:0+1 at=embed 8:0+1 free=3 end >in
ds-attn -m "$M" -l 2-3 -i in -o out
same in out "frames that are not its business come out as they went in"
rows later=1 7:0+3 end >in
like "$(ds-attn -m "$M" -i in | frame show)" '"at": "route".*"later": 1' "an unknown key stays"
done_testing
