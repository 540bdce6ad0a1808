#!/bin/sh
# only: asan
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
is "$(jq '(.kv_lora_rank + .qk_rope_head_dim) * .num_hidden_layers | "\(. * 4) \(. * 2) \(. * 2)"' info)" \
    "$(jq '"\(.cache_bytes) \(.cache_bytes_bf16) \(.cache_bytes_gpu_bf16)"' info)" \
    "a position's cache: 4 bytes a number, 2 as bf16"
# grouped-query attention: its own shapes; a key and a value in the cache; tied embeddings once
for m in qwen2 qwen3-moe llama-linear; do
	ds-info -m "$G/$m" --json >info
	file=$G/$m/config.json
	is "$(jq -r '"\(.num_attention_heads) \(.num_key_value_heads) \(.kv_lora_rank)"' info)" \
	    "$(jq -r '"\(.num_attention_heads) \(.num_key_value_heads) null"' "$file")" \
	    "$m: its heads, and no latent"
	is "$(jq '2 * .num_key_value_heads * .head_dim * .num_hidden_layers | . * 4, . * 2' info)" \
	    "$(jq '.cache_bytes, .cache_bytes_gpu_bf16' info)" "$m: a position's cache"
	is "$(jq '[.layers[] | .attention, .router, .shared, .routed | .bytes] +
	    [.embedding.bytes, .head.bytes] +
	    [if .tie_word_embeddings then -.embedding.bytes else 0 end] | add' info)" \
	    "$(jq .total.bytes info)" "$m: the bytes by layer are all there are"
	printf 'a 2 8 20\n' >host
	ds-plan -m "$G/$m" -f report --context 1024 host >report
	is "$(awk '$1 == "a" { print $4 * 1048576 }' report)" \
	    "$(jq '.cache_bytes * 1024' info)" "$m: ds-plan counts the same cache"
	DS_CACHE_TYPE=bf16 ds-plan -m "$G/$m" -f report --context 1024 host >report
	is "$(awk '$1 == "a" { print $4 * ($5 == "KiB" ? 1024 : 1048576) }' report)" \
	    "$(jq '.cache_bytes_bf16 * 1024' info)" "$m: and that of bf16"
done
like "$(ds-info -m "$G/qwen3-moe-mixed")" '^attention .*2 key heads; windows of 33 in 5 layers' \
    "windows are told"
like "$(ds-info -m "$G/qwen3-moe-mixed")" '^layers +5: 4 dense, 1 with experts' "dense layers, too"
ds-info >text
for line in '^model +deepseek_v3, id ' '^experts +16 of 128, 4 chosen' '^quantization +FP8' 'kB of cache each \(640 B as bf16\)' '^F8_E4M3 .* 8\.0' '^0 ' '^1-3 '; do
	like "$(cat text)" "$line" "the text has a line like $line"
done
is "$(ds-info -v | grep -c '^[123] ')" 3 "-v has a line for each layer"
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

# an index beside a whole file
cp -r "$G/v3" stale
cp "$G/v3-plain/model.safetensors.index.json" stale
is "$(ds-info -m stale --json | jq -c '[.not_read, .files, .exact]')" '[["model.safetensors.index.json"],1,true]' \
    "model.safetensors is read, an index beside it is not"
like "$(ds-info -m stale)" '^not read +model.safetensors.index.json' "and that is said"
is "$(ds-info -m "$G/v3" --json | jq .not_read)" null "there is nothing to say without one"

# many files: time grows with their number, not with its square
mkdir many
cp "$M/config.json" many
shards() { # shards N: processor seconds that an index of N files takes
	py - "$1" "$M" <<'EOP'
import json, resource, subprocess, sys
from badmodels import read
n, m = int(sys.argv[1]), sys.argv[2]
h, _ = read(m + "/model.safetensors")
w = {k: "s%d.safetensors" % i for i, k in enumerate(h) if k != "__metadata__"}
w.update({"x%d" % i: "s%d.safetensors" % i for i in range(n)})
json.dump({"weight_map": w}, open("many/model.safetensors.index.json", "w"))
r = subprocess.run(["ds-info", "-m", "many", "--json"], stdout=open("many.json", "w"), stderr=subprocess.DEVNULL)
u = resource.getrusage(resource.RUSAGE_CHILDREN)
print(r.returncode, u.ru_utime)
EOP
}
set -- $(shards 100000)
is "$1 $(jq '.missing | length' many.json)" "1 100000" "100000 files that are missing are all named"
ok "and that takes seconds ($2 s)" py -c "assert $2 < 10"

