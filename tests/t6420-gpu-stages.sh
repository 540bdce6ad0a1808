#!/bin/sh
# The router, the experts and the head on the GPU: in f32 their frames are those of the CPU, byte for byte, and so is
# whatever is divided between the two.
# also: asan leaks kernels
. "${0%/*}/lib.sh"
. "$T/gpu.sh"

# both DESC IN PROGRAM [OPTION...]: it leaves the same on the CPU and on the GPU
both() {
	b_desc=$1 b_in=$2; shift 2
	"$@" -i "$b_in" -o want && limited "$@" -d cuda -i "$b_in" -o got 2>err || report 1 "$b_desc: it runs" err
	same want got "$b_desc"
}

pieces >pieces
for name in $all; do
	export DS_MODEL="$(model "$name")"
	mkdir "$S/$name"
	cd "$S/$name" || exit 2
	{ frame prompt 7 0 2 $(seq 20 27); frame prompt 8 0 1 5 6 7 8 9; frame end; } >prompts
	ds-embed -B 8 -i prompts -o out.0
	n=0
	for l in $(seq 0 $(($(jq .num_hidden_layers "$DS_MODEL/config.json") - 1))); do
		n=$((l + 1))
		ds-attn -l "$l" -i out.$l | tee route.$l | ds-route -l "$l" | tee expert.$l | ds-expert -l "$l" -o out.$n
		ds-route -d cuda -l "$l" -i route.$l -o got 2>err || report 1 "$name: ds-route" err
		same expert.$l got "$name: ds-route of layer $l"
		ds-expert -d cuda -l "$l" -i expert.$l -o got 2>err || report 1 "$name: ds-expert" err
		same out.$n got "$name: ds-expert of layer $l"
	done
	ds-embed -B 2 -i prompts -o two
	both "$name: ds-block, two rows at a time" two ds-block
	ds-embed -i "$S/pieces" | tee embedded.pieces | ds-block -o want
	limited ds-block -d cuda -v -i embedded.pieces -o got 2>err
	same want got "$name: ds-block, tokens one by one"
	like "$(cat err)" '^ds-block: 7 batches, [45] of them replayed, of 1 graphs$' "$name: the graph of one row is replayed"
	both "$name: ds-head" out.$n ds-head
	both "$name: ds-head with its tap" out.$n ds-head --tap head.norm
	last=$((n - 1))
	both "$name: ds-route with all taps" route.$last ds-route --tap all
	both "$name: ds-expert with all taps" expert.$last ds-expert --tap all
done

# What follows has one model in either run.
once || done_testing

# --- experts divided among processes ---
export DS_MODEL=$G/v3
cd "$S/v3" || exit 2
in=expert.1 want=out.2
E=$(jq .n_routed_experts "$DS_MODEL/config.json") half=$((E / 2))
a=0-$((half - 1)) b=$half-$((E - 1))
# chain PROGRAM...: one behind another
chain() {
	line="cat $in"
	for p; do
		line="$line | $p"
	done
	pipe "$line" >got 2>err || report 1 "experts in a chain run" err
	same $want got "experts in a chain: $*"
}
chain "ds-expert -d cuda -e $a" "ds-expert -e $b,s"
chain "ds-expert -e $a,s" "ds-expert -d cuda -e $b"
chain "ds-expert -d cuda -e s" "ds-expert -d cuda -e 1,3,5" "ds-expert -d cuda"
ds-expert -e $a -i $in -o part.a
both "a part of the experts" $in ds-expert -e 1-3,s
both "with all taps" $in ds-expert -e 1-3,s --tap all
both "what is left of them, with all taps" part.a ds-expert --tap all
for d in "cpu cuda" "cuda cpu" "cuda cuda"; do
	ds-expert -d "${d% *}" -e $a,s -i $in -o a
	ds-expert -d "${d#* }" -e $b -i $in -o b
	ds-join -i a -i b -o got
	same $want got "side by side on $d, joined"
