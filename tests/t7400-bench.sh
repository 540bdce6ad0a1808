#!/bin/sh
# only: asan leaks
# ds-bench: what it says adds up, its picture is one, made-up checkpoints are checkpoints.  No time is held against anything.
# check: yes
. "${0%/*}/lib.sh"
small="--shape $M/config.json --time 0 --limits 20,200"

for type in f32 bf16 f16 fp8 q8 q4 mxfp4 q4_k q6_k; do
	ok "$type: a small shape is measured" \
	    sh -c 'ds-bench $1 --weights $2 --decode 1@70,3@66 --prefill 5 --json >$2.json' - "$small" $type
	ok "$type: bytes, operations, times and rates add up" py "$T/benched.py" $type.json "$M/config.json"
done
is "$(jq -r '.device // empty' fp8.json | sort -u)" cpu "each line says where that was"
for k in $(sets 2); do
	[ $k != avx2 ] || grep -q avx2 /proc/cpuinfo || continue
	is "$(DS_KERNELS=$k ds-bench $small --decode 2@1 --prefill 0 | sed -n 's/^limit  *[0-9]* *\([a-z0-9]*\) .*/\1/p')" $k \
	    "DS_KERNELS=$k counts"
done
ok "a small shape is measured in bf16" sh -c 'ds-bench $1 --precision bf16 --decode 1@70,3@66 --prefill 5 --json >bf16.json &&
    DS_PRECISION=bf16 ds-bench $1 --decode 1 --prefill 0 --json >env.json' - "$small"
ok "bytes, operations, times and rates add up" py "$T/benched.py" bf16.json "$M/config.json"
ok "a small shape is measured in i8, and in huge pages" sh -c 'ds-bench $1 --precision i8 \
    --huge-pages --weights q4_k --decode 1@70,3@66 --prefill 5 --json >i8.json' - "$small"
ok "bytes, operations, times and rates add up" py "$T/benched.py" i8.json "$M/config.json"
is "$(jq -r 'select(.record == "limit") | .precision' bf16.json env.json | paste -sd' ')" "bf16 bf16" "it is said, also where DS_PRECISION asked for it"
is "$(ds-bench $small -t 1 --decode 1 --prefill 0 --json | grep -c '"threads": 1,')" 1 "-t is what it computes with"
cpu=$(taskset -pc $$ | sed 's/.*: //; s/[,-].*//')
is "$(taskset -c "$cpu" ds-bench $small --decode 1 --prefill 0 --json | grep -c '"threads": 1,')" 1 \
    "without it the cores that the process may use, as taskset and numactl set them"
is "$(ds-bench $small --stages expert,attn -l 1-2 --decode 4 --prefill 0 --json | jq -r 'select(.record != "limit") |
    if .record == "model" then "\(.measured) of \(.layers)" else .part end' | paste -sd' ')" "2 of 4 attn expert all" \
    "--stages and -l choose what is measured"
is "$(ds-bench $small --decode 1@0,2@9 --prefill 0 | awk '/^stage/ { print $2, $3, $4, $5 }' | paste -sd,)" \
    "$(for n in "1 0" "2 9"; do for p in attn route expert head all; do echo "decode $n $p"; done; done | paste -sd,)" \
    "the table has a line for each stage and one for all"

# the machine's limits, measured with as little memory as there may be, and a part of a model, before which caches are emptied
ds-bench --shape "$M/config.json" --memory 0.3 -l 1-3 --time 0 --decode 1 --prefill 0 --json >limit.json 2>limit.err
is "$(jq -r 'select(.record == "limit") | .gb_s > 0 and .gflop_s > 0' limit.json)" true \
    "the machine's limits are measured"
if grep -qE "avx512_vnni|avx_vnni|avx2|asimddp" /proc/cpuinfo; then
	for k in ref ""; do
		DS_KERNELS=$k ds-bench --shape "$M/config.json" --memory 0.3 -l 1-3 --time 0 \
		    --decode 1 --prefill 0 --precision i8 --json
	done >limits.json 2>limit.err
	is "$(jq -s 'map(select(.record == "limit") | .gflop_s) | .[1] > .[0] * 4' limits.json)" \
	    true "products of 8-bit integers have a peak of their own"
fi

# a checkpoint, and one of its shape
ok "-m measures a checkpoint" \
    sh -c 'ds-bench -m "$1" --limits 20,200 --time 0 --decode 2 --prefill 3 --json >real.json' - "$M"
