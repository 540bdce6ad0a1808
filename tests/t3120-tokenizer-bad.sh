#!/bin/sh
# only: asan leaks
# A tokenizer.json that is broken, or wants what there is not, is refused with the key in the message.
. "${0%/*}/lib.sh"

mkdir bad
cat >change.py <<'EOP'
# apply a line of Python to the tokenizer t of tiny-r1 (m its model, v its vocabulary, p its pre-tokenizers, a its added tokens)
import json, sys
t = json.load(open(sys.argv[1] + "/tokenizer.json"))
m, v, p, a = t["model"], t["model"]["vocab"], t["pre_tokenizer"]["pretokenizers"], t["added_tokens"]
exec(sys.argv[2])
json.dump(t, open("bad/tokenizer.json", "w"))
EOP
# refused REGEX CHANGE
refused() {
	py change.py "$M" "$2" || exit 2
	fails_with 1 "^ds-tokenize: 'bad/tokenizer.json': .*$1" "refused: $2" ds-tokenize -m bad -b -o out "Hi there 12"
}
# taken CHANGE IDS: it makes these ids, the same as before if none are given
taken() {
	py change.py "$M" "$1" || exit 2
	is "$(ds-tokenize -m bad -b "Hi there 12" | ds-dump -f ids | tr '\n' ' ')" "${2-$was}" "taken: $1"
}
was=$(ds-tokenize -m "$M" -b "Hi there 12" | ds-dump -f ids | tr '\n' ' ')

refused "model is missing" 'del t["model"]'
refused "model: type is 'Unigram'" 'm["type"] = "Unigram"'
refused "model: dropout is 0.1" 'm["dropout"] = 0.1'
refused "model: unk_token is '<unk>'" 'm["unk_token"] = "<unk>"'
refused "model: continuing_subword_prefix is '##'" 'm["continuing_subword_prefix"] = "##"'
refused "model: end_of_word_suffix is '</w>'" 'm["end_of_word_suffix"] = "</w>"'
refused "model: byte_fallback is true" 'm["byte_fallback"] = True'
refused "model: ignore_merges is 1" 'm["ignore_merges"] = 1'
refused "vocab is missing" 'del m["vocab"]'
refused "vocab is an array" 'm["vocab"] = []'
refused "model: merges is missing" 'del m["merges"]'
refused "vocab: 'a' has no id" 'v["a"] = "x"'
refused "vocab: 'a' has no id" 'v["a"] = -1'
refused "vocab: 'a' has no id" 'v["a"] = 0.5'
refused "vocab: 'a' has no id" 'v["a"] = 1 << 24'
refused "vocab: 'b' has the id 67 of another token" 'v["b"] = v["a"]'
refused "vocab: '' is empty" 'v[""] = 5000'
refused "has the id 9, and 0 as an added token" 'v[a[0]["content"]] = 9'
refused "merges: merge 0: 'r' and 'r'" 'del v["rr"]'
refused "merges: merge 0 is not two" 'm["merges"][0] = "rr"'
refused "merges: merge 0 is not two" 'm["merges"][0] = "r r r"'
refused "merges: merge 0 is not two" 'm["merges"][0] = " r"'
refused "merges: merge 0 is not two" 'm["merges"][0] = ["r", "r", "r"]'
refused "merges: merge 0 is not two" 'm["merges"][0] = ["r", 5]'
refused "merges: merge 0 is not two" 'm["merges"][0] = ["", "r"]'
refused "merges: merge 0 is not two" 'm["merges"][0] = ["中", "r"]'
refused "merges: merge 0 is not two" 'm["merges"][0] = "r" * 5000 + " r"'
refused "merges: merge 0 is not two" 'm["merges"][0] = None'
refused "added_tokens: .*special is 1" 'a[0]["special"] = 1'
refused "added_tokens: content is missing" 'del a[0]["content"]'
refused "added_tokens: id is missing" 'del a[0]["id"]'
refused "added_tokens: '' is empty" 'a[0]["content"] = ""'
refused "added_tokens: 'x' is empty or has no id" 'a.append({"content": "x", "id": 1 << 24})'
refused "added_tokens: '<think>' appears twice" 'a.append({"content": "<think>", "id": 5000})'
refused "added_tokens: '<x>' has the id 1022" 'a.append({"content": "<x>", "id": 1022})'
for key in single_word lstrip rstrip; do
	refused "added_tokens: '<think>' has $key true" '[x.update('"$key"'=True) for x in a if x["content"] == "<think>"]'
