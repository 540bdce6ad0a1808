#!/bin/sh
# only: asan leaks
# Tokenizers and chat templates of GGUF files and of tiktoken.model through the programs.
. "${0%/*}/lib.sh"

gguf() { py "$T/gguf_make.py" --pre deepseek-v3 "$@"; }
chat() { ds-tokenize -m "$@" | ds-detokenize -m "$1" --special -0 | tr '\0' '|'; }
ids() { ds-tokenize -m "$@" | ds-dump -f ids; }
ok "a GGUF file of tiny-r1" gguf "$M" m.gguf
is "$(ids m.gguf "Hi there 12" "" "日本 <think>")" "$(ids "$M" "Hi there 12" "" "日本 <think>")" \
    "its ids are those of the folder"
cat >talk.json <<'E2'
[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
 {"role": "assistant", "content": "<think>x</think>Hello"},
 {"role": "user", "content": "What is 3 + 4?"}]
E2
is "$(DS_PYTHON=/nonexistent ids m.gguf --messages talk.json)" "$(ids "$M" --messages talk.json)" \
    "also those of its chat template"
is "$(ids m.gguf -b Hi)" "$(ids "$M" -b Hi)" "-b: without the beginning"
is "$(ds-tokenize -m "$M" -c Hi | ds-detokenize -m m.gguf -c -q)" \
    "$(ds-tokenize -m "$M" -c Hi | ds-detokenize -m "$M" -c -q)" \
    "ds-detokenize reads it"
gguf --set 'tokenizer.chat_template="{{ messages[0].content }}{{ eos_token }}"' "$M" own.gguf
is "$(chat own.gguf -c Hi)" "Hi<｜end▁of▁sentence｜>|" \
    "a template of its own, with a token of its metadata"
gguf --set 'tokenizer.chat_template.tool_use="{{ tools | length }} tools"' "$M" tools.gguf
echo '{"messages": [{"role": "user", "content": "x"}], "tools": [{}, {}]}' >tools.json
is "$(chat tools.gguf --messages tools.json)" \
    "2 tools|" \
    "and one for tools"
gguf --set tokenizer.chat_template=null "$M" none.gguf
fails_with 1 "'none.gguf' has no chat template: give one with --template FILE" \
    "a file without a template" ds-tokenize -m none.gguf -c -o out Hi
gguf --set tokenizer.ggml.bos_token_id=null "$M" nobos.gguf
fails_with 1 "'nobos.gguf': key 'tokenizer.ggml.bos_token_id' is missing" \
    "BOS is to be added and is not there" ds-tokenize -m nobos.gguf -o out Hi
gguf --set tokenizer.ggml.token_type=null "$M" types.gguf
fails_with 1 "'types.gguf': key 'tokenizer.ggml.token_type' is missing" \
    "without types no token is special" ds-tokenize -m types.gguf -o out Hi
gguf --pre llama4 "$M" pre.gguf
fails_with 1 "'pre.gguf': tokenizer.ggml.pre is 'llama4', an unknown pre-tokenizer" \
    "an unknown pre-tokenizer" ds-tokenize -m pre.gguf -o out Hi
fails_with 1 "'pre.gguf': tokenizer.ggml.pre is 'llama4'" \
    "also of ds-detokenize" ds-detokenize -m pre.gguf </dev/null
gguf --set 'tokenizer.ggml.model="llama"' "$M" spm.gguf
fails_with 1 "'spm.gguf': tokenizer.ggml.model is 'llama', which is not supported: only gpt2 is" \
    "a tokenizer of another kind" \
    ds-tokenize -m spm.gguf -o out Hi

# --- tiktoken.model ---
mkdir rank
py - <<'EOP'
import base64
tokens = [bytes([b]) for b in range(256)] + [b"ab", b"bc", b"abc", b"cd"]
f = open("rank/tiktoken.model", "w")
for i, t in enumerate(tokens):
    print(base64.b64encode(t).decode(), i, file=f)
EOP
settings() { printf '{%s}' "$1" >rank/tokenizer_config.json; }
class=moonshotai/Kimi-K2-Instruct--tokenization_kimi.TikTokenTokenizer
kimi="\"auto_map\": {\"AutoTokenizer\": [\"$class\", null]}"
end='"added_tokens_decoder": {"260": {"content": "[END]", "special": true}}'
settings "$kimi, $end"
is "$(ids rank "abcd xbcd" "[END]<|reserved_token_262|>")" "258 100 32 120 257 100
260 262" "pairs merge by rank, and special tokens have names"
settings "$end"
fails_with 1 "the pattern of its tokenizer class '' is unknown: give the key pre_tokenizer" \
    "without a class the pattern is unknown" ds-tokenize -m rank -o out Hi
settings '"auto_map": {"AutoTokenizer": ["a.B", null]}'
fails_with 1 "class 'a.B' is unknown" "or with another" ds-tokenize -m rank -o out Hi
settings '"pre_tokenizer": "kimi-k3"'
fails_with 1 "pre_tokenizer is 'kimi-k3', an unknown name" \
    "an unknown name" ds-tokenize -m rank -o out Hi
settings '"pre_tokenizer": "[a-z]|."'
is "$(ids rank "abc")" "97 98 99" "a regular expression of one's own"
settings '"pre_tokenizer": "gpt-2"'
is "$(ids rank "abc")" "258" "or a name"
rm rank/tokenizer_config.json
fails_with 1 "'rank' has no tokenizer_config.json" \
    "it says what the ranks leave out" ds-tokenize -m rank -o out Hi
settings "$kimi"
bad() {         # bad REGEX LINE
	printf '%s\n' "$2" >rank/tiktoken.model
	fails_with 1 "'rank/tiktoken.model': $1" "refused: $2" ds-tokenize -m rank -o out Hi
}
bad "line 1 is not a token in base64 and its rank" 'YQ=='
bad "line 1 is not a token in base64 and its rank" 'Y!== 0'
bad "line 1 is not a token in base64 and its rank" 'YQ== -1'
bad "line 1 is not a token in base64 and its rank" ' 1'
bad "line 2: 'b' has the id 0 of another token" 'YQ== 0
Yg== 0'
bad "line 2: the token appears twice|line 2: .*" 'YQ== 0
YQ== 1'
bad "line 1: the rank is above" 'YQ== 99999999'
bad "it has no token of rank 1" 'YQ== 0
Yg== 2'
bad "it has no tokens" ''
echo 'YQ== 0' >rank/tiktoken.model
settings "$kimi, $end"
fails_with 1 "added_tokens_decoder: token 260 is not one of the 256 after the last rank, 0" \
    "ranks that were cut at a line" ds-tokenize -m rank -o out Hi
done_testing
