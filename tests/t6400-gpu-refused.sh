#!/bin/sh
# Every way in which there is no GPU: one line that says what is missing, and how much memory it would have to have.
# only: asan leaks
# check: yes
. "${0%/*}/lib.sh"
LIMIT=20
bin=$(command -v ds-attn) bin=${bin%/*}
case $bin in */build-asan/*) lib=$R/build-asan/tests/libdspipe-cuda.so ;; *) lib=$R/build/tests/libdspipe-cuda.so ;; esac
export DS_MODEL="$M" DS_CUDA="$lib"
stages="ds-attn ds-route ds-expert ds-block ds-head ds-draft"

# --- the option ---

for d in '' gpu CUDA cuda: cuda:x cuda:-1 cuda:+1 cuda:1x cuda:1024 cuda:99999999999999999999 'cuda 1' cpu:0; do
	fails_with 2 "^ds-attn: -d '$(echo "$d" | sed 's/+/[+]/')': give cpu, cuda, or cuda:N " "-d '$d' is refused" ds-attn -d "$d"
done
fails_with 2 "^ds-head: DS_DEVICE 'gpu': give cpu, cuda, or cuda:N " "so is DS_DEVICE" env DS_DEVICE=gpu ds-head
for p in $stages ds-bench ds-relay ds-run; do
	ok "$p takes -d cpu, cuda and cuda:1" "$p" -d cpu -d cuda -d cuda:1 -h
done
wrong=
for p in "$bin"/ds-*; do
	case " $stages ds-bench ds-relay ds-run " in *" ${p##*/} "*) continue ;; esac
	"$p" -d cuda >out 2>err </dev/null
	[ "$? $(cat out err)" = "2 ${p##*/}: -d 'cuda': this program computes on the CPU only" ] && "$p" -d cpu -h >out || wrong="$wrong ${p##*/}"
done
is "$wrong" "" "all others say that they cannot, and take -d cpu"

# --- the library, and the GPU ---

needs='; it needs [0-9.]+ [KMG]iB of GPU memory \(weights [0-9.]+ [KMG]iB, working [0-9.]+ [KMG]?i?B\), or -d cpu$'
# refused MESSAGE DESC [NAME=VALUE...]: by -d $on (cuda)
on=cuda program=ds-attn
refused() {
	message=$1 desc=$2
	shift 2
	case $on in cuda) where=cuda:0 ;; *) where=$on ;; esac
	fails_with 3 "^${program##*/}: $where: $message$needs" "$desc" env "$@" "$program" -d $on -o out
	cp "$S/.err" said
	ds-dump -i out >frames 2>/dev/null
	is "$(grep -c . frames) $(sed 's/^[^:]*: error: //' frames)" "1 $(cat said)" "$desc: those behind are told"
}

mkdir -p away/bin away/lib/dspipe
cp "$bin/ds-attn" away/bin
program=away/bin/ds-attn
refused "no libdspipe-cuda.so in '$S/away/bin' or its ../lib/dspipe: make builds it where nvcc is, DS_CUDA may name one elsewhere" \
    "no library" DS_CUDA=
program=ds-attn
refused "cannot load the GPU library: $S/nothing.so: .*No such file.*" "no file at DS_CUDA" DS_CUDA="$S/nothing.so"
echo "no library" >text.so
refused "cannot load the GPU library: ./text.so: .*" "what is no library, its name without a folder" DS_CUDA=text.so
other=$(ldd "$bin/ds-attn" | sed -n 's/.* => \(\/.*libzmq[^ ]*\).*/\1/p; s/.* => \(\/.*libm\.[^ ]*\).*/\1/p' | head -1)
refused "'$other' is no GPU library of dspipe" "a library of something else" DS_CUDA="$other"
cat >other.c <<'EOC'
#include "cuda/gpu.h"
const struct gpu_lib *dspipe_gpu(void) { static const struct gpu_lib l = {.version = GPU_VERSION + 1}; return &l; }
EOC
if ${CC:-cc} -shared -fPIC -I"$R/kernels" -o other.so other.c; then
	refused "'./other.so' is of version [0-9]+, this program needs [0-9]+: build both from the same source" \
	    "a library of another version" DS_CUDA=other.so
else
	skip "a library of another version" "no C compiler"
