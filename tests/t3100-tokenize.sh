#!/bin/sh
# only: asan leaks
# ds-tokenize: texts become frames.
. "${0%/*}/lib.sh"

cat >rows.py <<'EOP'
# one line a frame: its spans and ids, or what it is else
import frame, sys
for f in frame.read_frames(sys.stdin.buffer):
    h = f.header
    print(h["op"] if "op" in h else "%s %s %s" % (h["at"], h["spans"], f.tensors["ids"].tolist()), flush=True)
EOP
rows() { py rows.py; }
mkdir golden
gzip -dc "$G/tokenizer/tokenizer.json.gz" >golden/tokenizer.json
cp "$G/tokenizer/tokenizer_config.json" golden

cp "$R"/common/token/unicode_classes.* .
ok "unicode_classes.py runs" py unicode_classes.py
same unicode_classes.c "$R/common/token/unicode_classes.c" "unicode_classes.c is what it makes"

# --- all recorded cases through the programs, both ways ---
py - "$G/tokenizer/cases.jsonl" <<'EOP'
import json, sys
cases = [json.loads(l) for l in open(sys.argv[1])]
put = lambda name, items, end: open(name, "w", newline="").write("".join(i + end for i in items))
zero = [c for c in cases if "\0" in c["text"]]          # cannot travel with -0
cases = [c for c in cases if "\0" not in c["text"]]
put("texts", [c["text"] for c in cases], "\0")
put("shown", [c.get("decoded", c["text"]) for c in cases], "\0")
put("hidden", [c.get("decoded_skip_special", c["text"]) for c in cases], "\0")
put("want", ["embed [[%d, 0, %d, 1]] %s" % (i, len(c["ids"]), c["ids"]) for i, c in enumerate(cases)] + ["end"], "\n")
put("zero", [zero[0]["text"]], "")
print("embed [[0, 0, %d, 1]] %s\nend" % (len(zero[0]["ids"]), zero[0]["ids"]), file=open("zero.want", "w"))
EOP
ok "the recorded cases are there" test "$(tr -dc '\0' <texts | wc -c)" -ge 390
ok "all recorded texts are encoded" sh -c 'ds-tokenize -m golden -0 <texts >frames'
rows <frames >got
same got want "their ids are those of the Hugging Face library"
ok "their ids are decoded" sh -c 'ds-detokenize -m golden -0 --special <frames >got'
same got shown "and give the texts again"
ok "their ids are decoded without special tokens" sh -c 'ds-detokenize -m golden -0 <frames >got'
same got hidden "and give what the library gives without special tokens"
ds-tokenize -m golden <zero | rows >got
same got zero.want "a NUL is a character where standard input is one text"

cat >decode.py <<'EOP'
# ids whose bytes need not be UTF-8, as frames; what Python makes of the bytes, into a file
import frame, json, sys
out = open(sys.argv[2], "wb")
for i, l in enumerate(open(sys.argv[1])):
    c = json.loads(l)
    sys.stdout.buffer.write(frame.prompt((i, 0, 1, c["ids"])).bytes())
    out.write(bytes.fromhex(c["hex"]).decode(errors="replace").encode() + b"\0")
frame.write_frame(sys.stdout.buffer, {"op": "end"})
EOP
py decode.py "$G/tokenizer/decode.jsonl" want | ds-detokenize -m golden -0 --special >got
same got want "recorded ids whose bytes are no text are decoded as by Python"

if [ "$(command -v ds-tokenize)" = "$R/bin/ds-tokenize" ]; then
	cpu=$(py - <<'EOP'
import resource, subprocess
best, before = 1e9, 0
for _ in range(5):
    subprocess.run(["ds-tokenize", "-m", "golden", "-o", "out", "What is the capital of France?"], check=True)
    u = resource.getrusage(resource.RUSAGE_CHILDREN)
    now = (u.ru_utime + u.ru_stime) * 1000
    best, before = min(best, now - before), now
print(round(best))
EOP
)
	ok "128000 tokens are loaded and a line encoded in less than 150 ms of CPU ($cpu ms)" test "$cpu" -lt 150
fi

