#!/bin/sh
# The promise for GGUF files: one of each family of storage, whose matrices have all block types in
# turn, with the bits of the plain C however the work is cut, also in i8, and those of the same
# numbers as F32.
. "${0%/*}/lib.sh"
base='"hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 4, "vocab_size": 97,
    "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000, "tie_word_embeddings": false,
    "max_position_embeddings": 512'
llama='"model_type": "llama", "num_key_value_heads": 2, "num_hidden_layers": 3'
moe='"model_type": "qwen3_moe", "num_key_value_heads": 2, "num_hidden_layers": 2, "head_dim": 64,
    "moe_intermediate_size": 256, "num_experts": 4, "num_experts_per_tok": 2,
    "norm_topk_prob": true'
mla='"model_type": "deepseek_v3", "num_hidden_layers": 2, "q_lora_rank": 256, "kv_lora_rank": 256,
    "qk_nope_head_dim": 64, "qk_rope_head_dim": 16, "v_head_dim": 64, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "n_shared_experts": 1, "moe_intermediate_size": 256,
    "first_k_dense_replace": 0, "n_group": 1, "topk_group": 1, "topk_method": "noaux_tc",
    "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 1'

# line MODEL INPUT [THREADS]: the logits
line() {
	pipe "ds-embed -m $1 <$2 | ds-block -m $1 -t ${3-1} | ds-head -m $1 -t ${3-1}"
}
# apart MODEL LAYERS INPUT: a process for each stage of each layer
apart() {
	cut="ds-embed -m $1 <$3"
	for l in $(seq 0 $(($2 - 1))); do
		cut="$cut | ds-attn -m $1 -l $l | ds-route -m $1 -l $l | ds-expert -m $1 -l $l"
	done
	pipe "$cut | ds-head -m $1"
}
for m in llama moe mla; do
	mkdir $m && (cd $m && eval "printf '{ %s, %s }' \"\$base\" \"\$$m\"" >shape.json)
	ds-bench --shape $m/shape.json --weights f32 --write $m/f32
	py "$T/gguf_mixed.py" $m/f32 $m/q.gguf >$m/types
	(cd $m && py "$T/bits.py" prompts f32 >counts)
	read -r layers _ <$m/counts
	q=$m/q.gguf
	DS_KERNELS=ref line $q $m/batch >$m/want
	DS_PRECISION=i8 DS_KERNELS=ref line $q $m/batch >$m/want.i8
	for k in $(sets | cut -d' ' -f2-); do
		DS_KERNELS=$k line $q $m/batch >$m/$k
		DS_KERNELS=$k line $q $m/pieces 2 >$m/$k.pieces
		printf '%s\t' "$m, $k: the same bits as plain C" same $m/want
		echo $m/$k
		printf '%s\t' "$m, $k: in small frames, on 2 threads" same $m/want
		echo $m/$k.pieces
		DS_PRECISION=i8 DS_KERNELS=$k line $q $m/pieces 2 >$m/$k.i8
		printf '%s\t' "$m, $k: and in i8" same $m/want.i8
		echo $m/$k.i8
	done >list
	for i in 0 1 2 3 4; do
		line $q $m/alone.$i >$m/one.$i
	done
	apart $q "$layers" $m/batch >$m/apart
	DS_PRECISION=i8 apart $q "$layers" $m/batch >$m/apart.i8
	ds-quant -f f32 --head -m $q $m/same 2>err || report 1 "$m: as F32" err
	line $m/same $m/batch >$m/f32.out
	{
		printf '%s\t' "$m: each sequence alone" same $m/want $m/one.0 $m/one.1 $m/one.2
		printf '%s\t%s\n' $m/one.3 $m/one.4
		printf '%s\t' "$m: a process for each stage" same $m/want
		echo $m/apart
		printf '%s\t' "$m: and in i8" same $m/want.i8
		echo $m/apart.i8
	} >>list
	compared "$m"
	is "$(ds-hash <$m/f32.out | grep -v model)" "$(ds-hash <$m/want | grep -v model)" \
	    "$m: the same numbers as F32 give the same bits"
	like "$(ds-hash <$m/want)" logits "$m: logits were compared"
	ds-diff $m/want $m/want.i8 >differ
	is "$?" 1 "$m: those of i8 are others"
done
is "$(sort -u llama/types moe/types mla/types | wc -l)" 18 "all types were in use"
done_testing
