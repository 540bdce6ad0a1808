#!/bin/sh
# ds-block on the GPU: whole layers without a word between, few rows as graphs that are replayed; in f32 the frames are
# those of the CPU, byte for byte.
# also: asan leaks
# first: yes
. "${0%/*}/lib.sh"
. "$T/gpu.sh"

{
	frame prompt 7 0 3 $(seq 20 31)
	frame prompt 8 0 2 5 6 7 8 9
	frame end
} >prompts
pieces >pieces
for name in $all; do
	export DS_MODEL="$(model "$name")"
	ds-embed -i prompts | tee embedded | ds-block | tee want.block | ds-head -o want.head
	ok "$name: ds-block and ds-head run" pipe 'ds-block -d cuda -i embedded | tee got.block | ds-head -d cuda -o got.head'
	same want.block got.block "$name: ds-block leaves what the CPU does"
	same want.head got.head "$name: ds-head, too"
done

# generation
answer() {      # answer OPTIONS-OF-BLOCK OPTIONS-OF-HEAD: the tokens of the answer
	rm -f loop; mkfifo loop
	pipe "ds-embed -i asked -i loop | ds-block $1 | ds-head $2 | ds-sample -g -n 20 | tee loop | ds-dump -f ids" 2>err
}
case $all in *tiny-r1*)
	export DS_MODEL=$M
	ds-tokenize -c "What is 37 * 46?" >asked
	answer '' '' >want
	answer '-v -d cuda' '-d cuda' >got
	same want got "tiny-r1 answers with the same tokens"
	like "$(cat err)" 'ds-block: 20 batches, 1[0-9] of them replayed, of [12] graphs' "from graphs that are replayed"
	is "$(ds-run -d cuda -g -q -n 16 "2+2=?" 2>&1)" "$(ds-run -g -q -n 16 "2+2=?")" \
	    "ds-run -d cuda gives the same answer"
	like "$(ds-run -d cuda:0 --precision bf16 -x stage -vv -g -n 3 "2+2=?" 2>&1)" "cuda:0: weights" \
	    "its stages compute on the GPU"
	like "$(ds-run -d cuda --precision fp8 -g -q -n 3 "2+2=?" 2>&1)" "^[^:]*$|compute capability" "and in fp8" ;;
esac

# What follows has one model in either run.
once || done_testing

export DS_MODEL=$G/v3
ds-embed -i prompts -o embedded
ds-block -i embedded -o want
for cut in "-l 0 |-d cuda -l 1-9" "-d cuda -l 0-1 |-l 2-9" "-l 0 -d cuda |-l 1 |-l 2-9 -d cuda"; do
	last=$(($(jq .num_hidden_layers "$DS_MODEL/config.json") - 1))
	line=$(echo "ds-block $cut" | sed "s/|/| ds-block /g; s/-9/-$last/g")
	ok "half the layers on each: $line" pipe "<embedded $line >got"
	same want got "... the same frames"
done
for rows in 3 64; do
	ds-embed -B $rows -i prompts | tee in | ds-block -o want.rows
	ds-block -d cuda -i in -o got
	same want.rows got "batches of $rows rows"
done
ds-block --tap all -i embedded -o want.taps
limited ds-block -d cuda --tap all -i embedded -o got 2>err || report 1 "ds-block with taps" err
same want.taps got "with all taps"
ds-embed -i pieces | tee in | ds-block --tap expert.out,route.norm -o want.taps
limited ds-block -d cuda -v --tap expert.out,route.norm -i in -o got 2>err
same want.taps got "taps of tokens one by one read what was computed"
like "$(cat err)" ' 0 batches, 0 of them replayed' "where graphs are not used"
is "$(ds-embed --trace -i prompts | ds-block -d cuda | frame show | grep -o '"ds-block"' | wc -l)" \
    "$(ds-embed --trace -i prompts | ds-block | frame show | grep -o '"ds-block"' | wc -l)" "a trace has an entry for each layer"

# what the cache must keep track of: drafts taken back, forks, sequences let go, contexts that grow over pages
D=$(jq .hidden_size "$DS_MODEL/config.json")
rows() {        # rows DESC WORD...: the same on both
	r_desc=$1; shift
	py "$T/rows.py" d=$D "$@" end >in
	ds-block -i in -o want 2>want.err
	limited ds-block -d cuda -i in -o got 2>got.err
	is "$(cat got.err)" "$(cat want.err)" "$r_desc: the same is said"
	same want got "$r_desc"
}
rows "a draft taken back" 7:0+9 7:9+4:1 7:9+1 7:10+1 7:11+1
rows "within a frame" 7:0+5:1,7:2+6
rows "a fork" 7:0+70 fork=7,8,66 8:66+1,7:70+1 8:67+1,7:71+1 8:68+1,7:72+1
rows "a sequence that was let go" 7:0+3:1 free=7 7:0+3
rows "pages that grow" 7:0+62 7:62+1 7:63+1 7:64+1 7:65+1 7:66+1
rows "sequences in turn" 7:0+2 7:2+1 7:3+1 9:0+2 9:2+1 7:4+1 9:3+1
rows "a batch that moves what is in the GPU" 7:0+1 7:1+1 7:2+1 9:0+40 7:3+1 7:4+1 7:5+1
rows "rows of none" 7:0+0 7:0+3,9:0+0 9:0+1
rows "a cache that holds fewer" 7:0+3 7:4+1

# refusals
py "$T/patch.py" "$G/v2" nan model.layers.1.mlp.experts.5.down_proj.weight
py "$T/golden.py" prompt "$G/v2" | ds-embed -m nan -o in
for line in 'ds-block -m nan' 'ds-block -m nan --tap route.norm'; do
	$line -i in -o /dev/null 2>want
	limited $line -d cuda -i in -o /dev/null 2>got
	is "$(cat got)" "$(cat want)" "a contribution that is refused: $line: the same line"
	like "$(cat want)" '^ds-block: layer 1: expert 5: contribution' "which names it"
done

# bf16: the bits do not depend on how the work is cut
export DS_MODEL=$G/v3 DS_PRECISION=bf16
{ frame prompt 7 0 2 20 21 22 / 8 0 3 5 6; frame end; } >prompts
ds-embed -i prompts | tee embedded | ds-block -d cuda | ds-head -d cuda | frame tensors logits | sort >want
for rows in 1 4; do
	is "$(ds-embed -B $rows -i prompts | ds-block -d cuda | ds-head -d cuda | frame tensors logits | sort | cmp - want 2>&1)" "" \
	    "bf16: batches of $rows rows have the same bits"
done
is "$(ds-block -d cuda -l 0 -i embedded | ds-attn -d cuda -l 1 | ds-route -d cuda -l 1 | ds-expert -d cuda -l 1 | ds-block -d cuda |
    ds-head -d cuda | frame tensors logits | sort | cmp - want 2>&1)" "" "bf16: so has the work in other processes"
done_testing