# --- frames ---
is "$(ds-tokenize -m "$M" a b | rows)" "embed [[0, 0, 2, 1]] [0, 67]
embed [[1, 0, 2, 1]] [0, 68]
end" "each text is a sequence, and has a token to begin with"
is "$(ds-tokenize -m "$M" -a -b --seq 7 a b | rows)" "embed [[7, 0, 1, 3]] [67]
embed [[8, 0, 1, 3]] [68]
end" "-a asks for all logits, -b leaves out the beginning, --seq numbers"
is "$(ds-tokenize -m "$M" "" | rows)" "embed [[0, 0, 1, 1]] [0]
end" "an empty text is its beginning"
is "$(ds-tokenize -m "$M" -b "" | rows)" "embed [[0, 0, 0, 1]] []
end" "or a span without rows"
is "$(printf 'a' | ds-tokenize -m "$M" | rows)" "$(ds-tokenize -m "$M" a | rows)" "standard input is a text"
is "$(printf 'a\n' | ds-tokenize -m "$M" | rows)" "$(ds-tokenize -m "$M" a | rows)" "but for one newline at its end"
is "$(printf 'a\n\n' | ds-tokenize -m "$M" | rows)" "$(ds-tokenize -m "$M" "a
" | rows)" "one"
is "$(printf 'a\r\n' | ds-tokenize -m "$M" | rows)" "$(ds-tokenize -m "$M" "$(printf 'a\r')" | rows)" "and no more"
is "$(printf '\n' | ds-tokenize -m "$M" | rows)" "$(ds-tokenize -m "$M" "" | rows)" "a newline alone is an empty text"
is "$(printf 'a\nb' | ds-tokenize -m "$M" | rows)" "$(ds-tokenize -m "$M" "a
b" | rows)" "others are the text's"
is "$(printf 'a\n\0b\n' | ds-tokenize -m "$M" -0 | rows)" "$(ds-tokenize -m "$M" "a
" "b
" | rows)" "-0: a newline before a NUL is the text's"
is "$(printf '' | ds-tokenize -m "$M" -b | rows)" "$(ds-tokenize -m "$M" -b "" | rows)" "also an empty one"
is "$(printf 'a\0\0b' | ds-tokenize -m "$M" -0 | rows)" "$(ds-tokenize -m "$M" a "" b | rows)" \
    "-0: texts ended by NULs, the last of which may be missing"
is "$(printf 'a\0b\0' | ds-tokenize -m "$M" -0 | rows)" "$(ds-tokenize -m "$M" a b | rows)" "or there"
is "$(printf '' | ds-tokenize -m "$M" -0 | rows)" "end" "-0: nothing is no text"
ds-tokenize -m "$M" "Hello" "" >frames
frame check <frames >out 2>&1
report $? "the frames are what ds-frame(5) says" out
is "$(frame show <frames | grep -c '"model": *"[0-9a-f]\{16\}"')" 2 "the model's mark is on them"
ds-tokenize -m golden "Hello" | frame show >shown
is "$(grep -c '"model"' shown)" 0 "a folder of a tokenizer alone has no mark"
is "$(ds-tokenize -m "$M" --seq 18446744073709551614 a b | rows | tail -2)" "embed [[18446744073709551615, 0, 2, 1]] [0, 68]
end" "sequence numbers go up to 2^64 - 1"
fails_with 1 "no sequence number after" "and no further" ds-tokenize -m "$M" --seq 18446744073709551615 -o out a b
is "$(DS_MODEL=$M ds-tokenize a | rows)" "$(ds-tokenize -m "$M" a | rows)" "DS_MODEL stands in for -m"
ok "several -o get the same frames" sh -c 'ds-tokenize -m "$M" -o one -o two a b && cmp one two && test -s one'
ok "-r tells that it is ready" sh -c 'ds-tokenize -m "$M" -r 5 a 5>ready >/dev/null && test "$(wc -c <ready)" = 1'

# with -0 a text is sent when it has come, while more may follow
mkfifo ask answer
rm -f got
ds-tokenize -m "$M" -0 <ask >answer &
exec 8>ask
(exec 8>&-; rows <answer >got) &
printf 'a\0b' >&8
for i in $(seq 300); do [ ! -s got ] || break; sleep 0.1; done
is "$(cat got)" "embed [[0, 0, 2, 1]] [0, 67]" "a text is sent as soon as its NUL has come"
exec 8>&-
wait
is "$(tail -2 got)" "embed [[1, 0, 2, 1]] [0, 68]
end" "the rest when the input ends"

