#!/bin/sh
# ds-attn -d cuda: in f32 its frames are those of the CPU, byte for byte, whatever the sequences go through;
# in bf16 they are near, and the same however the work is cut.
# also: asan leaks kernels
. "${0%/*}/lib.sh"
LIMIT=100
. "$T/gpu.sh"
case $DS_CUDA in "$R"/build-asan/*) short=1 ;; *) short= ;; esac
export DS_MODEL

# rows WORD...: frames of the model's width, as rows.py makes them
rows() {
	py "$T/rows.py" d="$(py -c 'import json, os; print(json.load(open(os.environ["DS_MODEL"] + "/config.json"))["hidden_size"])')" "$@"
}

# both STATUS DESC [OPTION...]: the frames in the file `in`, computed by the CPU and by the GPU, which both exit with STATUS
both() {
	status=$1 desc=$2; shift 2
	ds-attn "$@" -i in -o cpu 2>cpu.err
	status="$status/$?"
	ds-attn -d cuda "$@" -i in -o gpu 2>gpu.err
	is "$status $? $(cat gpu.err) $(cmp cpu gpu 2>&1)" "${status%/*}/${status%/*} ${status%/*} $(cat cpu.err) " "$name: $desc"
}

# What happens to sequences: pages fill, forks share them and part, one goes back within a frame and behind a fork, single rows go on
# together, some are let go and their pages taken by others, spans and frames have no rows.
life="7:0+70 fork=7,8,70 8:70+2,7:70+5 7:75+25,7:90+9:1,7:99+7 8:40+1 fork=8,10,41 8:41+1,10:41+1,7:106+1
    free=7 7:0+2,9:0+0 10:42+25 free=8 free=10 11:0+66,7:2+1 9:0+0 9:0+1 end"

# With sanitizers a model of each kind of attention; where these have a run, the other has the rest.
kinds="$G/qwen2-types $G/v3-fp8-odd"
models="$M $G/qwen3-moe $G/v2 $G/v2-lite $G/v3 $G/v3-plain"
! once || models="$models $kinds"
[ ! "$short" ] || models=$kinds
for DS_MODEL in $models; do
	name=${DS_MODEL##*/}
	rows $life >in
	both 0 "all that sequences go through, with taps" -l 0 --tap all
	case $DS_MODEL in "$M" | "$G/qwen3-moe" | "$G/qwen2-types" | "$G/v3-fp8-odd")
		both 0 "without taps" -l 0 ;;
	esac
	rows 7:0+20 layer=1 7:0+10,8:0+3 layer=0 7:20+2,8:0+4 layer=1 7:10+12,8:3+1 free=7 layer=0 7:0+1 end >in
	both 0 "two layers, each at its own place" -l 0-1
done
if [ ! "$short" ]; then
	DS_MODEL=$G/v3-plain name=v3-plain
	rows 7:0+180,8:0+180,9:0+180,10:0+10 7:180+1,10:10+1 end >in
	both 0 "more rows than are computed at once" -l 0
	DS_MODEL=$M name=tiny-r1
	rows 7:0+370,8:0+10 7:370+1,8:10+1 end >in
	both 0 "more probabilities than are made at once" -l 0 --tap attn.probs
fi

# (once, with sanitizers where there are any)
refused() {
	DS_MODEL=$G/v3-fp8-odd name=v3-fp8-odd
	for words in '7:0+12 7:40+1' '7:0+2,8:3+1' '7:0+5 free=7 7:5+1' 7:0+2561 fork=7,8,0 \
	    '7:0+1 fork=7,8,13' '7:0+1 fork=7,7,1' 'd=191 7:0+3' 'model=0123456789abcdef 7:0+3' 'precision="bf16" 7:0+3'; do
		rows $words end >in
		both 1 "refused in the same words: $words" -l 0
	done
	rows at=route 7:9+3 at=later 8:0+1 at=embed 8:0+1 free=3 layer=1 at=attn 7:0+1 end >in
	both 0 "what is not its business" -l 0

	# (a page of the cache each; 16 MiB of them come at a time)
	(DS_MODEL=$M; rows "$(seq -f "%g:0+1" -s, 900)" end) >in
	grows="a cache that grows beyond the GPU's memory says so"
	emulated "$grows" && fails_with 3 \
	    '^ds-attn: layer 0: cuda:0: cannot allocate 1[56][.].* MiB more for the KV cache .* are free$' "$grows" \
	    env DS_EMULATE_MEMORY=23068672 ds-attn -m "$M" -d cuda -l 0 -i in -o out
}
! once || refused

# --- bf16 ---

# attn [OPTION...] <FRAMES: what each row of h became, sorted
attn() {
	frame set precision '"bf16"' | ds-attn -d cuda --precision bf16 -l 0 "$@" | frame tensors h | sort
}
# (a page and some; where there are two runs, in the one that is fast)
chunks() {
	DS_MODEL=$G/v3-plain n=75
	rows 7:0+$n end >in
	attn <in >want
	ds-attn -d cuda -l 0 -i in | frame tensors h | sort | comm -12 - want >alike
	is "$(wc -l <alike)" 0 "bf16: no row is that of f32"
	for cut in 1 7 64; do
		rows $(py -c "print(*('7:%d+%d' % (p, min($cut, $n - p)) for p in range(0, $n, $cut)))") end |
		    attn >got
		same want got "bf16: in chunks of $cut rows every row has the same bits"
	done
	rows 3:0+20,7:0+$((n - 10)),9:0+33 3:20+5,7:$((n - 10))+10 end | attn | awk '$4 == 7' >got
	same want got "bf16: and in a batch with others"
	rows 7:0+$n,7:$((n - 9))+9:1 7:$((n - 9))+9 end | attn | uniq >got
	is "$(comm -23 want got | wc -l) $(wc -l <got)" "0 $((n + 9))" \
	    "bf16: and behind a draft that was taken back within a frame"
	for order in reverse 1; do
		desc="bf16: and in another order of the threads and blocks: $order"
		emulated "$desc" || continue
		DS_EMULATE_ORDER=$order attn <in >got
		same want got "$desc"
	done
}
[ "$short" ] || chunks

# A number in BF16 has 8 significant bits.  Sums in another order are off by some 2^-24 of their terms, which can change the last bit of
# a factor behind them, 2^-8 of it at most; 7 products one behind another (as in golden.py) then are off by sqrt(7) 2^-8 at most.
for DS_MODEL in $models; do
	rows $life | frame set precision '"bf16"' >in
	for d in cpu cuda; do
		ds-attn -d $d --precision bf16 -l 0 --tap attn.out -i in -o $d.16
	done
	ok "${DS_MODEL##*/}: bf16 is that of the CPU but for what the order of sums makes of it" ds-diff --tol 0.0103 cpu.16 cuda.16
done
done_testing
