#!/bin/sh
# The promise: however the work is cut, every row of every tensor has the same bits, and every sampled token is the same.
# first: yes
. "${0%/*}/lib.sh"
DS_PRECISION=${PRECISION-}              # t6005 sets it
export DS_PRECISION

# How work is divided among threads depends on the rows of a frame, so all cuts of prompts have two
# threads, besides the line that is the reference.  Half the loops have one, which is quicker.

# For each model a line with a process for every stage of every layer computes all rows, kept at each of its points in the
# folder line/.  Then the same rows are computed by every other cut, and compared.

# kept WHAT PIPELINE NAME: it succeeds (or is a failure to be reported), and what it left in "got" is kept as NAME
kept() {
	pipe "$2" >out 2>err || report 1 "$name: $1" out err
	mv got "$3"
}
# hold DESC HOW WANT GOT...: to be compared, all at once at the end
tab=$(printf '\t')
hold() {
	(IFS=$tab; printf '%s\n' "$name: $*") >>list
}
logits() {      # WHAT PIPELINE: into the file "got"
	n=$((n + 1))
	kept "$1" "$2" logits.$n
	hold "$1: the logits have the same bits" same line/head logits.$n
}
points() {      # WHAT PIPELINE: into the folder "got"
	n=$((n + 1))
	kept "$1" "$2" points.$n
	hold "$1: every tensor at every point has the same bits" same line points.$n
}
tokens() {      # WHAT PIPELINE: into the file "got"
	n=$((n + 1))
	kept "$1" "$2" tokens.$n
	hold "$1: the same tokens are sampled" same answers tokens.$n
}