is "$(jq -r 'select(.part == "all") | .work' real.json | paste -sd' ')" "decode prefill" "and all of it"
ds-bench $small --decode 1 --prefill 0 --json >synth.json
ds-bench -m "$M" --limits 20,200 --time 0 --decode 1 --prefill 0 --json >real.json
is "$(jq -c 'if .record == "model" then [.measured, .layers, .experts, .hidden] else .mb end' synth.json)" \
    "$(jq -c 'if .record == "model" then [.measured, .layers, .experts, .hidden] else .mb end' real.json)" \
    "a made-up one of its config.json has as many bytes to read"
ds-bench $small --weights f32 --memory 0.0815 --decode 16@0 --prefill 0 --json >part.json 2>part.err
like "$(cat part.err)" '^ds-bench: memory holds [0-9]+ of the 16 experts of a layer' \
    "where memory does not hold all experts, it says so"
ok "and measures with those that it holds" jq -e 'select(.record == "stage") | .experts >= 4 and .experts < 16' part.json
fails_with 3 'needs at least [0-9.]* GiB of memory' "where it holds too few, it says what to do" \
    ds-bench $small --weights f32 --memory 0.07 --decode 1

# a host for ds-plan
ok "--host prints a line" sh -c 'ds-bench -m "$1" -t 1 --limits 20,200 --time 0 --host >host' - "$M"
like "$(cat host)" '^[A-Za-z0-9_-]+ 1 [0-9.]+ 20 row=[0-9.]+ rows=[0-9.]+ attend=[0-9.]+  # 1 threads, [a-z0-9]+, f32, tiny-r1$' \
    "with cores, memory, bandwidth and rates"
is "$(wc -l <host)" 1 "and nothing else"
is "$(awk '{ for (i = 5; i <= 7; i++) { sub(/.*=/, "", $i); if (!($i + 0 > 0.001 && $i + 0 < 1e5)) print "odd: " $i }
    if ($6 + 0 < $5 + 0) print "less with many rows: " $0 }' host)" "" "the rates may be those of a machine, and many rows are no slower each"
ok "ds-plan takes it" ds-plan -m "$M" -f report host
like "$(cat .out)" 'a core: as the hosts file says;' "and goes by its rates"
ok "a made-up shape, too" sh -c 'ds-bench $1 --host -l 1-2 | grep "# .*config.json$"' - "$small"
ok "bf16 is said" sh -c 'ds-bench $1 --host --precision bf16 | grep ", bf16, "' - "$small"
fails_with 2 "^ds-bench: --host measures all stages on the CPU" "--host measures all stages" ds-bench $small --host --stages attn
fails_with 2 "^ds-bench: --host measures all stages on the CPU" "--host is no report" ds-bench $small --host --json

# the picture
ok "--svg draws" ds-bench $small --precision bf16 --decode 1,8 --prefill 16 --svg roof.svg
ok "the picture is well-formed" py -c 'import sys, xml.etree.ElementTree as e; e.parse(sys.argv[1])' roof.svg
ok "it names the precision" grep -q ', products of bf16<' roof.svg
is "$(grep -c '<title>decode .* GB/s, .* GFLOP/s</title>' roof.svg)" 10 "each point holds its numbers"

# made-up checkpoints that stay
cat >rows.py <<'X'
import sys, frame, numpy as np
frame.write_frame(sys.stdout.buffer, {"at": "embed", "spans": [[1, 0, 3, 1]]}, {"ids": np.array([3, 5, 8], "<i4")})
frame.write_frame(sys.stdout.buffer, {"op": "end"})
X
py rows.py >ids.dsf
for type in bf16 q8_0 q4_0 mxfp4 q4_k q5_k q6_k iq4_nl iq4_xs q8 q4; do
	made=made-$type
	ok "--write makes a checkpoint of $type" \
	    ds-bench --shape "$M/config.json" --weights $type --write $made
	[ ! -e $made/model.gguf ] || made=$made/model.gguf
	ok "the programs take it" pipe \
	    'ds-embed -m $0 <ids.dsf | ds-block -m $0 | ds-head -m $0 >fused.dsf' $made
	like "$(ds-dump <fused.dsf)" 'logits F32 \[1, 1024\] min -[0-9.]+ max [0-9.]+ .* nan 0' "and what comes out are numbers"
done
ok "it is cut" pipe 'ds-embed -m $0 <ids.dsf | ds-attn -m $0 -l 0 | ds-route -m $0 -l 0 |
    ds-expert -m $0 -l 0 | ds-block -m $0 -l 1-3 | ds-head -m $0 >cut.dsf' made-q4
