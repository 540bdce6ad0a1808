#!/bin/sh
# tests/gpu-card, which shows on a card what can be shown there alone, with the emulated GPU: what it runs, what it says of
# what fails or is missing, and that it keeps no result of a GPU that is none.
. "${0%/*}/lib.sh"
LIMIT=100
card=$T/gpu-card
results=$R/kernels/cuda/RESULTS.md
before=$(cksum "$results" 2>&1)

# --- no card ---
if [ -e /dev/nvidiactl ]; then
	skip "without a card it says what is needed" "there is one here"
	skip "so does make test-gpu" "there is one here"
else
	fails_with 3 "^gpu-card: there is no card here \(.*\): needed are an NVIDIA GPU .*, its driver, and nvcc .*" \
	    "without a card it says what is needed" "$card"
	make -s -C "$R" test-gpu >out 2>err
	is "$? $(grep -c . out) $(grep -c '^gpu-card: there is no card here' err)" "2 0 1" "so does make test-gpu, which builds nothing then"
fi
fails_with 3 "^gpu-card: ds-bench: cuda:0: there is no GPU here; it needs" "a GPU that does not answer is none" \
    env DS_EMULATE_DEVICES=0 "$card" --emulated

# --- what is run ---
mkdir bin
cat >bin/compute-sanitizer <<'X'
#!/bin/sh
# in place of the true one: says that all is well, but for the tool WRONG
tool=$2
for program; do :; done
[ -x "$program" ] || exit 1
if [ "$tool" = "${WRONG-}" ]; then
	echo "========= Invalid __global__ read of size 4 bytes"
	echo "========= ERROR SUMMARY: 1 error"
	exit 9
fi
echo "========= ERROR SUMMARY: 0 errors"
X
chmod +x bin/compute-sanitizer
clean=$PATH
PATH=$S/bin:$PATH
limited "$card" --emulated --commit 123abc checkgpu_route checkgpu_tensor gpu-behind ds-bench-fp8 tiny-r1-f32 >out 2>err
report $? "checks, a test, a short ds-bench and tiny-r1 are run" out err
for name in checkgpu_route checkgpu_tensor t6460-gpu-behind; do
	like "$(cat out)" "^ok   $name: [1-9][0-9]* passed, 0 failed, 0 skipped$" "$name: its points are counted"
done
is "$(grep -c '^ok   checkgpu_[a-z]*-[a-z]*check: 0 errors$' out)" 8 "each check by each of four tools"
like "$(cat out)" '^[|] fp8 [|] decode [|] 1 [|] 512 [|] expert [|] [0-9.]* [|]' "times are in the table"
like "$(cat out)" '^[|] tiny-r1, 64 prompts: .* [|] 1.00 [|] [0-9.e-]+ [|] - [|] - [|]$' "beside the targets"
like "$(cat out)" '^5 processors, 4.3 GB; driver .*; commit 123abc;$' "with card, driver and commit"
like "$(cat out)" '^gpu-card: the GPU is emulated: nothing is written to kernels/cuda/RESULTS.md$' "it says that it keeps nothing"
is "$(tail -n 1 out)" "gpu-card: 13 good, 0 failed, 0 not run" "and what came of it"

# --- what fails ---
WRONG=racecheck limited "$card" --emulated checkgpu_tensor >out 2>err
is "$? $(tail -n 1 out)" "1 gpu-card: 4 good, 1 failed, 0 not run: checkgpu_tensor-racecheck" "a tool that reports something is a failure"
like "$(cat out)" '^     ========= Invalid __global__ read' "and its report is shown"
DS_EMULATE_MEMORY=33554432 limited "$card" --emulated checkgpu_device >out 2>err
is "$? $(grep -c '^     not ok .* memory, aligned$' out)" "1 1" "a check that fails is one, and its points are shown"
like "$(cat out)" '^FAIL checkgpu_device: [0-9]+ passed, [1-9] failed, 0 skipped; exit status 1$' "and counted"
fails_with 1 "^gpu-card: nothing has a name like that: no-such$" "a PART that there is not" "$card" --emulated no-such

# --- what is missing ---
PATH=$clean
if command -v compute-sanitizer >/dev/null; then
	skip "without compute-sanitizer its tools are said to be missing" "there is one here"
else
	is "$("$card" --emulated memcheck checkgpu_tensor | grep -E '^(none|gpu-card: [0-9])')" \
	    "none memcheck: not run: no compute-sanitizer in PATH
gpu-card: 1 good, 0 failed, 1 not run: memcheck" "without compute-sanitizer its tools are said to be missing"
fi
is "$(cksum "$results" 2>&1)" "$before" "no result was kept"

# --- what is kept, were it a card ---
mkdir -p there/kernels/cuda
for n in 1 2; do
	ok "a result is kept" py -c '
import sys
card = {"__name__": "card", "__file__": sys.argv[1]}
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), card)
card["ROOT"] = "there"
card["write"](["## Card " + sys.argv[2], "", "| a |", ""])' "$card" $n
done
is "$(grep -v '^$' there/kernels/cuda/RESULTS.md)" "# What ran on cards
\`make test-gpu\` appends a section here for each run.
## Card 1
| a |
## Card 2
| a |" "each behind the other"
done_testing