done
refused "normalizer: type is 'NFD'" 't["normalizer"] = {"type": "NFD"}'
refused "normalizer: type is 'Lowercase'" 't["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}'
refused "decoder: decoder is missing" 't["decoder"] = None'
refused "decoder: type is 'BPEDecoder'" 't["decoder"]["type"] = "BPEDecoder"'
refused "pre_tokenizer is missing" 't["pre_tokenizer"] = None'
refused "pre_tokenizer: type is 'Whitespace'" 't["pre_tokenizer"] = {"type": "Whitespace"}'
refused "pre_tokenizer: type is 'Punctuation'" 'p[0]["type"] = "Punctuation"'
refused "pre_tokenizer: ByteLevel is missing" 'p.pop()'
refused "pre_tokenizer: ByteLevel is missing" 'p.clear()'
refused "pre_tokenizer: ByteLevel is not the last" 'p.insert(0, p[-1])'
refused "pre_tokenizer: use_regex is 1" 'p[-1]["use_regex"] = 1'
refused "pre_tokenizer: add_prefix_space of ByteLevel is true" 'p[-1]["add_prefix_space"] = True'
refused "pre_tokenizer: behavior is 'Removed'" 'p[0]["behavior"] = "Removed"'
refused "pre_tokenizer: invert is true" 'p[0]["invert"] = True'
refused "pre_tokenizer: Regex is missing" 'p[0]["pattern"] = {"String": "a"}'
refused "pre_tokenizer: '..' in the pattern .* is not supported" 'p[0]["pattern"]["Regex"] = "\\d+"'
refused "pre_tokenizer: the pattern '\(a'" 'p[0]["pattern"]["Regex"] = "(a"'
refused "pre_tokenizer: more than 32 splits" 'p[:0] = [p[0]] * 32'
py change.py "$M" 'del v["H"]; m["merges"] = []'
fails_with 1 "sequence 0 failed: the vocabulary has no token for the byte 0x48" "a byte without a token" ds-tokenize -m bad -o out Hi

# a pattern that takes for ever is an error, too
py change.py "$M" 'p[0]["pattern"]["Regex"] = "(?:a+)+(?:b|c)"'
py -c 'print("a" * 40)' >as
fails_with 1 "pattern of the tokenizer fails on the text: .*limit" "a pattern that takes for ever" \
    sh -c 'exec ds-tokenize -m bad -o out <as'

# one that is quick at each place, and needs time that grows with the square of the text
py change.py "$M" 'p[0]["pattern"]["Regex"] = "(?=a+)"'
py -c 'print("a" * 150000)' >as
fails_with 1 "^ds-tokenize: sequence 0 failed: a pattern of the tokenizer takes more than 2.8 s on the text$" "a pattern that looks ahead over all of the text" \
    sh -c 'exec ds-tokenize -m bad -o out <as'

taken 'pass'
taken 't["normalizer"] = {"type": "Sequence", "normalizers": []}'
taken 'm["merges"] = [" ".join(x) for x in m["merges"]]'
taken 'del m["ignore_merges"]; m["continuing_subword_prefix"] = ""; m["dropout"] = 0.0'
taken 'm["merges"].append(m["merges"][0])'
taken 't["unknown"] = m["unknown"] = 5'
taken 'p.insert(0, {"type": "Digits", "individual_digits": False})'
taken 'v["Hi there 12"] = 5000' "$was"
taken 'del t["added_tokens"]'
taken 'm["ignore_merges"] = True; p[:] = p[-1:]; v["HiĠthereĠ12"] = 5000' "5000 "
taken 'a.append({"content": "Hi there 12", "id": 5000})' "5000 "
taken 'a += [{"content": "Hi", "id": 5000}, {"content": "Hi t", "id": 5001}, {"content": "here 12", "id": 5002}]' "5001 5002 "
taken 'a += [{"content": "Hi t", "id": 5000, "normalized": True}, {"content": "i there 12", "id": 5001}]' \
    "$(ds-tokenize -m "$M" -b "H" | ds-dump -f ids | tr '\n' ' ')5001 "

# --- what goes around a text ---
text='{"Sequence": {"id": "A", "type_id": 0}}'
x='{"SpecialToken": {"id": "x", "type_id": 0}}'
post() { # post REGEX JSON: this post_processor is refused
	refused "post_processor: $1" "t['post_processor'] = json.loads(r'''$2''')"
}
template() { # template PIECES IDS
	echo '{"type": "TemplateProcessing", "single": ['"$1"'], "special_tokens": {"x": {"id": "x", "ids": '"$2"'}}}'
}
post "type is 'BertProcessing', which is not supported" '{"type": "BertProcessing", "sep": ["x", 1], "cls": ["x", 0]}'
post "post_processor is 'x', must be an object" '"x"'
refused "post_processor: more than 65536 tokens around a text" '
special = {"SpecialToken": {"id": "<x>", "type_id": 0}}
t["post_processor"] = {"type": "TemplateProcessing", "single": [special] * 300 + [{"Sequence": {"id": "A", "type_id": 0}}],
    "special_tokens": {"<x>": {"id": "<x>", "ids": [0] * 300, "tokens": ["<x>"] * 300}}}'
