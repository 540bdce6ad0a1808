#!/bin/sh
# only: asan kernels
# ds-quant and GGUF files: what it writes is what llama.cpp's converter writes, and what it makes of
# GGUF files has the same weights.
. "${0%/*}/lib.sh"

# every family, with q and k in llama.cpp's order, stacks of experts, and kv_b in two halves
for m in llama qwen2 qwen3 qwen3-moe v2 v2-lite v3 v3-plain; do
	ok "$m: a GGUF of BF16 is made" ds-quant -f gguf-bf16 --head -m "$G/$m" $m.gguf
	py "$T/gguf_make.py" "$G/$m" want.gguf
	ok "$m: the tensors are those of another converter" py "$T/gguf_read.py" same $m.gguf \
	    want.gguf -
	ds-quant -f gguf-q8_0 --head -m "$G/$m" q8.gguf
	ok "$m: Q8_0 is rounded as ggml rounds" py "$T/gguf_read.py" q8_0 q8.gguf "$G/$m"
	rm q8.gguf want.gguf
done
py "$T/gguf_make.py" "$G/llama" want.gguf
ok "the metadata are those of another converter, too" py "$T/gguf_read.py" same llama.gguf \
    want.gguf -general.name -general.type

# and back: the folder has the weights of the one that the GGUF was made of
for m in llama qwen3-moe v3; do
	ds-quant -f bf16 --head -m "$G/$m" $m.want && ds-quant -f bf16 --head -m $m.gguf $m.have
	py - $m <<'EOP' >why 2>&1
import sys, gguf_make
a, b = (gguf_make.tensors(sys.argv[1] + end) for end in (".want", ".have"))
mtp = "model.layers.%d." % gguf_make.load(sys.argv[1] + ".want", "config.json")["num_hidden_layers"]
a = {n: w for n, w in a.items() if not n.startswith(mtp)}
assert a.keys() == b.keys(), sorted(a.keys() ^ b.keys())[:3]
assert all((a[n] == b[n]).all() for n in a), [n for n in a if not (a[n] == b[n]).all()][:3]
EOP
	report $? "$m: a folder, its GGUF and a folder of that have the same weights" why
done

# attention_factor of yarn; the biases are left out
mkdir yarn
sed '/attention_bias/s/true/false/' "$G/qwen3-yarn/config.json" >yarn/config.json
cp "$G/qwen3-yarn/model.safetensors" yarn/
ds-quant -f gguf-bf16 --head -m yarn yarn.gguf
{ frame prompt 1 0 3 $(seq 3 72) && frame end; } >yarn.prompt
bits() {
	ds-embed -m "$1" <yarn.prompt | ds-block -m "$1" | ds-head -m "$1" | ds-hash | grep -v model
}
is "$(bits yarn.gguf)" "$(bits yarn)" "a factor of attention comes back as it was"

# tiny-r1, which has a tokenizer, a chat template and FP8
ds-quant -f gguf-q8_0 -m "$M" r1.gguf
ds-quant -f f32 --head -m r1.gguf r1.f32 2>err
report $? "a GGUF becomes a folder" err
is "$(ls r1.f32 | tr '\n' ' ')" \
    "config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json " \
    "which has what the metadata say"
is "$(ds-info --json -m r1.f32 | jq -S 'del(.id, .model, .files, .bytes)' | grep -c kv_b_split)" 0 \
    "kv_b is whole in it"
answer() {
	ds-run -m "$1" -c -g -n 400 "What is 17 * 23?" | tail -c 400
}
like "$(answer r1.gguf)" 391 "a GGUF answers"
is "$(answer r1.gguf)" "$(answer r1.f32)" "so does the folder that is made of it"
hashes() {
	ds-tokenize -m "$1" -c "What is 17 * 23?" | ds-embed -m "$1" | ds-block -m "$1" |
	    ds-head -m "$1" | ds-hash | grep -v model
}
is "$(hashes r1.gguf)" "$(hashes r1.f32)" "with the same bits"
ds-quant -f gguf-q8_0 -m r1.gguf again.gguf
ok "a GGUF of a GGUF is the same" py "$T/gguf_read.py" same r1.gguf again.gguf
ds-quant -f gguf-q8_0 -m "$M" --report >report
is "$(awk 'END { print ($1 < 0.0055), $4 }' report)" "1 184" \
    "--report alone counts the matrices and their error"

# what cannot be
fails_with 2 "'r1.gguf' exists" "a file that exists is refused" \
    ds-quant -f gguf-bf16 -m "$M" r1.gguf
ln -s nowhere link.gguf
fails_with 2 "'link.gguf' exists" "and so is a link to nothing" \
    ds-quant -f gguf-bf16 -m "$M" link.gguf
fails_with 2 "would be a folder" "a folder is not called .gguf" ds-quant -f f32 -m "$M" no.gguf
fails_with 2 "no experts alone" "experts alone are refused" \
    ds-quant -f gguf-bf16 --experts -m "$M" out.gguf
fails_with 2 "no key for sliding windows" "windows have no key" \
    ds-quant -f gguf-bf16 -m "$G/qwen2-window" out.gguf
fails_with 2 "no key for a bias of o_proj" "nor has qwen3 a bias of o_proj" \
    ds-quant -f gguf-bf16 -m "$G/qwen3-yarn" out.gguf
mkdir scaled
ln -s "$G/qwen3/model.safetensors" scaled
py -c 'import json, os
c = json.load(open(os.environ["G"] + "/qwen3/config.json"))
c["rope_scaling"] = {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
                     "high_freq_factor": 4, "original_max_position_embeddings": 16}
json.dump(c, open("scaled/config.json", "w"))'
fails_with 2 "no key for rope_type llama3" "nor the scaling of llama3" \
    ds-quant -f gguf-bf16 -m scaled out.gguf
rm scaled/*
ln -s "$G"/llama/model* scaled
sed 's/"low_freq_factor": 1.0/"low_freq_factor": 2.0/' "$G/llama/config.json" >scaled/config.json
fails_with 2 "no key for low_freq_factor and high_freq_factor other than 1 and 4" \
    "llama3 scaling with other bounds" ds-quant -f gguf-bf16 -m scaled out.gguf
fails_with 3 "out.gguf': cannot write" "a disk that is full is an error" \
    sh -c 'ulimit -f 1000; exec ds-quant -f gguf-bf16 -m "$M" out.gguf'
fails_with 3 "cannot create 'a/out.gguf.part'" "a folder that is not there is an error" \
    ds-quant -f gguf-bf16 -m "$M" a/out.gguf
is "$(ls -d out* 2>/dev/null)" "" "nothing is left behind"
done_testing
