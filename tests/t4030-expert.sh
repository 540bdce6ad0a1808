#!/bin/sh
# only: asan leaks kernels
# ds-expert and ds-join: experts divided among processes in any way give the same bits.
. "${0%/*}/lib.sh"
export DS_MODEL=$M

{ frame prompt 7 0 2 $(seq 0 9 300); frame prompt 8 0 1 5 6 7 8 9; frame end; } | ds-embed >embedded
ds-block -l 0 -i embedded -o in.1
ds-attn -l 0 -i embedded | ds-route -l 0 -o dense
ds-attn -l 1 -i in.1 | ds-route -l 1 -o routed
ds-expert -l 1 -i routed -o whole
is "$(frame show <whole | grep -c 'expert')" 0 "a frame that is finished has nothing of the experts left"
like "$(frame show <whole)" '"at": "attn", "layer": 2' "and waits for the next layer"

# chain SET...: one process behind the other
chain() {
	line='cat routed'
	for set; do
		line="$line | ds-expert -l 1 -e $set"
	done
	pipe "$line" >chained
	same whole chained "one behind the other: $*"
}
chain 0-7 8-15,s
chain 8-15,s 0-7
chain s 0-3 12-15 4-11
chain 0,2,4,6,8,10,12,14,s 1,3,5,7,9,11,13,15
chain 5 0-4,6-15,s
ds-expert -l 1 -e 3-9 -i routed | ds-expert -l 1 >chained
same whole chained "the last one without -e does what is left"
for t in 1 2; do
	for k in $(sets 3); do
		DS_KERNELS=$k ds-expert -l 1 -t $t -i routed -o got
		same whole got "$t threads, $k kernels at most"
	done
done

cat "$M"/model.safetensors >/dev/null
ds-expert -v -l 1 -i routed -o got 2>err
like "$(cat err)" 'ds-expert: 2 batches, ([0-9.]+) of \1 MB of the experts they chose were in memory' \
    "-v says how much of the chosen experts was in memory: all of a small model"

# part NAME SET: its partial sums
part() {
	ds-expert -l 1 -e "$2" -i routed -o "$1"
}
part a 0-7
part b 8-15,s
part b1 8-12
part b2 13-15
part b3 s
ds-join -i a -i b -o got
same whole got "side by side, two"
ds-join -i b3 -i b1 -i a -i b2 -o got
same whole got "side by side, four in any order"
ds-join -i b1 -i b3 -o got
like "$(frame show <got)" '"experts_done": "8-12,s"' "what is joined says which experts are done"
part both 8-12,s
same both got "and is what one process would have left"
ds-join -i a -i got | ds-expert -l 1 >chained
same whole chained "joined in part, finished by another"
ds-join -i whole -i routed -o got
same whole got "a frame that one has finished is preferred to the untouched one"
ds-join -i routed -i a -o got
same a got "so is one that is begun"
ds-join -i routed -i routed -o got
same routed got "untouched frames pass as they are"

ds-expert -l 0 -e 0-15 -i dense -o got
same dense got "on a dense layer a process without s passes frames on"
ds-expert -l 0 -e s -i dense -o got
same in.1 got "one with s finishes them"
ds-join -i dense -i in.1 -o got
same in.1 got "and is preferred"
for n in 2 3; do
	ds-block -l 1-$n -i in.1 -o to.$n
done
ds-block -l 2-3 -i whole -o got
same to.3 got "it goes on as a block of layers does"
like "$(frame show <to.3)" '"at": "head", "layer": 4' "the last layer's frames wait for the head"

{ frame free 7; frame fork 7 8 3; frame end; } >control
ds-join -i control -i control -i control -o got
same control got "control frames pass once"

# refuses PROGRAM STATUS REGEX DESC OPTION...
refuses() {
	r_program=$1 r_status=$2 r_regex=$3 r_desc=$4; shift 4
	fails_with "$r_status" "^$r_program: $r_regex\$" "$r_desc: refused" "$r_program" "$@" -o /dev/null
}
refuses ds-expert 1 'layer 1: expert 3: done twice' "an expert that is done already" -l 1 -e 3-9 -i a
refuses ds-expert 1 'layer 1: shared experts: done twice' "shared experts that are" -l 1 -e s -i b
fails_with 2 "-e: experts '0-7': the model has none: give s" "experts of a model without any" \
    ds-expert -m "$G/llama" -e 0-7 -i a