done
both "no process of the shared experts passes a dense layer on" expert.0 ds-expert -l 0 -e $a
both "the shared experts alone are a dense layer's MLP" expert.0 ds-expert -l 0 -e s
ds-expert -d cuda -v -i $in -o got 2>err
like "$(cat err)" "^ds-expert: cuda:0: weights [0-9.]+ KiB" "-v says how much the weights take"

# --- other lines ---
ds-block -i out.0 -o blocks
ok "attention on the GPU, experts on the CPU" pipe 'ds-attn -d cuda -l 0 -i out.0 | ds-route -l 0 | ds-expert -l 0 |
    ds-attn -d cuda -l 1 | ds-route -l 1 | ds-expert -l 1 >got'
same out.2 got "leave what the CPU alone does"
ok "attention on the CPU, router and experts on the GPU" pipe 'ds-attn -l 0 -i out.0 | ds-route -d cuda -l 0 | ds-expert -d cuda -l 0 |
    ds-attn -l 1 | ds-route -d cuda -l 1 | ds-expert -d cuda -l 1 >got'
same out.2 got "leave the same"
py "$T/rows.py" d=$(jq .hidden_size "$DS_MODEL/config.json") at=route layer=1 7:0+0 8:0+3,9:0+0 end >none
both "frames and spans without rows: ds-route" none ds-route
ds-route -i none -o none.routed
both "ds-expert" none.routed ds-expert
both "ds-expert, all taps" none.routed ds-expert --tap all
{ frame prompt 7 0 0 5 6 7; frame end; } | ds-embed | ds-block -o none
both "no logits wanted: ds-head" none ds-head

# --- refusals ---
# alike DESC IN PROGRAM [OPTION...]: both end in the same line
alike() {
	a_desc=$1 a_in=$2; shift 2
	"$@" -i "$a_in" -o /dev/null 2>want
	a_status=$?
	limited "$@" -d cuda -i "$a_in" -o /dev/null 2>got
	is "$? $(cat got)" "$a_status $(cat want)" "$a_desc"
	like "$a_status $(cat want)" '^1 ds-' "which is a refusal"
}
py "$T/patch.py" "$G/v2" nan model.layers.1.mlp.experts.5.down_proj.weight model.layers.2.mlp.gate.weight:3
py "$T/golden.py" prompt "$G/v2" | ds-embed -m nan | ds-block -m nan -l 0 -o one
ds-attn -m nan -l 1 -i one | ds-route -m nan -l 1 -o two
alike "a weight that is not a number: its expert, sequence and position" two ds-expert -m nan -l 1
alike "of one that is not there: a part" two ds-expert -m nan -l 1 -e 4-6
alike "in a block" one ds-block -m nan -l 1-2
ds-block -m "$G/v2" -l 1 -i one | frame set model null | ds-attn -m nan -l 2 | tee route | ds-route -m nan -l 2 -o expert
both "a score that is not a number is chosen" route ds-route -m nan -l 2
alike "and refused" expert ds-expert -m nan -l 2
py "$T/patch.py" "$G/v3-fp8-odd" nan0 model.layers.0.input_layernorm.weight
py "$T/golden.py" prompt "$G/v3-fp8-odd" | ds-embed -m nan0 | ds-attn -m nan0 -l 0 | ds-route -m nan0 -l 0 -o zero
alike "a residual that is not a number: the MLP" zero ds-expert -m nan0 -l 0
py -c '
import json, pathlib, shutil, sys
shutil.copytree(sys.argv[1], "mixed")
path = pathlib.Path("mixed/model.safetensors")
raw = path.read_bytes()
n = int.from_bytes(raw[:8], "little")
header, data = json.loads(raw[8:8 + n]), raw[8 + n:]
t = header["model.layers.1.mlp.experts.3.up_proj.weight"]
a, b = t["data_offsets"]
wide = b"".join(b"\0\0" + data[i:i + 2] for i in range(a, b, 2))
t.update(dtype="F32", data_offsets=[len(data), len(data) + len(wide)])
text = json.dumps(header).encode()
path.write_bytes(len(text).to_bytes(8, "little") + text + data + wide)' "$G/v2"
fails_with 1 '^ds-expert: layer 1: the up matrix of expert 0 is BF16, of expert 3 F32: on a GPU the experts of a layer must be stored alike$' \
    "experts of two forms are refused" ds-expert -m mixed -d cuda -i two -o /dev/null
