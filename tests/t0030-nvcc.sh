#!/bin/sh
# The library for GPUs as nvcc builds it, here for one kind of card and not optimised: without a warning, all symbols found, one shown; and
# where there is no driver, it says so.  (`make` builds it for all kinds.)
# first: yes
. "${0%/*}/lib.sh"
command -v nvcc >/dev/null || skip_all "there is no nvcc here"
LIMIT=200
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
for f in Makefile kernels common cmd; do ln -s "$R/$f" .; done
one='CUDA_CARDS=-gencode arch=compute_90a,code=sm_90a -Xcicc -O0 -Xptxas -O0'   # in a third of the time
make -s -j2 CUDA=1 "$one" bin/libdspipe-cuda.so >made 2>&1
report $? "it builds" made || done_testing
is "$(grep -v "ptxas info.*(C75" made)" "" "without a word, but for what wgmma says of code that is not optimised"
is "$(nm -D --defined-only bin/libdspipe-cuda.so | awk '{print $3}')" dspipe_gpu "it shows one symbol"
if nvidia-smi -L >/dev/null 2>&1; then
	skip "what it says without a driver" "there is a GPU here"
else
	fails_with 3 "cuda:0: there is no NVIDIA driver here; it needs [0-9.]* MiB of GPU memory" "and says that there is no driver" \
	    env DS_CUDA="$S/bin/libdspipe-cuda.so" ds-attn -m "$M" -d cuda
fi
done_testing