refuses ds-expert 2 "-e: experts '0-16': the model's are 0 to 15" "an expert that there is not" -l 1 -e 0-16 -i a
refuses ds-expert 2 "-e: experts 'x' are not .*" "a set that is none" -l 1 -e x -i a
refuses ds-join 1 'expert layer 1: b: expert 8: done twice' "an expert that two inputs have done" -i b1 -i b
refuses ds-join 1 'expert layer 1: a has experts .0-7. of a layer that whole has finished' \
    "experts of a frame that another input has finished" -i a -i whole
refuses ds-join 1 '.*differ in at and layer' "inputs at different places" -i routed -i in.1
refuses ds-join 1 '.*differ in op' "inputs with different frames" -i routed -i control
refuses ds-join 2 'give at least 2 -i.*' "one input" -i routed

frame end >e
refuses ds-join 3 'e: ended before the others' "an input that ends early is a failure" -i routed -i e
edit routed bad 't["h"][3, 5] += 1'
refuses ds-join 1 '.*differ in tensors' "inputs with another residual" -i a -i bad
edit a bad 't["expert.idx"][2, 0] = 15'
refuses ds-expert 1 'layer 1: expert.idx of row 2 is not ascending in 0 to 15' "a choice that is not ascending" -l 1 -i bad
edit a bad 't["expert.idx"][2, 3] = 16'
refuses ds-expert 1 'layer 1: expert.idx of row 2 is not .*' "a choice out of range" -l 1 -i bad
edit a bad 't["expert.idx"][2, 0] = -1'
refuses ds-expert 1 'layer 1: expert.idx of row 2 is not .*' "a negative choice" -l 1 -i bad
edit a bad 't["expert.idx"] = t["expert.idx"][:, :3].copy()'
refuses ds-expert 1 "layer 1: tensor 'expert.idx' is .*" "a choice of too few" -l 1 -i bad
edit a bad 'del f.dtypes["expert.w"]; t["expert.w"] = t["expert.w"].astype("<i8")'
refuses ds-expert 1 "layer 1: tensor 'expert.w' is I64.*" "weights that are none" -l 1 -i bad
edit a bad 'del t["expert.acc"]'
refuses ds-expert 1 "layer 1: the frame has no tensor 'expert.acc'" "a sum that is missing" -l 1 -i bad
edit a bad 'del f.header["experts_done"]'
refuses ds-expert 1 'layer 1: expert.acc without experts_done' "a sum of nobody" -l 1 -i bad
edit a bad 't["expert.acc"][4, 4] = -2**63'
refuses ds-expert 1 'layer 1: expert.acc of row 4 is larger than . experts can make it' "a sum that cannot be" -l 1 -i bad
refuses ds-join 1 'expert layer 1: bad: expert.acc of row 4 .*' "a sum that cannot be, on an input" -i bad -i b
for done in 0-15,s 3-1 99 ''; do
	edit a bad "f.header['experts_done'] = '$done'"
	refuses ds-expert 1 'layer 1: experts.*' "experts done that cannot be: '$done'" -l 1 -i bad
done
edit a bad 'f.header["at"] = "route"'
fails_with 1 'layer 1: experts are done before' "a router in front of which experts were done" ds-route -l 1 -i bad -o /dev/null

py "$T/patch.py" "$G/v2" nan model.layers.1.mlp.experts.5.down_proj.weight model.layers.2.mlp.gate.weight:3
py "$T/golden.py" prompt "$G/v2" | ds-embed -m nan | ds-block -m nan -l 0 -o one
refuses ds-block 1 'layer 1: expert 5: contribution is not finite or is 2\^18 or more \(sequence 18446744073709551611 position [0-9]+\)' \
    "a weight that is not a number, its expert and row named," -m nan -i one
ds-block -m "$G/v2" -l 1 -i one | frame set model null | ds-attn -m nan -l 2 | ds-route -m nan -l 2 -o two
like "$(ds-dump -i two)" 'expert.w F32.* nan 210' "a score that is not a number is seen in the weights"
refuses ds-expert 1 'layer 2: expert 0: contribution is not finite .*' "its contribution" -m nan -l 2 -i two
py "$T/patch.py" "$G/v3-fp8-odd" nan0 model.layers.0.input_layernorm.weight
py "$T/golden.py" prompt "$G/v3-fp8-odd" | ds-embed -m nan0 | ds-attn -m nan0 -l 0 | ds-route -m nan0 -l 0 -o zero
like "$(ds-dump -i zero)" '  h F32 .* nan 13440' "a residual that is not a number travels on"
refuses ds-expert 1 'layer 0: MLP: contribution is not finite .* position 0\)' "what the next MLP makes of it" -m nan0 -l 0 -i zero
done_testing