fi
[ -e "$lib" ] || { skip "what an emulated GPU refuses" "no emulated library"; done_testing; }

fails_with 3 "^ds-head: cuda:1: the last GPU here is cuda:0;" "DS_DEVICE stands in for -d" env DS_DEVICE=cuda:1 ds-head -o out
ok "-d wins over it" env DS_DEVICE=cuda:1 sh -c 'ds-tokenize "12+30=" | ds-embed | ds-block -d cpu >out'
refused "there is no NVIDIA driver here" "no driver" DS_EMULATE_DEVICES=none
refused "the NVIDIA driver is one for CUDA [0-9.]+, and [0-9.]+ is needed" "an old driver" DS_EMULATE_DEVICES=old
for p in $stages; do
	program=$p
	refused "there is no GPU here" "$p: no GPU" DS_EMULATE_DEVICES=0
done
program=ds-block
on=cuda:1
refused "the last GPU here is cuda:0" "the second of one" DS_EMULATE_DEVICES=1
on=cuda:3
refused "the last GPU here is cuda:1" "the fourth of two" DS_EMULATE_DEVICES=2
on=cuda
refused "the GPU emulated GPU has compute capability 7.5, and 8.0 is needed" "one that is too old" DS_EMULATE_CAPABILITY=75
refused "too little memory: 2.000 MiB of 2.000 MiB are free: divide the layers \(-l\) or the experts \(-e\) among more GPUs" \
    "one that is too small" DS_EMULATE_MEMORY=2097152

# --- how much it is ---

# weights PROGRAM NAMES [ARG...]: those of tensors whose names match, each at a multiple of 256 bytes, vectors as float32
weights() {
	weights_program=$1 names=$2
	shift 2
	DS_EMULATE_DEVICES=0 "$weights_program" -d cuda -l 1 "$@" -o out 2>said
	is "$(sed -n 's/.*(weights \(.*\), working.*/\1/p' said)" "$(py -c '
import json, re, struct, sys
f = open(sys.argv[1] + "/model.safetensors", "rb")
n = 0
for name, t in json.loads(f.read(struct.unpack("<Q", f.read(8))[0])).items():
    if name != "__metadata__" and re.fullmatch(sys.argv[2], name):
        n += -(-(4 * t["shape"][0] if len(t["shape"]) == 1 else t["data_offsets"][1] - t["data_offsets"][0]) // 256) * 256
unit = 0
while n >= 1000:
    n /= 1024
    unit += 1
print("%.*f %s" % (3 if n < 10 else 2 if n < 100 else 1, n, ["B", "KiB", "MiB"][unit]))' "$M" "$names")" "the weights of $weights_program $*are counted"
}
layer='model\.layers\.1\.'
weights ds-attn "$layer(input_layernorm|self_attn).*"
weights ds-route "$layer(post_attention_layernorm|mlp\.gate)\..*"
weights ds-expert "$layer(post_attention_layernorm|mlp\.experts|mlp\.shared_experts)\..*"
weights ds-expert "$layer(post_attention_layernorm|mlp\.experts\.[34])\..*" -e 3-4
weights ds-head "lm_head.weight|model.norm.weight"
ds-attn -v -d cuda </dev/null >out 2>said
like "$(sed -n 1p said)" '^ds-attn: cuda:0: emulated GPU, compute capability 9.0, 4.000 GiB of 4.000 GiB free$' "-v says which GPU it is"
like "$(sed -n 2p said)" '^ds-attn: cuda:0: weights 796.0 KiB$' "what the weights take"
like "$(sed -n 3p said)" '^ds-attn: cuda:0: working memory [0-9.]+ [KM]iB at first$' "what it works with"
like "$(sed -n 4p said)" '^ds-attn: cuda:0: cache 3[.][0-9]* GiB at most, 1.250 KiB a position: [0-9]+ positions$' "and what is left for the cache"

# where the library is looked for
for place in lib/dspipe bin; do
	cp "$lib" away/$place
	program=away/bin/ds-attn
	refused "there is no GPU here" "a library in $place" DS_CUDA= DS_EMULATE_DEVICES=0
done
cp text.so away/bin/libdspipe-cuda.so
refused "cannot load the GPU library: $S/away/bin/libdspipe-cuda.so: .*" "the one beside the program comes first" DS_CUDA=
done_testing
