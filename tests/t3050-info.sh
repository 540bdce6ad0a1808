#!/bin/sh
# also: asan
# ds-info: what it says of a checkpoint.
. "${0%/*}/lib.sh"
export DS_MODEL=$M

# counted here from the header: numbers, and what a token does not meet
py - >want <<'EOP'
import json, os, re
from badmodels import read
h, _ = read(os.environ["M"] + "/model.safetensors")
n = {k: v["shape"][0] * (v["shape"][1] if len(v["shape"]) > 1 else 1) for k, v in h.items() if k != "__metadata__" and
     "_scale_inv" not in k and not k.startswith("model.layers.4.")}
b = {k: v["data_offsets"][1] - v["data_offsets"][0] for k, v in h.items() if k != "__metadata__" and not k.startswith("model.layers.4.")}
routed = sum(v for k, v in n.items() if ".mlp.experts." in k)
print(sum(n.values()), sum(b.values()), sum(n.values()) - routed * 12 // 16 - n["model.embed_tokens.weight"] + 256)
EOP
ds-info --json >info
is "$(jq -r '"\(.total.parameters) \(.total.bytes) \(.active)"' info)" "$(cat want)" "parameters, bytes and those that a token meets"
is "$(jq '[.types[].bytes] | add' info)" "$(jq .total.bytes info)" "the bytes by dtype are all there are"
is "$(jq '[.layers[] | .attention, .router, .shared, .routed | .bytes] + [.embedding.bytes, .head.bytes] | add' info)" \
    "$(jq .total.bytes info)" "the bytes by layer are, too"
is "$(jq -r '"\(.model_type) \(.hidden_size) \(.n_routed_experts) \(.quantization) \(.layers | length)"' info)" \
    "deepseek_v3 256 16 fp8 4" "shapes"
is "$(jq -r .id info)" "$(ds-tokenize x | ds-embed | py -c 'import frame, sys; print(next(frame.read_frames(sys.stdin.buffer)).header["model"])')" \
    "the id is that in frames"
ds-info >text
for line in '^model +deepseek_v3, id ' '^experts +16 of 128, 4 chosen' '^quantization +FP8' '^F8_E4M3 .* 8\.0' '^0 ' '^1-3 '; do
	like "$(cat text)" "$line" "the text has a line like $line"
done
is "$(ds-info --json -l 1,3 | jq -c '[.layers[].layer]')" '[1,3]' "-l chooses layers"
fails_with 2 'layer' "a layer that there is not is refused" ds-info -l 4

# a file is missing
cp -r "$G/v3-plain" part
rm part/model-00002-of-00002.safetensors
fails_with 1 "'part' lacks 1 of 2 files" "a file that is missing is an error" ds-info -m part
like "$(cat .out)" '^missing +model-00002-of-00002.safetensors$' "and named"
is "$(ds-info -m part --json 2>/dev/null | jq -c '[.missing, .exact, .total.parameters]')" \
    "$(ds-info -m "$G/v3-plain" --json | jq -c '[["model-00002-of-00002.safetensors"], false, .total.parameters]')" \
    "the rest is told by config.json"
is "$(ds-info -m part -l 0 --json | jq -c .missing)" '[]' "a layer that lies in the other file misses nothing"
is "$(ds-info -m part -l 0,2 --json 2>/dev/null | jq -c .missing)" '["model-00002-of-00002.safetensors"]' "one that lies in this does"
fails_with 1 "cannot open" "no folder" ds-info -m nowhere
done_testing
