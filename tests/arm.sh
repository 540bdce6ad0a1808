#!/bin/sh
# make test-arm: aarch64 under qemu-user gives the bits of x86-64.  tests/run leaves it out.
#
# bin/ has the programs of this machine, build-aarch64/bin those of a cross build.
. "${0%/*}/lib.sh"
LIMIT=900
A=$R/build-aarch64
[ -x "$A/bin/ds-block" ] || skip_all "no programs in build-aarch64/bin"
command -v qemu-aarch64 >/dev/null || skip_all "no qemu-aarch64"

all=max,pauth=off               # an emulated processor with all instruction sets
mkdir arm                       # commands: each is a program of aarch64
for p in "$A"/bin/ds-*; do
	printf '#!/bin/sh\nexec qemu-aarch64 -L / -cpu %s %s "$@"\n' $all "$p" >"arm/${p##*/}"
done
chmod +x arm/*
native=$PATH emulated=$S/arm:$PATH

# --- the kernels ---
# checked CPU CHECK DESC
checked() {
	(cd "$R" && qemu-aarch64 -L / -cpu "$1" "$A/tests/$2") >out 2>err
	status=$?
	grep '^not ok' out >>err
	report $status "$2: $(grep -c '^ok' out) points, $3" err
}
checked $all checkkernels "NEON, SDOT and SMMLA give the bits of plain C"
is "$(grep -c SKIP out)" 0 "checkkernels: none of them was skipped"
for c in checkarithmetic checkblocks checki8; do
	checked $all $c "all instruction sets"
done
# (an instruction that the processor lacks would end these)
checked cortex-a72 checki8 "a processor without SDOT"
checked neoverse-n1 checki8 "a processor without SMMLA"

# --- big-endian machines ---
fails_with 1 'little-endian' "kernels.h cannot be compiled for big-endian machines" \
    aarch64-linux-gnu-gcc -mbig-endian -ffreestanding -fsyntax-only -x c -fmax-errors=1 \
    -fno-diagnostics-show-caret "$R/kernels/kernels.h"

# --- the frames of each stage in f32 and bf16, against the frames of x86-64 ---
# script NAME DESC: a test with the programs of aarch64
script() {
	PATH=$emulated LIMIT=$LIMIT sh "$T/$1" >out 2>err
	status=$?
	report $status "$1: $(grep -c '^ok' out) points, $2" err
}
script t4000-golden.sh "the golden models' own results"
script t6007-old-frames.sh "the frames of every stage in f32 and bf16 have the bytes of x86-64"

# --- and in i8, made here ---
# stages FOLDER FORMAT PATH: a process for every stage of every layer, then a loop
stages() {
	mkdir "$1" && cd "$1" || return
	line='ds-embed -i ../ask | tee embed'
	for l in 0 1 2 3; do
		line="$line | ds-attn -t 1 -l $l | tee attn.$l | ds-route -t 1 -l $l | tee route.$l"
		line="$line | ds-expert -t 1 -l $l | tee out.$l"
	done
	mkfifo loop
	(export PATH="$3" DS_MODEL="$S/$2" DS_PRECISION=i8
	pipe "$line | ds-head -t 1 >head" &&
	    pipe 'ds-embed -i ../asked -i loop | ds-block -t 1 | ds-head -t 1 | ds-sample -g -n 12 |
	        tee loop >tokens')
	status=$?
	rm loop
	cd ..
	return $status
}
for f in q8 q4 gguf-q8_0; do
	ds-quant -f $f --head -m "$M" $f >out 2>&1 || report 1 "ds-quant -f $f" out
	ds-tokenize -m $f -a "What is 37 * 46? A sentence that goes on, with many rows." >ask
	ds-tokenize -m $f -c "What is 37 * 46?" >asked
	ok "$f: the stages of x86-64 run in i8" stages x86.$f $f "$native"
	ok "$f: those of aarch64 do" stages arm.$f $f "$emulated"
	diff -r x86.$f arm.$f >err 2>&1
	report $? "$f: the frames of $(ls x86.$f | wc -l) streams have the same bytes" err
done

# --- answers ---
ds-tokenize -m "$M" -c "What is 37 * 46?" >asked
answer() {      # PRECISION PATH
	rm -f loop; mkfifo loop
	(export PATH="$2" DS_MODEL="$M" DS_PRECISION="$1"
	pipe 'ds-embed -i asked -i loop | ds-block -t 1 | ds-head -t 1 | ds-sample -g |
	    tee loop tokens | ds-detokenize -c')
}
for p in f32 bf16; do
	answer $p "$native" >want; mv tokens tokens.want
	ok "tiny-r1 answers in $p on aarch64" answer $p "$emulated"
	same .out want "with the words of x86-64: $(tail -n 1 want)"
	same tokens tokens.want "in the very same frames"
done

# --- a pipeline with stages of both, over tcp ---
set -- $(ports 4)
a=tcp://127.0.0.1:$1 b=tcp://127.0.0.1:$2 c=tcp://127.0.0.1:$3 d=tcp://127.0.0.1:$4
both() {
	export DS_MODEL="$M"
	ds-embed -i asked -i "@$d" -o "@$a" &
	"$S/arm/ds-block" -t 1 -l 0-1 -i "$a" -o "@$b" &
	ds-block -t 1 -l 2-3 -i "$b" -o "@$c" &
	"$S/arm/ds-head" -t 1 -i "$c" | ds-sample -g -o "$d" -o mixed
	wait
	ds-detokenize -c -i mixed
}
answer f32 "$native" >want
ok "one pipeline has stages of both architectures, joined over tcp" both
same .out want "it says what x86-64 says"
same mixed tokens "in the very same frames"
done_testing
