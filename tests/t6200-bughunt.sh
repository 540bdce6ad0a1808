#!/bin/sh
# Bugs hunted down: one number of a checkpoint's copy is wrong, and ds-diff says whose it is without being told.
. "${0%/*}/lib.sh"

prompt="Compute 806 - 517."
hunt() {        # hunt MODEL DIR: a kept run, a process for each step
	ds-run -m "$1" -x stage -g -n 1 --keep "$2" "$prompt" >out
}
ok "the good run" hunt "$M" good
like "$(ds-diff good good)" "^no difference in [1-9]" "is like itself"

# used LAYER: the expert that most positions go to
used() {
	ds-stat -m "$M" --experts -i good | awk -v l="$1" '$1 == "expert" && $2 == l && $4 > n { n = $4; e = $3 } END { print e }'
}
e1=$(used 1) e2=$(used 2) e3=$(used 3)
token=$(ds-dump -f ids <good/000-tokenize.dsf | tr ' ' '\n' | sed -n 7p)
answer=$(ds-dump -f ids <good/015-sample.dsf | tail -1)
like "$e1 $e2 $e3 $token $answer" '^[0-9]+ [0-9]+ [0-9]+ [0-9]+ [0-9]+$' "three experts and two tokens are in use: $e1 $e2 $e3, $token $answer"

# the tensor, a row of it or -, and the first program whose output it changes
cat >bugs <<E2
embed_tokens.weight                                   $token embed -
layers.0.input_layernorm.weight                       -      attn 0
layers.3.input_layernorm.weight                       -      attn 3
layers.1.self_attn.q_a_proj.weight                    -      attn 1
layers.2.self_attn.q_a_layernorm.weight               -      attn 2
layers.3.self_attn.q_b_proj.weight                    -      attn 3
layers.0.self_attn.q_b_proj.weight_scale_inv          -      attn 0
layers.1.self_attn.kv_a_proj_with_mqa.weight          -      attn 1
layers.2.self_attn.kv_a_proj_with_mqa.weight          70     attn 2
layers.3.self_attn.kv_a_layernorm.weight              -      attn 3
layers.0.self_attn.kv_b_proj.weight                   3      attn 0
layers.2.self_attn.kv_b_proj.weight                   40     attn 2
layers.1.self_attn.kv_b_proj.weight_scale_inv         -      attn 1
layers.1.self_attn.o_proj.weight                      -      attn 1
layers.0.post_attention_layernorm.weight              -      expert 0
layers.0.mlp.gate_proj.weight                         -      expert 0
layers.0.mlp.up_proj.weight                           -      expert 0
layers.0.mlp.down_proj.weight_scale_inv               -      expert 0
layers.2.post_attention_layernorm.weight              -      route 2
layers.1.mlp.gate.weight                              $e1    route 1
layers.3.mlp.gate.weight                              $e3    route 3
layers.3.mlp.gate.e_score_correction_bias             -      route 3
layers.1.mlp.experts.$e1.gate_proj.weight             -      expert 1
layers.2.mlp.experts.$e2.up_proj.weight               -      expert 2
layers.3.mlp.experts.$e3.down_proj.weight             -      expert 3
layers.3.mlp.experts.$e3.up_proj.weight_scale_inv     -      expert 3
layers.2.mlp.shared_experts.down_proj.weight          -      expert 2
norm.weight                                           -      head -
lm_head.weight                                        $answer head -
E2
while read -r tensor row stage layer; do
	case $tensor in lm_head.*) ;; *) tensor=model.$tensor ;; esac
	[ "$row" != - ] || row=
	rm -rf model bad
	py "$R/examples/cookbook/corrupt.py" "$M" model "$tensor" $row >said && hunt model bad
	ds-diff --json good bad >report
	is "$? $(jq -r '.first | "\(.stage) \(.layer // "-")"' report)" "1 $stage $layer" "$tensor${row:+ row $row}: $stage $layer"
done <bugs

# what nobody reads is no bug
rm -rf model bad
py "$R/examples/cookbook/corrupt.py" "$M" model model.layers.4.input_layernorm.weight >said && hunt model bad
ok "a wrong number that is not used makes no difference" ds-diff good bad
rm -rf model bad
py "$R/examples/cookbook/corrupt.py" "$M" model model.embed_tokens.weight 1000 >said && hunt model bad
ok "nor does another token's embedding" ds-diff good bad
done_testing
