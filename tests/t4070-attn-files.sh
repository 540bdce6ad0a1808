#!/bin/sh
# only: asan leaks
# ds-attn --cache-dir: saved rows have the bits of computed ones, and a file that is not what it
# ought to be is never read.
. "${0%/*}/lib.sh"

K=00000000000000aa
rows() {
	py "$T/rows.py" d=$D "$@"
}

# attn [OPTION...] <FRAMES: what each row of h became, sorted
attn() {
	ds-attn -m "$model" "$@" | frame tensors h | sort
}

# the promise, MODEL WIDTH LAYER [OPTION...]
saves() {
	model=$1 D=$2 l=$3 name=${1##*/}; shift 3
	[ $# -eq 0 ] || name="$name $*"
	rm -rf kept cut
	rows layer=$l 7:0+70 save=7,70,$K 7:70+30 end | attn -l $l --cache-dir kept "$@" >want
	awk '$5 >= 70' want >tail
	awk '$5 >= 40' want >more
	[ -s tail ] && [ -s more ] || echo "no rows" >tail
	rows load=7,70,$K layer=$l 7:70+30 end | attn -l $l --cache-dir kept "$@" >got
	same got tail "$name: rows after loaded ones have the same bits"
	rows load=9,40,$K free=9 load=7,40,$K layer=$l 7:40+60 end |
		attn -l $l --cache-dir kept "$@" >got
	same got more "$name: also after the first prefix that was saved"
	rows layer=$l 7:0+1 7:1+79 fork=7,8,70 save=8,70,$K end |
		ds-attn -m "$model" -l $l --cache-dir cut "$@" -o /dev/null
	same kept/$K.l$l cut/$K.l$l "$name: a fork of other batches saves the same bytes"
}
saves "$M" 256 0
saves "$G/qwen2-types" 64 1             # a window of 17
saves "$G/qwen3" 128 0
saves "$G/v32" 128 1                    # the keys of an indexer
if [ -e "$R/build/tests/libdspipe-cuda.so" ]; then
	. "$T/gpu.sh"
	saves "$M" 256 0 -d cuda
	cp kept/$K.l0 gpu
	rows 7:0+70 save=7,70,$K end | ds-attn -m "$M" -l 0 --cache-dir cpu -o /dev/null
	same gpu cpu/$K.l0 "a GPU saves the bytes of the CPU in f32"
	saves "$G/qwen2-types" 64 1 -d cuda
else
	skip "the same on a GPU" "make checks has built no emulated GPU"
fi

model=$M D=256
rm -rf kept
rows 7:0+100 layer=1 7:0+100 save=7,100,$K end >in
is "$(ds-attn -m "$M" -l 0,1 --cache-dir kept -v -i in 2>err | frame check)" "4 frames" \
    "frames that save are passed on"
like "$(cat err)" "^ds-attn: 1 sequences saved, 0 loaded" "-v counts"
is "$(cd kept && echo *)" "$K.l0 $K.l1" "a layer is a file, and nothing else is left"
is "$(frame check <kept/$K.l0)" "2 frames" "which is a stream of frames"

zeros() {
	ds-dump "$@" | grep -c '"n": *0'
}
# refused REGEX DESC [OPTION...]: the file is not loaded, for this reason, in one line
rows load=7,100,$K end >load
refused() {
	r_regex=$1 r_desc=$2; shift 2
	ds-attn -m "$M" -l 0,1 --cache-dir kept -i load -o got "$@" 2>err
	is "$(wc -l <err) $(zeros got)" "1 1" \
	    "$r_desc: one line, and n is 0"
	like "$(cat err)" "^ds-attn: .*$r_regex: it is computed again\$" "$r_desc: says why"
}
cp -r kept good
again() {
	rm -rf kept
	cp -r good kept
}
printf X | dd of=kept/$K.l1 bs=1 seek=5000 conv=notrunc 2>/dev/null
refused "'kept/$K.l1': the CRC does not match.*" "a byte changed"
again; truncate -s 7000 kept/$K.l1
refused "'kept/$K.l1': a frame of [0-9]* bytes begins where it has 7000" "a short file"
again; : >kept/$K.l1
refused "'kept/$K.l1': it ends without.*" "an empty file"
again; rm kept/$K.l1
refused "cannot open 'kept/$K.l1': No such file.*" "a file that is missing"
rm -f kept/$K.l1; mkfifo kept/$K.l1
refused "'kept/$K.l1' is not a regular file" "a FIFO"
again; cp kept/$K.l0 kept/$K.l1
refused "does not go on with position 0 of layer 1" "another layer's file"
again; frame set precision '"bf16"' <good/$K.l0 >kept/$K.l0
refused "it is of precision bf16" "another precision"
again; frame set cache_type '"bf16"' <good/$K.l0 >kept/$K.l0
refused "its KV cache is in bf16 of a CPU, this one in f32" "another type of cache"
again; frame set model '"0123456789abcdef"' <good/$K.l0 >kept/$K.l0
refused "it is of model 0123456789abcdef" "another model"
again; frame set model null <good/$K.l0 >kept/$K.l0
refused "it states no model" "no model"
again; frame set spans '[[0, 64, 100, 0]]' <good/$K.l0 >kept/$K.l0
refused "does not go on with position 0.*" "other positions"
again; rows 7:0+100 layer=1 7:0+100 save=7,100,$K,5 end >in
ds-attn -m "$M" -l 0,1 --cache-dir kept -i in -o /dev/null
refused "'kept/$K.l0': it is of other tokens" "other tokens"
again; rows 7:0+90 layer=1 7:0+90 save=7,90,$K end >in
ds-attn -m "$M" -l 0,1 --cache-dir kept -i in -o /dev/null
refused "does not go on with position 90.*" "fewer positions"
rm -rf kept
model=$G/v3 D=128
rows 7:0+100 save=7,100,$K end | attn -l 0 --cache-dir kept >/dev/null
refused "it is of model [0-9a-f]*" "another model's rows"
model=$M D=256

again
printf X | dd of=kept/$K.l1 bs=1 seek=5000 conv=notrunc 2>/dev/null
rows load=7,100,$K 7:0+150 end >in
ds-attn -m "$M" -l 0,1 --cache-dir kept -i in 2>/dev/null | frame tensors h | sort >got
rows 7:0+150 end | attn -l 0 >want
same got want "what could not be loaded is computed under the same number"
rows load=7,100,$K 8:0+9 save=8,9,$K end | ds-attn -m "$M" -l 0 -o got 2>err
is "$(zeros got)" 2 "without --cache-dir nothing is loaded or saved"
is "$(cat err)" "ds-attn: it has no --cache-dir: nothing is saved or loaded" "which is said once"
again; rows save=7,0,$K end | ds-attn -m "$M" -l 0 --cache-dir kept -o /dev/null
is "$(cd kept && echo *)" "$K.l1" "to save nothing removes the file"

# errors REGEX WORD...
errors() {
	e_regex=$1; shift
	rows "$@" >in
	fails_with 1 "^ds-attn: $e_regex\$" "it ends in an error: $*" \
	    ds-attn -m "$M" -l 0 --cache-dir good -i in -o /dev/null
}
errors 'layer 0: sequence 7: save of 100 positions, cache holds 12' 7:0+12 save=7,100,$K end
errors 'layer 0: sequence 7: load to it, but it exists' 7:0+12 load=7,100,$K end
errors 'sequence 7: load of 2049 positions, the model ends at 2047' load=7,2049,$K end
rows load=7,1,../../../../etc/aa end >in
fails_with 1 "^ds-attn: in: .*'key' is not 16 hex digits\$" "a key that is no name" \
    ds-attn -m "$M" -l 0 --cache-dir good -i in -o /dev/null
fails_with 3 "^ds-attn: --cache-dir 'none/kept': cannot make it: No such file" "no folder above" \
    ds-attn -m "$M" -l 0 --cache-dir none/kept -i in -o /dev/null
fails_with 2 "^ds-attn: --cache-dir 'in' is not a folder\$" "a file instead of the folder" \
    ds-attn -m "$M" -l 0 --cache-dir in -i in -o /dev/null

rows 7:0+500 end | attn -l 0 | awk '$5 >= 450' >want
rows 7:0+450 save=7,450,$K end | attn -l 0 --cache-dir many >/dev/null
rows load=7,450,$K 7:450+50 end | attn -l 0 --cache-dir many >got
same want got "many pages, in several frames"
is "$(frame check <many/$K.l0)" "3 frames" "which is what they are"

# a full disk: layer 0 fits, layer 1 does not
rows 7:0+90 layer=1 7:0+90 save=7,90,$K save=7,80,00000000000000ab end >in
size=$(stat -c %s good/$K.l0)
mkdir full
if unshare -m sh -c '
    mount -t tmpfs -o size=$(($1 + 16384)) none full && : >mounted
    ds-attn -m "$M" -l 0,1 --cache-dir full -i in -o got 2>err
    ls -A full >left
    mount -o remount,ro none full
    ds-attn -m "$M" -l 0,1 --cache-dir full -i in -o got.ro 2>err.ro' - "$size" &&
    [ -e mounted ]; then
	is "$(zeros got)" 2 "a full disk: n is 0"
	is "$(wc -l <err)" 1 "a full disk is one line, and nothing is tried again"
	like "$(cat err)" "^ds-attn: 'full/$K.l1': cannot write: No space.*: no more is saved" \
	    "which says why"
	is "$(cat left)" "" "nothing is left over"
	is "$(zeros got.ro) $(wc -l <err.ro)" "2 1" "a folder that cannot be written: likewise"
	like "$(cat err.ro)" "cannot create 'full/$K.l0': Read-only.*: no more is saved" "says why"
else
	skip "a full disk" "no tmpfs can be mounted"
fi

done_testing