post "single: must have one text" "$(template "$x" '[0]')"
post "single: must have one text" "$(template "$text, $text" '[0]')"
post "single: must have one text" "$(template '{"Sequence": {"id": "B", "type_id": 0}}' '[0]')"
post "single: Sequence is missing" "$(template '{"Other": {"id": "A"}}' '[0]')"
post "special_tokens: x is missing" "$(template "$x, $text" '[0]' | sed 's/"x": {/"y": {/')"
post "special_tokens: 'x' has an id that is not in the vocabulary" "$(template "$x, $text" '[5000]')"
post "special_tokens: 'x' has an id that is not in the vocabulary" "$(template "$x, $text" '[-1]')"
post "special_tokens: ids is" "$(template "$x, $text" 0)"
post "more than one TemplateProcessing" \
    '{"type": "Sequence", "processors": ['"$(template "$x, $text" '[0]'), $(template "$text, $x" '[0]')"']}'

# --- files ---
mkdir none
fails_with 1 "cannot open 'none/tokenizer.json': No such file" "no file" ds-tokenize -m none -o out a
mkdir -p bad/dir/tokenizer.json
fails_with 1 "'bad/dir/tokenizer.json': not a regular file" "a folder" ds-tokenize -m bad/dir -o out a
head -c 30000 "$M/tokenizer.json" >bad/tokenizer.json
fails_with 1 "'bad/tokenizer.json': byte [0-9]*: not valid JSON" "a file cut short" ds-tokenize -m bad -o out a
for text in '' '[]' '5' 'null' '{"model": 5}' '{"model": {"vocab": {"a": 0, "a": 1}}, "decoder": {"type": "ByteLevel"}}'; do
	printf '%s' "$text" >bad/tokenizer.json
	fails_with 1 "^ds-tokenize: 'bad/tokenizer.json': " "refused: '$text'" ds-tokenize -m bad -o out a
done
cp "$M/tokenizer.json" bad
printf '{"bos_token": ' >bad/tokenizer_config.json
fails_with 1 "'bad/tokenizer_config.json': byte [0-9]*: not valid JSON" "a broken tokenizer_config.json" ds-tokenize -m bad -o out a
printf '{"bos_token": 5}' >bad/tokenizer_config.json
fails_with 1 "bad/tokenizer_config.json': bos_token is 5" "a bos_token that is no text" ds-tokenize -m bad -o out a
printf '{"eos_token": {"content": 5}}' >bad/tokenizer_config.json
fails_with 1 "bad/tokenizer_config.json': eos_token: content is 5" "an eos_token that is no text" ds-tokenize -m bad -o out a
printf '{"tokenizer_class": 5}' >bad/tokenizer_config.json
fails_with 1 "bad/tokenizer_config.json': tokenizer_class is 5" "a tokenizer_class that is no text" ds-tokenize -m bad -o out a
rm bad/tokenizer_config.json
echo '{"vocab_size": 1024' >bad/config.json
fails_with 1 "'bad/config.json': byte [0-9]*: not valid JSON" "a broken config.json" ds-tokenize -m bad -o out a
rm bad/config.json

# what is no regular file is not waited for; what a download or a clone left is named
LIMIT=20
for f in tokenizer.json tokenizer_config.json chat_template.jinja config.json; do
	rm -rf odd
	cp -rL "$M" odd
	rm -f "odd/$f"
	mkfifo "odd/$f"
	fails_with 1 "^ds-tokenize: 'odd/$f': not a regular file$" "a FIFO in place of $f" ds-tokenize -m odd -c -o out a
	rm "odd/$f"
	printf 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n' >"odd/$f"
	fails_with 1 "^ds-tokenize: 'odd/$f': a Git LFS pointer" "a Git LFS pointer in place of $f" ds-tokenize -m odd -c -o out a
	[ $f != chat_template.jinja ] || continue
	{ printf '{"a": 1,'; head -c 3000 /dev/zero; } >"odd/$f"
	fails_with 1 "^ds-tokenize: 'odd/$f': zeros from byte 8 to the end" "zeros at the end of $f" ds-tokenize -m odd -c -o out a
	echo '{"a": NaN}' >"odd/$f"
	fails_with 1 "^ds-tokenize: 'odd/$f': byte 6: NaN is not a JSON number" "NaN in $f" ds-tokenize -m odd -c -o out a
done
done_testing