same fused.dsf cut.dsf "and gives the same bits"
fails_with 3 "'full/model.safetensors': cannot make a file of [0-9]* bytes" \
    "no room is an error" sh -c 'trap "" XFSZ; ulimit -f 1000
	exec ds-bench --shape "$M/config.json" --write full'
ok "which leaves no folder" test ! -e full
ok "--sparse makes one of holes" ds-bench --shape "$M/config.json" --weights f32 --write holes --sparse
is "$(du -k holes/model.safetensors | awk '{ print ($1 < 1000) }') $(stat -c %s holes/model.safetensors | awk '{ print ($1 > 20000000) }')" "1 1" \
    "which takes no room"
ok "ds-block opens it" pipe 'ds-embed -m holes <ids.dsf | ds-block -m holes >/dev/null'

fails_with 2 "nothing to measure: give --shape SHAPE or -m MODEL" "without a model it says what it wants" ds-bench
fails_with 2 "--shape generates weights, -m reads them" "a shape and a model" \
    ds-bench --shape v3 -m "$M"
fails_with 2 "--shape 'v4': give v3, .* or qwen3-moe, or a config.json" "an unknown shape is refused" ds-bench --shape v4
fails_with 2 "--weights 'q9': give f32, bf16, f16" "an unknown type of weights is refused" ds-bench --shape v3 --weights q9
fails_with 2 "no weights of block types are made for rope_type llama3" \
    "a GGUF without the factors of rope is not made" \
    ds-bench --shape llama-8b --weights q4_k --limits 20,200
fails_with 2 "--weights generates weights: give their --shape" "--weights without --shape is refused" ds-bench -m "$M" --weights f32
# the shapes it knows have the parameters of the releases
printf 'a 2 900 20\n' >big
while read -r shape params; do
	ds-bench --shape "$shape" -l 0 --sparse --write "known-$shape"
	is "$(ds-plan --shapes -m "known-$shape" -f report big | sed -n 's/ *parameters.*//; 2p')" \
	    "$params" "$shape has $params parameters"
done <<'X'
v3 671 billion
v32 671.9 billion
v2-lite 15.71 billion
qwen2-1.5b 1.777 billion
llama-8b 8.03 billion
qwen3-moe 30.53 billion
X

fails_with 2 "--write generates weights" "--write without --shape is refused" ds-bench -m "$M" --write x
fails_with 2 "--sparse is for --write" "--sparse without --write is refused" ds-bench --shape v3 --sparse
fails_with 2 "--stages 'attn,tail': give some of" "an unknown stage is refused" ds-bench --shape v3 --stages attn,tail
fails_with 2 "--decode '1,x'|--decode 'x'" "a size that is no number is refused" ds-bench --shape v3 --decode 1,x
fails_with 2 "nothing is left" "no sizes at all are refused" ds-bench --shape v3 --decode 0 --prefill 0
fails_with 2 "--limits '20': give GB/s and GFLOP/s" "half the limits are refused" ds-bench --shape v3 --limits 20
fails_with 2 "layers are 0 to 60" "layers beyond the last are refused" ds-bench --shape v3 -l 61 --limits 20,200
fails_with 2 "DS_KERNELS='mmx'" "kernels that there are not are refused" env DS_KERNELS=mmx ds-bench $small
mkdir taken
fails_with 2 "^ds-bench: 'taken' exists: name a folder that does not" "--write overwrites nothing" ds-bench --shape v2-lite --write taken
echo '{"model_type": "gpt2"}' >gpt2.json
fails_with 1 "model_type is 'gpt2'" "a config.json of another architecture is refused" \
    ds-bench $small --shape gpt2.json
fails_with 2 "position 2048: the model ends at 2047" "a context beyond the model's is refused" \
    ds-bench $small --decode 1@2048
fails_with 2 "--prefill '3@4': a prompt begins at position 0" "a prompt with a context is refused" ds-bench $small --prefill 3@4
fails_with 2 "--decode 'a': give an integer" "a context that is no number is refused" ds-bench $small --decode 3@a
mkdir tmp
for wrong in "" "--decode 1@3000" "--shape gpt2.json" "-l 9"; do
	TMPDIR=$S/tmp ds-bench $small --decode 1 --prefill 0 $wrong >/dev/null 2>&1
done
is "$(ls tmp)" "" "nothing stays in the temporary folder"
done_testing