# --- bytes that are not UTF-8 ---
cat >noise.py <<'EOP'
import random, sys
random.seed(int(sys.argv[1]))
leads = bytes(range(0x7e, 0x100)) + b"a " * 20
texts = [bytes(random.choice(leads) for _ in range(random.randrange(40))) for _ in range(200)]
open("noise", "wb").write(b"\0".join(texts) + b"\0")
open("want", "wb").write(b"\0".join(t.decode(errors="replace").encode() for t in texts) + b"\0")
EOP
py noise.py 1
pipe 'ds-tokenize -m golden -0 <noise | ds-detokenize -m golden -0 --special >got'
report $? "bytes that are not UTF-8 are no error"
same got want "each maximal ill-formed part becomes U+FFFD"

# --- long pieces ---
py -c 'print("a" * 300000 + " " * 300000 + "\n" * 100000 + "<" * 100000, end="")' >long
pipe 'ds-tokenize -m golden <long | ds-detokenize -m golden -0 >got'
report $? "pieces of 300000 bytes are encoded in time"
printf '\0' >>long
same got long "and come back"

# --- added tokens: the leftmost, of several the longest, those that are not normalized first ---
mkdir added
cat >added.py <<'EOP'
# 30 tokenizers without merges, each with added tokens and texts at random; the ids by the plainest way there is
import json, random, re, subprocess
plain = {b: chr(b) if 32 < b < 127 or 160 < b < 256 and b != 173 else None for b in range(256)}
rest = [b for b in range(256) if plain[b] is None]
vocab = {plain[b] or chr(256 + rest.index(b)): b for b in range(256)}
def ids(text, sets):
    if not sets: return list(text.encode())
    tokens = "|".join(map(re.escape, sorted(sets[0], key=len, reverse=True)))
    parts = re.split(f"({tokens})", text) if tokens else [text]     # each second one is a token
    ids_of = (lambda part: ids(part, sets[1:])), (lambda token: [sets[0][token]])
    return [i for n, part in enumerate(parts) for i in ids_of[n % 2](part)]
wrong = []
for seed in range(30):
    random.seed(seed)
    sets, added = ({}, {}), []
    for i in range(random.randrange(1, 40)):
        c = "".join(random.choice("ab é") for _ in range(random.choice([2, 3, 5, 9, 20])))
        normalized = random.random() < 0.4
        if c in sets[0] or c in sets[1]: continue
        sets[normalized][c] = 1000 + i
        added.append({"id": 1000 + i, "content": c, "normalized": normalized})
    json.dump({"added_tokens": added, "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": vocab, "merges": []},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}},
        open("added/tokenizer.json", "w"))
    texts = ["".join(random.choice("aaabbb é") for _ in range(random.randrange(200))) for _ in range(20)]
    texts.append(random.choice(("ab", "a", "é b")) * (50000 if seed < 5 else 10))    # more than a block of the search
    subprocess.run(["ds-tokenize", "-m", "added", "-0", "-o", "added.dsf"], input="\0".join(texts).encode(), check=True)
    got = subprocess.run("ds-dump -f ids <added.dsf", shell=True, capture_output=True, text=True).stdout.split()
    if got != [str(i) for t in texts for i in ids(t, sets)]: wrong.append(seed)
print(wrong)
EOP
is "$(py added.py)" "[]" "added tokens at random are found as the plainest search finds them"
py - <<'EOP'
import json
json.dump({"added_tokens": [{"id": 6 + i, "content": "a" * (i * 5 + 5) + "b"} for i in range(1000)],
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]},
    "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}, open("added/tokenizer.json", "w"))
