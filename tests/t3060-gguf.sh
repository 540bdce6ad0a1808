#!/bin/sh
# only: asan
# GGUF files: the bits of the folder that each was made from, at every tap; parts; what tools say.
. "${0%/*}/lib.sh"
make_gguf() { py "$T/gguf_make.py" "$@"; }

# taps MODEL OUT: all of it, of two sequences
taps() {
	pipe 'ds-embed -m "$1" <prompt | ds-block -m "$1" --tap all |
	    ds-head -m "$1" --tap all >"$2"' taps "$1" "$2"
}

# bits NAME FOLDER [OPTION...]: a file made from the folder with these options has its bits
bits() {
	name=$1 folder=$2
	shift 2
	make_gguf "$@" "$folder" "$name.gguf"
	frame prompt 1 0 3 $(seq 3 72) / 2 0 3 9 8 7 6 5 >prompt
	frame end >>prompt
	taps "$folder" "$name.want"
	taps "$PWD/$name.gguf" "$name.got"
	printf '%s\tsame\t%s\t%s\n' "$name: the bits of the folder" "$name.want" "$name.got" >>list
}
# values NAME FOLDER OPTION...: the same of a folder with the file's values (no FP8)
values() {
	name=$1 from=$2
	shift 2
	make_gguf "$@" --folder "$name.folder" "$from" "$name.gguf"
	bits "$name" "$PWD/$name.folder" "$@"
}

: >list
for m in llama llama-long llama-linear qwen2 qwen3 qwen3-moe; do
	bits $m "$G/$m"
done
bits untyped "$G/llama-linear" --set llama.rope.scaling.type=null
bits old "$G/v2" --kv-b whole --experts each --kv-heads all
bits v2-lite "$G/v2-lite"
values v3 "$G/v3" --type f32
values tiny-f16 "$M" --type f16
compared "GGUF files"

# --- parts ---
make_gguf --parts 3 "$G/llama" parts
first=parts-00001-of-00003.gguf
taps "$PWD/$first" parts.got
printf 'three parts: the same bits\tsame\tllama.want\tparts.got\n' >list
compared "parts"
id() { ds-info --json -m "$1" | sed -n 's/.*"id":[^"]*"\([0-9a-f]*\)".*/\1/p'; }
is "$(id $first)" "$(id llama.gguf)" "their id is that of the whole file"
make_gguf --type f32 "$G/llama" other.gguf
ok "another type is another id" test "$(id llama.gguf)" != "$(id other.gguf)"
py - "$G/llama/config.json" <<'X'
import json, os, sys
c = json.load(open(sys.argv[1]))
c["rope_scaling"]["factor"] *= 2
os.mkdir("scaled")
json.dump(c, open("scaled/config.json", "w"))
for f in os.listdir(os.path.dirname(sys.argv[1])):
    if f.startswith("model"):
        os.symlink(os.path.join(os.path.dirname(sys.argv[1]), f), "scaled/" + f)
X
make_gguf --set 'general.name="llama"' scaled other-rope.gguf
make_gguf --set 'general.name="llama"' "$G/llama" same-rope.gguf
ok "so is another scale of rope" test "$(id same-rope.gguf)" != "$(id other-rope.gguf)"

# --- tools ---
like "$(ds-info -m llama.gguf)" "^BF16 .* 16.000$" "ds-info: types"
like "$(ds-info -m old.gguf)" "^attention .*latent" "ds-info: shapes"
like "$(ds-info -m old.gguf)" "^  deepseek2.attention.kv_lora_rank 48$" "and metadata"
is "$(ds-info --json -m llama.gguf | jq .gguf.types.BF16.tensors)" 23 \
    "ds-info --json: tensors of a type"
ds-info --manifest -m $first >manifest
ok "ds-info --check: the parts are those of the manifest" ds-info --check manifest -m $first
fails_with 1 "manifest is of model|tensors are not those" "another file is not" \
    ds-info --check manifest -m other.gguf
printf 'a 2 1 10\nb 2 1 10\n' >hosts
ds-plan -m "$PWD/tiny-f16.gguf" -f sh --sample -g --context 64 hosts >two.sh 2>err
is "$(limited sh two.sh "12+30=?")" "$(ds-run -m tiny-f16.folder -g "12+30=?")" \
    "ds-plan: a script for two hosts runs the file"
is "$(ds-run -m "$PWD/tiny-f16.gguf" "12+34=")" "$(ds-run -m tiny-f16.folder "12+34=")" \
    "ds-run: the text of the folder"
mkdir folder
cp llama.gguf folder/
fails_with 1 "'folder' is a folder without config.json: give the GGUF file, 'folder/llama.gguf'" \
    "a folder with only a GGUF file: the message says what to give" ds-info -m folder
fails_with 1 "'folder' is a folder without tokenizer.json: give the GGUF file" \
    "so does ds-tokenize" ds-tokenize -m folder hi
cp "$G/llama/config.json" folder/
fails_with 1 "'folder' is a folder without model.safetensors: give the GGUF file" \
    "and for one with a config.json, too" ds-block -m folder
fails_with 1 "cannot open 'nowhere.gguf': No such file" "a file that does not exist" \
    ds-info -m nowhere.gguf
make_gguf --set 'general.architecture="gemma3"' "$G/qwen2" gemma.gguf
fails_with 1 "'gemma3', which is not supported .known: llama" "another architecture" \
    ds-info -m gemma.gguf
fails_with 1 "kv_b in two halves.*not supported on a GPU: use -d cpu" \
    "a GPU refuses what it does not read" \
    env DS_CUDA="$R/build/tests/libdspipe-cuda.so" ds-attn -m v2-lite.gguf -d cuda
done_testing