# --- manifests ---
unset DS_MODEL

# swap FROM TO PYTHON: a checkpoint like FROM whose tensors' bytes are changed: data (a bytearray) and h, the header
swap() {
	mkdir "$2"
	for f in "$1"/*; do ln -s "$(realpath "$f")" "$2"; done
	rm "$2/model.safetensors"
	py - "$1" "$2" "$3" <<'EOP'
import sys
from badmodels import read, write
h, data = read(sys.argv[1] + "/model.safetensors")
data = bytearray(data)
at = lambda name: h[name]["data_offsets"]
exec(sys.argv[3])
write(sys.argv[2] + "/model.safetensors", h, bytes(data))
EOP
}

ds-info -m "$M" --manifest >sampled
ds-info -m "$M" --manifest --full >full
# the fingerprints, as ds-info(1) has them
py - "$M" sampled full >want 2>&1 <<'EOP'
import hashlib, sys
from badmodels import read
h, data = read(sys.argv[1] + "/model.safetensors")
h.pop("__metadata__", None)
for path in sys.argv[2:]:
    first, model, sample, *lines = open(path).read().splitlines()
    assert first == "dspipe-manifest 1", first
    out = []
    for name in sorted(h):
        b, e = h[name]["data_offsets"]
        t = data[b:e]
        if sample != "sample whole":
            n, size = map(int, sample.split()[1:])
            if len(t) > n * size:
                t = b"".join(t[i * (len(t) - size) // (n - 1):][:size] for i in range(n))
        out.append("%s %s [%s] %s" % (hashlib.sha256(t).hexdigest()[:32], h[name]["dtype"], ",".join(map(str, h[name]["shape"])), name))
    print("as described" if out == lines else "different", len(lines) == len(h))
EOP
is "$(cat want)" "as described True
as described True" "manifests are as ds-info(1) describes them, sampled and full"
is "$(sed -n 2p sampled)" "model $(ds-info -m "$M" --json | jq -r .id)" "with the model's id"
ok "a checkpoint is as its manifest says" ds-info -m "$M" --check sampled
ok "and as its full one" ds-info -m "$M" --check full
is "$(ds-info -m "$M" --manifest -t 1 | cmp - sampled && ds-info -m "$M" --manifest -t 7 | cmp - sampled)" "" "the threads do not matter"

e=model.layers.2.mlp.experts.5.up_proj.weight
swap "$M" other "for k in h:
    if k != '__metadata__':
        b, e = at(k)
        for i in range(b, e, 3): data[i] ^= 1"
swap "$M" one "b, e = at('$e')
for i in range(b, e): data[i] ^= 1"
swap "$M" scale "b, e = at('${e}_scale_inv'); data[e - 1] ^= 1"
swap "$M" last "b, e = at('$e'); data[e - 1] ^= 1"
swap "$M" middle "b, e = at('$e'); data[(b + e) // 2 + 700] ^= 1"
swap "$M" norm "b, e = at('model.norm.weight'); data[b + 100] ^= 1"
fails_with 1 "^ds-info: 'other': 501 of 501 tensors are not those of 'sampled'$" "other weights: all tensors differ" \
    ds-info -m other --check sampled
for c in "one $e" "scale ${e}_scale_inv" "last $e" "norm model.norm.weight"; do
	fails_with 1 "^ds-info: '${c% *}': 1 of 501 tensors are not those of 'sampled'$" "${c% *}: one tensor differs" \
	    ds-info -m "${c% *}" --check sampled
	is "$(cat .out)" "${c#* }" "... and is named"
done
ok "a byte between two samples is not noticed" ds-info -m middle --check sampled
fails_with 1 "1 of 501 tensors" "but by a full manifest" ds-info -m middle --check full
is "$(cat .out)" "$e" "... which names the tensor"
ok "-l leaves out other layers" ds-info -m one -l 1,3 --check sampled
fails_with 1 "1 of" "but not those that it names" ds-info -m one -l 2 --check sampled

# stages check what they map, and nothing else
ds-tokenize -m "$M" x >ids.dsf
ds-embed -m "$M" <ids.dsf >h.dsf
ds-block -m "$M" <h.dsf >head.dsf
stages="ds-embed ds-block ds-head ds-attn ds-route ds-expert"
for p in $stages; do
	case $p in
	ds-embed) in=ids.dsf ;;
	ds-head) in=head.dsf ;;
	*) in=h.dsf ;;
	esac
	ok "$p --manifest: the right weights" sh -c '"$1" -m "$2" --manifest sampled <"$3" >"$1.out"' - $p "$M" $in
	"$p" -m "$M" <$in >plain.out
	same $p.out plain.out "... change nothing"
	case $p in
	ds-embed) t='model.embed_tokens.weight' ;;
	ds-head) t='(model.norm|lm_head).weight' ;;
	*) t='model.layers.[01].[a-z_.]*' ;;
	esac
	more=' \(and [0-9]* of [0-9]* more\)'
	[ $p != ds-embed ] || more=
	fails_with 1 "^$p: 'other': tensor '$t' differs from the manifest: other weights$more: copy the model again$" "$p refuses other weights" \
	    sh -c '"$1" -m other --manifest sampled <"$2" >out' - $p $in
done
for c in "ds-block -l 2" "ds-block" "ds-expert -l 2 -e 5" "ds-expert -l 2"; do
	fails_with 1 "'one': tensor '$e' differs from the manifest: other weights: copy the model again$" "$c has the tensor that differs" \
	    sh -c '$1 -m one --manifest sampled <h.dsf >out' - "$c"
done
for c in "ds-block -l 0-1" "ds-block -l 3" "ds-expert -l 2 -e 0-4,6-15,s" "ds-attn" "ds-route" "ds-head"; do
	in=h.dsf; [ "$c" != ds-head ] || in=head.dsf
	ok "$c has not" sh -c '$1 -m one --manifest sampled <"$2" >out' - "$c" $in
done
fails_with 1 "tensor '${e}_scale_inv' differs" "scales count" sh -c 'ds-block -m scale --manifest sampled <h.dsf >out'
ok "an error frame tells the next program" sh -c 'ds-block -m one --manifest sampled <h.dsf 2>err | ds-dump 2>&1 | grep -q error'

# manifests that are wrong
fails_with 1 "^ds-block: '.*': the manifest is of model $(sed -n 's/^model //p' sampled), '.*/golden/v3' is [0-9a-f]{16}: give the program that made it \(ds-run or ds-info\) the same -m$" "another model's is refused" \
    ds-block -m "$G/v3" --manifest sampled
ds-info -m "$M" -l 0-1 --manifest >part.txt
ok "a part's manifest is enough for its layers" sh -c 'ds-block -m "$M" -l 0-1 --manifest part.txt <h.dsf >out'
fails_with 1 "the manifest has no tensor 'model.layers.2" "but not for others" sh -c 'ds-block -m "$M" --manifest part.txt <h.dsf >out'
sed "s/BF16 \(.*lm_head\)/F16 \1/" sampled >odd
fails_with 1 "tensor 'lm_head.weight' is BF16 \[1024,256\], the manifest has F16 \[1024,256\]" "another type is named" \
    sh -c 'ds-head -m "$M" --manifest odd <head.dsf >out'
# wrong SED MESSAGE
wrong() {
	sed "$1" sampled >odd
	fails_with 1 "^ds-block: '.*': manifest 'odd': $2" "refused: $1" ds-block -m "$M" --manifest odd
}
wrong '1s/1$/2/' "no manifest: the first line is not"
wrong '2s/model/id/' "line 2 is not"
wrong '3s/5/0/' "line 3 is not"
wrong '3s/256/x/' "line 3 is not"
wrong '3s/$/ 7/' "line 3 is not"
wrong '3d' "line 3 is not"
wrong '7s/^../zz/' "line 7: not a hash"
wrong '9s/ .*//' "line 9: not a hash"
wrong '9s/.* .* .* /- - -x /' "line 9: not a hash"
wrong '8p' "line 9: tensor '.*' appears twice"
wrong '1,$d' "no manifest"
head -c 3000 sampled >odd
fails_with 1 "manifest 'odd': its last line has no end" "refused: one that was cut" ds-block -m "$M" --manifest odd
printf '\0' >>odd
fails_with 1 "manifest 'odd': it has a NUL" "refused: no text" ds-block -m "$M" --manifest odd
fails_with 1 "manifest 'none':" "refused: none" ds-block -m "$M" --manifest none
fails_with 1 "cannot open" "a manifest of a folder without a file is refused" ds-info -m part --manifest
ok "but not of the layers that are there" ds-info -m part -l 0 --manifest
fails_with 2 "full is for --manifest" "--full alone is refused" ds-info -m "$M" --full
fails_with 2 "do not go together" "--manifest and --check are refused" ds-info -m "$M" --manifest --check sampled
done_testing
