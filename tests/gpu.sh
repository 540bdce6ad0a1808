# Sourced behind lib.sh by tests of the stages on a GPU: an emulated one, unless GPU_LIB names a library for another (tests/gpu-card).
# all: the models to be tested; with sanitizers, which are slow, those that have most in them.
# Where a script runs twice, the run without them has the others: both compute the same.
# gpu: emulated or cuda; gpus: how many there are
case $PATH in
"$R"/build-asan/bin:*) DS_CUDA=$R/build-asan/tests/libdspipe-cuda.so ;;
*) DS_CUDA=$R/build/tests/libdspipe-cuda.so ;;
esac
case $PATH in
"$R"/build-asan/*) all="qwen2-types v3 v3-fp8-odd" ;;
*)
	all="tiny-r1 v2 v2-lite v3-plain llama-linear qwen3-moe-mixed"
	! once || all="$all qwen2-types v3 v3-fp8-odd" ;;
esac
gpu=emulated gpus=1
if [ "${GPU_LIB-}" ]; then
	DS_CUDA=$GPU_LIB gpu=cuda gpus=$(find /dev -maxdepth 1 -name 'nvidia[0-9]*' | wc -l)
fi
export DS_CUDA

# model NAME: its folder
model() {
	case $1 in tiny-r1) echo "$M" ;; *) echo "$G/$1" ;; esac
}

# pieces: a prompt of ten tokens, and six tokens after it one by one
pieces() {
	frame prompt 1 0 3 $(seq 40 49)
	for p in 10 11 12 13 14 15; do
		frame prompt 1 $p 3 $((50 + p))
	done
	frame end
}

# emulated DESC: may the point be tested that asks for what only an emulated GPU can be told to be?  Skipped if not.
emulated() {
	[ $gpu = emulated ] || { skip "$1" "the GPU is not an emulated one"; return 1; }
}