# line INPUT FOLDER OPTIONS-OF-EMBED THREADS SET...: the line as shell, experts in a chain of processes if there are SETs
line() {
	in=$1 to=$2 b=$3 t=$4; shift 4
	mkdir "$to"
	printf 'ds-embed %s -o - -o %s/embed <%s' "$b" "$to" "$in"
	for l in $layers; do
		o="-l $l $t -o - -o $to"
		printf ' | ds-attn %s/attn.%s | ds-route %s/route.%s' "$o" "$l" "$o" "$l"
		[ $# -gt 0 ] || printf ' | ds-expert %s/out.%s' "$o" "$l"
		for e; do
			printf ' | ds-expert -l %s %s -e %s' "$l" "$t" "$e"
		done
	done
	printf ' | ds-head %s >%s/head' "$t" "$to"
}

# chain PROGRAM...: the programs, once for each layer
chain() {
	sep=
	for l in $layers; do
		for p; do
			printf '%s%s -l %s' "$sep" "$p" "$l"
			sep=' | '
		done
	done
}

# side_by_side SET...: experts of each layer in processes side by side, the status of each counted
side_by_side() {
	printf 'ds-embed <batch'
	for l in $layers; do
		mkfifo $(seq -f "$#.in.$l.%g" $#) $(seq -f "$#.out.$l.%g" $#)
		printf ' | { exec 3<&0; p=; '
		i=0
		for e; do
			i=$((i + 1))
			printf 'ds-expert -l %s -e %s -i %s -o %s & p="$p $!"; ' "$l" "$e" "$#.in.$l.$i" "$#.out.$l.$i"
		done
		printf 'ds-join %s & p="$p $!"; ' "$(seq -f "-i $#.out.$l.%g" -s ' ' $#)"
		printf '{ ds-attn -l %s | ds-route -l %s %s; } <&3; s=$?; ' "$l" "$l" "$(seq -f "-o $#.in.$l.%g" -s ' ' $#)"
		printf 'for i in $p; do wait $i || s=1; done; exit $s; }'
	done
	printf ' | ds-head >got'
}

# loop STAGES EMBED-OPTIONS: answers to prompts
loop() {
	rm -f loop; mkfifo loop
	printf 'ds-embed %s -i loop | %s | ds-head -t 1 | ds-sample -n 6 | tee loop >got' "$2" "$1"
}

kernels=ref
has() {
	for flag; do
		grep -qw "$flag" /proc/cpuinfo || return 1
	done
}
has avx2 fma f16c && kernels="$kernels avx2" &&
	has avx512f avx512bw avx512dq avx512vl && kernels="$kernels avx512" &&
	has avx512vbmi && kernels="$kernels vbmi" &&
	has amx_bf16 amx_tile avx512_bf16 && kernels="$kernels amx"
has asimd && kernels="$kernels neon" && has asimddp && kernels="$kernels dot" &&
	has i8mm && kernels="$kernels i8mm"

set -- "$M" "$G"/v* "$G/llama-linear" "$G/qwen2-types" "$G/qwen3-yarn" "$G/qwen3-moe-mixed"
if [ "${FORMATS-}" ]; then              # t6006 sets it: what ds-quant makes of odd shapes, with logits in batches of 1 to 33 rows
	mkdir made
	for f in $FORMATS; do
		ds-quant -f "$f" --head -m "$G/v3-fp8-odd" "made/$f" || report 1 "ds-quant -f $f"
	done
	set -- "$S"/made/*
fi
for DS_MODEL; do
	export DS_MODEL
	name=${DS_MODEL##*/}
	mkdir "$S/$name"
	cd "$S/$name" || exit 2
	n=0
	set -- $(py "$T/bits.py" prompts "$DS_MODEL")         # number of layers, of experts
	layers=$(seq 0 $(($1 - 1))) last=$(($2 - 1)) half=$(($2 / 2)) quarter=$(($2 / 4))

	ok "$name: a process for every stage of every layer" pipe "$(line batch line '' '-t 1')"
	is "$(frame tensors logits <line/head | wc -l)" 287 "$name: it has logits for every row"
	points "two threads" "$(line batch got '' '-t 2')"
	points "prompts in many small frames" "$(line pieces got '' '-t 2')"
	for rows in 7 64; do
		points "batches of $rows rows" "$(line batch got "-B $rows" '-t 2')"
	done
	for k in $(sets); do
		case " $kernels " in
		*" $k "*) points "DS_KERNELS=$k" "export DS_KERNELS=$k; $(line batch got '' '')" ;;
		*) skip "$name: DS_KERNELS=$k: every tensor at every point has the same bits" "this machine has no $k" ;;
		esac
	done
	if [ "$last" -ge 0 ]; then
		sets="0-$((half - 1)),s $half-$last"
		logits "experts in a chain of two" "$(line batch two '' '' $sets); mv two/head got"
		logits "experts in two processes side by side" "$(side_by_side $sets)"
		sets="s 0-$((quarter - 1)),$half-$last $quarter $((quarter + 1))-$((half - 1))"
		four=$(line batch four '' '' $sets)
		logits "experts in a chain of four" "$four; mv four/head got"
		logits "experts in four processes side by side" "$(side_by_side $sets)"
	fi
	logits "one ds-block" "ds-embed <batch | ds-block | ds-head >got"
	logits "a ds-block for each layer" "ds-embed <batch | $(chain ds-block) | ds-head >got"
	for i in 0 1 2 3 4; do
		kept "a sequence alone" "ds-embed <alone.$i | ds-block | ds-head >got" single.$i
	done
	hold "each sequence alone: the logits have the same bits" same line/head single.*
	kept "batches of 1 row" "ds-embed -B 1 <short | ds-block -t 2 | ds-head -t 1 >got" rows.1
	hold "batches of 1 row: the logits have the same bits" same rows.1 single.1 single.2 single.3
	[ -z "${FORMATS-}" ] || py "$T/bits.py" rungs line/embed
	for to in ${FORMATS:+23 33}; do
		logits "batches of each size up to $to rows" "ds-block <rungs.$to | ds-head >got"
	done

	kept "a loop" "$(loop ds-block '-i ask')" answers
	tokens "a ds-block for each layer" "$(loop "$(chain 'ds-block -t 1')" '-i ask')"
	stages=$(chain 'ds-attn -t 1' 'ds-route -t 1' 'ds-expert -t 1')
	tokens "a process for every stage" "$(loop "$stages" '-i ask')"
	tokens "scalar code and two threads" "export DS_KERNELS=ref; $(loop 'ds-block -t 2' '-i ask')"
	tokens "batches of 2 rows, so that sequences wait" "$(loop 'ds-block -t 1' '-B 2 -i ask')"
	tokens "three batches under way" "$(loop "$(chain 'ds-block -t 2')" '--batches 3 -i ask')"
	tokens "prompts on two inputs" "$(loop ds-block '-i left -i right')"
	for i in 0 1 2 3 4; do
		t=$((1 + i % 2))
		kept "a sequence alone in the loop" "$(loop "ds-block -t $t" "-i ask.$i")" answer.$i
	done
	hold "each sequence alone: the same tokens are sampled" same answers answer.*
	kept "another prompt" "$(loop ds-block '-i clash')" clashed
	kept "prompts under the same id" "$(loop ds-block '-i ask -i clash')" both
	hold "the same id on two inputs: the same tokens are sampled" texts both answers clashed
	compared "$name"
	cd "$S"
	rm -rf "$name"
done
done_testing