frame set model null <two >other
ok "unless the other is another process's" ds-expert -m mixed -d cuda -l 1 -e 0-2,4-7 -i other -o /dev/null
edit part.a bad 't["expert.idx"][2, 0] = -1'
alike "a choice of no expert" bad ds-expert -l 1
edit part.a bad 't["expert.acc"][2, 4] = -2**63'
alike "a sum that cannot be" bad ds-expert -l 1
edit part.a bad 'f.header["at"] = "route"'
alike "a router in front of which experts were done" bad ds-route -l 1

# --- bf16 ---
near=0.00390625         # 2^-8: what rounding one factor of each product to 8 bits makes of it; sums differ by far less
for DS_MODEL in "$G/v3" "$G/v3-fp8-odd"; do
	name=${DS_MODEL##*/}
	cd "$S/$name" || exit 2
	py "$T/golden.py" fronts "$DS_MODEL" bf16
	for l in $(seq 0 $(($(jq .num_hidden_layers "$DS_MODEL/config.json") - 1))); do
		ds-route --precision bf16 -l $l -i front.route.$l -o want
		ds-route --precision bf16 -d cuda -l $l -i front.route.$l -o got 2>err || report 1 "$name: ds-route of bf16" err
		same want got "$name: bf16: the router of layer $l chooses as the CPU's does"
		ds-expert --precision bf16 -l $l -i front.expert.$l -o want
		ds-expert --precision bf16 -d cuda -l $l -i front.expert.$l -o got 2>err || report 1 "$name: ds-expert of bf16" err
		ok "$name: bf16: experts of layer $l are within 2^-8 of the CPU's" ds-diff --tol $near want got
	done
	ds-head --precision bf16 -i front.head -o want
	ds-head --precision bf16 -d cuda -i front.head -o got 2>err || report 1 "$name: ds-head of bf16" err
	ok "$name: bf16: logits are within 2^-8" ds-diff --tol $near want got
done

# through all layers what differs adds up: where the last expert chosen is clearly better than the next, both choose the same
export DS_MODEL=$G/v2-lite DS_PRECISION=bf16
mkdir "$S/choice"
cd "$S/choice" || exit 2
py "$T/golden.py" prompt "$DS_MODEL" | ds-embed -o in
for d in cpu cuda; do
	line='<in cat'
	for l in $(seq 0 $(($(jq .num_hidden_layers "$DS_MODEL/config.json") - 1))); do
		line="$line | ds-attn -d $d -l $l | ds-route -d $d --tap route.choice -l $l | tee $d.$l | ds-expert -d $d -l $l"
	done
	ok "v2-lite: bf16: a line on $d" pipe "$line >$d.out"
done
ok "v2-lite: bf16: both choose the same experts where the margin is more than 2^-6 of the best" py -c '
import glob, sys, numpy, frame
rows = clear = 0
for a in sorted(glob.glob("cpu.[0-9]")):
    for f, g in zip(frame.read_frames(open(a, "rb")), frame.read_frames(open(a.replace("cpu", "cuda"), "rb"))):
        if "expert.idx" not in f.tensors:
            continue
        idx, other = f.tensors["expert.idx"], g.tensors["expert.idx"]
        choice = numpy.sort(f.tensors["route.choice@" + a[4:]], 1)[:, ::-1]
        sure = choice[:, idx.shape[1] - 1] - choice[:, idx.shape[1]] > choice[:, 0] * 2**-6
        rows, clear = rows + len(idx), clear + sure.sum()
        if (idx != other)[sure].any():
            sys.exit("layer " + a[4:])
if clear < rows / 2:
    sys.exit("only %d of %d rows have one" % (clear, rows))'
done_testing