open("long", "w").write("a" * 1000000 + "b")
EOP
cpu=$(py -c '
import resource, subprocess
subprocess.run(["ds-tokenize", "-m", "added", "-o", "added.dsf"], stdin=open("long"), check=True)
u = resource.getrusage(resource.RUSAGE_CHILDREN)
print(u.ru_utime + u.ru_stime)')
ok "1000 added tokens of all lengths need no time that grows with them ($cpu s)" py -c "assert $cpu < 10"
is "$(ds-dump -f ids <added.dsf | tr ' ' '\n' | tail -1)" 1005 "the longest is found at the end of a megabyte"

# --- the chat template ---
chat() { ds-tokenize -m "$@" | ds-detokenize -m "$1" --special -0 | tr '\0' '|'; }
B='<｜begin▁of▁sentence｜>'
is "$(chat "$M" -c Hi)" "$B<｜User｜>Hi<｜Assistant｜><think>
|" "-c: a user's turn, the beginning once"
is "$(chat "$M" -c -b Hi)" "<｜User｜>Hi<｜Assistant｜><think>
|" "-c -b: without the beginning"
printf '%s[{}]\n' "$B" >brackets
is "$(chat "$M" -c --template brackets Hi)" "$B[Hi]
|" "--template: a template of one's own, byte for byte"
is "$(chat "$M" -c -b --template brackets Hi)" "[Hi]
|" "which -b takes the beginning from, too"
mkdir own
cp "$M/tokenizer.json" own
fails_with 1 "no chat template.*--template FILE" "no template at all is an error of -c" ds-tokenize -m own -c -o out Hi
is "$(ds-tokenize -m own a | rows | sed -n 1p)" "embed [[0, 0, 1, 1]] [67]" "without tokenizer_config.json nothing is added"
is "$(chat own -c --template brackets Hi)" "$B[Hi]
|" "and --template does"
printf 'none' >none
printf '{} {}' >both
fails_with 1 "'none' must be text with \{\}" "a template needs a place for the text" ds-tokenize -m own -c --template none -o out Hi
fails_with 1 "'both' must be text with \{\}" "but one" ds-tokenize -m own -c --template both -o out Hi
fails_with 1 "cannot open 'nowhere'" "and has to be there" ds-tokenize -m own -c --template nowhere -o out Hi

# --- what begins a text ---
bos() { printf '{"add_bos_token": %s, "bos_token": %s}' "$1" "$2" >own/tokenizer_config.json; }
bos true "\"$B\""
is "$(ds-tokenize -m own a | rows | sed -n 1p)" "embed [[0, 0, 2, 1]] [0, 67]" "bos_token may be a string"
bos false "\"$B\""
is "$(ds-tokenize -m own a | rows | sed -n 1p)" "embed [[0, 0, 1, 1]] [67]" "add_bos_token false adds none"
bos true null
is "$(ds-tokenize -m own a | rows | sed -n 1p)" "embed [[0, 0, 1, 1]] [67]" "bos_token null neither"
bos true '"<nobody>"'
fails_with 1 "bos_token '<nobody>'" "a bos_token that is no token is refused" ds-tokenize -m own -o out a
# what transformers' AutoTokenizer puts around "a" for these files, B the beginning, E the end: 4.57.6, and where there
# is neither add_bos_token nor add_eos_token 5.24.0, which does not read the two
cat >around.txt <<'EOP'
class                     post         -   bos nobos eos bos,eos nobos,eos nobos,noeos
LlamaTokenizerFast        null         a   Ba  a     BaE BaE     aE        a
LlamaTokenizerFast        bytes        a   Ba  a     BaE BaE     aE        a
LlamaTokenizerFast        B_A          Ba  Ba  a     BaE BaE     aE        a
LlamaTokenizerFast        A_E          aE  Ba  a     BaE BaE     aE        a
LlamaTokenizerFast        B_A_E        BaE Ba  a     BaE BaE     aE        a
LlamaTokenizerFast        bytes,B_A    Ba  Ba  a     BaE BaE     aE        a
LlamaTokenizer            B_A          Ba  Ba  a     BaE BaE     aE        a
-                         null         a   Ba  a     BaE BaE     aE        a
PreTrainedTokenizerFast   null         a   a   a     a   a       a         a
PreTrainedTokenizerFast   bytes        a   a   a     a   a       a         a
PreTrainedTokenizerFast   B_A          Ba  Ba  Ba    Ba  Ba      Ba        Ba
PreTrainedTokenizerFast   A_E          aE  aE  aE    aE  aE      aE        aE
PreTrainedTokenizerFast   B_A_E        BaE BaE BaE   BaE BaE     BaE       BaE
PreTrainedTokenizerFast   bytes,B_A    Ba  Ba  Ba    Ba  Ba      Ba        Ba
TokenizersBackend         bytes,       a   a   a     a   a       a         a
EOP
py - "$M" <<'EOP'
import json, os, sys
B, E = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
special = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}
pieces = {"A": {"Sequence": {"id": "A", "type_id": 0}}, "B": special(B), "E": special(E)}
tokens = {t: {"id": t, "ids": [i], "tokens": [t]} for i, t in enumerate((B, E))}
def processor(s):
    if s == "null": return None
    if s == "bytes": return {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    if "," in s: return {"type": "Sequence", "processors": [processor(x) for x in s.split(",") if x]}
    return {"type": "TemplateProcessing", "single": [pieces[x] for x in s.split("_")], "pair": [], "special_tokens": tokens}
lines = [l.split() for l in open("around.txt")]
t = json.load(open(sys.argv[1] + "/tokenizer.json"))
out = open("around.list", "w")
for k, (name, post, *want) in enumerate(lines[1:]):
    t["post_processor"] = processor(post)
    for keys, w in zip(lines[0][2:], want):
        d = "around-%d-%s" % (k, keys)
        os.mkdir(d)
        json.dump(t, open(d + "/tokenizer.json", "w"))
        c = {"bos_token": B, "eos_token": {"content": E}}
        if name != "-": c["tokenizer_class"] = name
        for key in keys.split(",") if keys != "-" else []: c["add_%s_token" % key[-3:]] = not key.startswith("no")
        json.dump(c, open(d + "/tokenizer_config.json", "w"))
        print(d, w, name, post, keys, file=out)
EOP
while read -r d want what; do
	got=$(ds-tokenize -m "$d" a | ds-dump -f ids | tr '\n' ' ' | sed 's/67 /a/; s/^0 /B/; s/1 $/E/')
	[ "$got" = "$want" ] || echo "$what: $got, not $want"
done <around.list >around.got
is "$(cat around.got)" "" "what is put around a text is what AutoTokenizer puts there ($(wc -l <around.list) kinds of files)"
is "$(ds-tokenize -m around-4-- -b a | ds-dump -f ids)" 67 "-b puts nothing there"
is "$(ds-tokenize -m around-4-- -c --template brackets -b a | ds-detokenize -m around-4-- --special)" "[a]" "a chat template has its own"
is "$(ds-tokenize -m around-4-- "" | ds-dump -f ids | tr '\n' ' ')" "0 1 " "an empty text has both"
bos 3 null
fails_with 1 "add_bos_token is 3" "add_bos_token must be true or false" ds-tokenize -m own -o out a

# --- wrong command lines, failing systems ---
fails_with 2 "give -m MODEL" "no model" ds-tokenize a
fails_with 2 "give no TEXT" "-0 with a text" ds-tokenize -m "$M" -0 a
fails_with 2 "give -c" "--template without -c" ds-tokenize -m "$M" --template x a
for n in -1 x 1x "" 18446744073709551616; do
	fails_with 2 "^ds-tokenize: --seq '$n'" "--seq '$n'" ds-tokenize -m "$M" --seq "$n" a
done
fails_with 1 "cannot open 'nowhere'" "a model that is not there" ds-tokenize -m nowhere -o out a
frame show <out >shown 2>complaint
like "$(cat shown)" "cannot open 'nowhere'" "those behind are told"
fails_with 3 "cannot open 'no/such'" "an output that cannot be" ds-tokenize -m "$M" -o no/such a
fails_with 3 "No space left" "a full disk" sh -c 'exec ds-tokenize -m "$M" a >/dev/full'
py -c 'print("a\0" * 20000)' >many
timeout 20 bash -c 'ds-tokenize -m "$M" -0 <many 2>err | head -c 1 >/dev/null; echo "${PIPESTATUS[0]}" >status'
is "$(cat status err)" 141 "a reader that went away ends it quietly"
done_testing
