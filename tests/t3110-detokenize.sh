#!/bin/sh
# only: asan leaks
# ds-detokenize: ids become text as they arrive.
. "${0%/*}/lib.sh"

cat >say.py <<'EOP'
# frames from words: TEXT=SEQ[.] a frame with the text's tokens (. the last), SEQ! free, $ end
# @SEQ a span without rows; several joined by + are one frame.  TEXT may have \xHH, and ids as <N>
import frame, json, re, sys
import numpy as np
vocab = json.load(open(sys.argv[1] + "/tokenizer.json"))
added = {a["content"]: a["id"] for a in vocab["added_tokens"]}
plain = [b for b in range(256) if 32 < b < 127 or 160 < b < 256 and b != 173]
rest = [b for b in range(256) if b not in plain]
of_byte = {b: vocab["model"]["vocab"][chr(b) if b in plain else chr(256 + rest.index(b))] for b in range(256)}
def ids(text):
    out = []
    for part in re.findall(r"<\d+>|</?think>|<｜[^｜]*｜>|\\x..|\\n|.", text):
        if part in added: out.append(added[part])
        elif re.fullmatch(r"<\d+>", part): out.append(int(part[1:-1]))
        elif part.startswith("\\"): out.append(of_byte[10 if part == "\\n" else int(part[2:], 16)])
        else: out += [of_byte[b] for b in part.encode()]
    return out
out = sys.stdout.buffer
for word in sys.argv[2:]:
    if word == "$": frame.write_frame(out, {"op": "end"})
    elif re.fullmatch(r"\d+!", word): frame.write_frame(out, {"op": "free", "seq": int(word[:-1])})
    else:
        spans = []
        for w in word.split("+"):
            text, seq, last = re.fullmatch(r"(.*)[=@](\d+)(\.?)", w, re.S).groups()
            spans.append((int(seq), 0, 4 if last else 1, ids(text)))
        out.write(frame.prompt(*spans).bytes())
EOP
say() { py say.py "$M" "$@"; }
# text WORD... [-- OPTION...]: what ds-detokenize prints of them, newlines as /
text() {
	words=
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		printf '%s\0' "$1"; shift
	done >words
	[ $# -eq 0 ] || shift
	xargs -0 "${PYCLIENT:-$PY}" say.py "$M" <words | ds-detokenize -m "$M" "$@" | tr '\n\0' '/|'
}

# --- sequences ---
is "$(text a=0 b=0 c=0. '$')" "abc/" "tokens of a sequence are one text"
is "$(text a=0 '$')" "a/" "the end ends a sequence"
is "$(text a=0 0! '$')" "a/" "free ends it"
is "$(text a=0. 0! '$')" "a/" "the last token ends it, free then says nothing new"
is "$(text '$')" "" "no sequence is no line"
is "$(text 5! '$')" "/" "a sequence freed without a token is an empty line"
is "$(text @5 '$')" "/" "and one without rows"
is "$(text a=0. 0! 0! '$')" "a//" "a second free is of another sequence"
is "$(text a=0. 0! b=0. 0! '$')" "a/b/" "a number may be used again"
is "$(text a=0. b=0 '$')" "a/b/" "also before it is free"
is "$(text a=1 b=0 c=1 d=0 e=1. f=0. '$')" "ace/bdf/" "sequences are whole, in order of appearance"
is "$(text a=0 b=1. 1! c=0. 0! '$')" "ac/b/" "one that is done early waits for its turn"
is "$(text a=0+b=1+c=2 d=2.+e=0. f=1. '$')" "ae/bf/cd/" "several in a frame"
is "$(text a=0 b=1. c=2 '$')" "a/b/c/" "at the end all that came is printed"
is "$(text a=18446744073709551615 b=9223372036854775808 c=18446744073709551615 '$')" "ac/b/" "numbers have 64 bits"
is "$(text a=0 b=1. '$' -- -0)" "a|b|" "-0: a NUL behind each sequence"
is "$(ds-tokenize -m "$M" "Hi there" "you" | ds-detokenize -m "$M" | tr '\n' /)" "Hi there/you/" "prompts are text as well"
py - >forked <<'EOP'
import frame, sys
out = sys.stdout.buffer
frame.write_frame(out, {"op": "fork", "from": 0, "to": 1, "n": 1})
frame.write_frame(out, {"op": "something"})
frame.write_frame(out, {"op": "end"})
EOP
is "$(ds-detokenize -m "$M" <forked)" "" "other control frames say nothing"

# --- text arrives at once, characters whole ---
stream() { # stream DESC WANT WORD...: after the words, without an end yet, WANT is there
	stream_desc=$1 stream_want=$2; shift 2
	rm -f feed got; mkfifo feed
	ds-detokenize -m "$M" <feed >got &
	exec 8>feed
	(say "$@") >&8
	for i in $(seq 300); do [ "$(cat got 2>/dev/null)" != "$stream_want" ] || break; sleep 0.1; done
	is "$(cat got)" "$stream_want" "$stream_desc"
	say '$' >&8
	exec 8>&-
	wait
}
stream "the foremost is printed as it comes" "ab" a=0 x=1 b=0
stream "and the next when it is over" "ab
xy" a=0 x=1 b=0. 0! y=1
stream "a character that is not complete waits" "a" 'a=0' '\xc3=0'
stream "until it is" "aé中😀" 'a=0' '\xc3=0' '\xa9=0' '\xe4=0' '\xb8=0' '\xad=0' '\xf0=0' '\x9f\x98=0' '\x80=0'
is "$(text 'a=0' '\xc3=0.' '$')" "a�/" "bytes that never become one are U+FFFD"
is "$(text '\xc3=0' '(=0' '\xe4=0' '\xb8=0' 'x\x80=0' '$')" "�(�x�/" "each maximal ill-formed part is one"
is "$(text 'a\xc3=0' 'b\xf0=1' '\xa9=0' '\x9f\x98\x80=1' '$')" "aé/b😀/" "each sequence has its own incomplete bytes"

# --- special tokens ---
E='<｜end▁of▁sentence｜>'
is "$(text "a${E}b=0" '$')" "ab/" "special tokens are not printed"
is "$(text "a${E}b=0" '$' -- --special)" "a${E}b/" "--special: they are"
is "$(text '\xc3=0' "$E=0" '\xa9=0' '$')" "é/" "one that is not printed cuts no character"
is "$(text '\xc3=0' "$E=0" '\xa9=0' '$' -- --special)" "�${E}�/" "one that is printed does"
is "$(text 'a<think>b</think>c=0' '$')" "a<think>b</think>c/" "the marks of a thought are not special"

# --- the answer alone ---
is "$(text 'a<think>b=0' 'c</think>\n\nd\n=0.' '$' -- -q)" "ad//" "-q: without the thought and the newlines behind it"
is "$(text '<think>b=0' '</think>=0' '\n=0' '\n=0' 'd\n\ne=0.' '$' -- -q)" "d//e/" "however it is cut into frames"
is "$(text 'a</think>\n\nb=0' '$' -- -q)" "a</think>//b/" "a thought that was not opened is text"
is "$(text 'a</think>\n\nb=0' '$' -- -q -c)" "b/" "-c: it was opened by the template"
is "$(text 'abc=0.' 0! 'x</think>y=1.' '$' -- -q -c)" "/y/" "an answer that did not come is an empty line"
is "$(text 'a</think>b<think>c</think>d=0' '$' -- -q -c)" "bd/" "a second thought is left out, too"
is "$(text 'a\xc3</think>b=0' '$' -- -q -c)" "b/" "with its incomplete bytes"
is "$(text 'a</think>b=0' '$' -- -c)" "a</think>b/" "without -q all is text"
printf '[{}]' >plain
is "$(text 'a</think>b=0' '$' -- -q -c --template plain)" "a</think>b/" "--template: one that opens no thought"
mkdir bare
py - "$M" <<'EOP'
import json, sys
t = json.load(open(sys.argv[1] + "/tokenizer.json"))
t["added_tokens"] = [a for a in t["added_tokens"] if "think" not in a["content"]]
json.dump(t, open("bare/tokenizer.json", "w"))
EOP
is "$(ds-tokenize -m bare "<think>x</think>y" | ds-detokenize -m bare -q)" "<think>x</think>y" "without such tokens there is no thought"

# --- on a terminal ---
cat >terminal.py <<'EOP'
# run a command with a terminal as its standard output and the file as its input; print what it wrote
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.dup2(os.open(sys.argv[1], os.O_RDONLY), 0)
    os.execvp(sys.argv[2], sys.argv[2:])
out = b""
while True:
    try:
        b = os.read(fd, 4096)
    except OSError:
        break
    if not b:
        break
    out += b
print(repr(out.replace(b"\r\n", b"\n").decode()))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
EOP
say 'a<think>b=0' 'c</think>\nd=0.' '$' >thought
say 'b=0' 'c</think>\nd=0.' '$' >opened
tty() { py terminal.py "$@"; }
unset NO_COLOR
export TERM=xterm
plain="'a<think>bc</think>\\nd\\n'"
is "$(tty thought ds-detokenize -m "$M" | sed 's/\\x1b\[0m\\x1b\[2m//g')" "'a\\x1b[2m<think>bc</think>\\x1b[0m\\nd\\n'" "the thought is dimmed"
is "$(tty opened ds-detokenize -m "$M" -c | sed 's/\\x1b\[0m\\x1b\[2m//g')" "'\\x1b[2mbc</think>\\x1b[0m\\nd\\n'" "also one that the template opened"
is "$(tty opened ds-detokenize -m "$M" -c -q)" "'d\\n'" "with -q there is nothing to dim"
is "$(TERM=dumb; tty thought ds-detokenize -m "$M")" "$plain" "not on a dumb terminal"
is "$(export NO_COLOR=1; tty thought ds-detokenize -m "$M")" "$plain" "not with NO_COLOR"
is "$(export NO_COLOR=; tty thought ds-detokenize -m "$M" | grep -c 2m)" 1 "an empty NO_COLOR is none"
is "$(unset TERM; tty thought ds-detokenize -m "$M")" "$plain" "not on a terminal without a name"
is "$(ds-detokenize -m "$M" -c --dim <opened | tr '\033' '~' | sed 's/~\[0m~\[2m//g')" "~[2mbc</think>~[0m
d" "--dim: also into a pipe"

# --- ids that no token has: a model may have more ids than its tokenizer has tokens ---
cp -r "$M" padded
py - <<'EOP'
import json
c = json.load(open("padded/config.json"))
c["vocab_size"] = 2000
json.dump(c, open("padded/config.json", "w"))
t = json.load(open("padded/tokenizer.json"))
v = t["model"]["vocab"]
last = sorted(v, key=v.get)[-20:]
t["model"]["merges"] = [m for m in t["model"]["merges"] if "".join(m) not in last]
for k in last: del v[k]
json.dump(t, open("padded/tokenizer.json", "w"))
EOP
gap=$(py -c 'import json; t = json.load(open("padded/tokenizer.json")); n = set(t["model"]["vocab"].values()) | {a["id"] for a in t["added_tokens"]}; print(min(set(range(1024)) - n))')
say "a=0" "<$gap><1999>b=0" '\xc3=0' "<1024>=0" '\xa9=0.' '$' >in
is "$(ds-detokenize -m padded -i in)" "abé" "an id below vocab_size that no token has is empty text, also within a character"
is "$(ds-detokenize -m padded --special -i in)" "abé" "with --special as well"
say "a<2000>=5." '$' >in
fails_with 1 "sequence 5: the vocabulary has no id 2000$" "an id from vocab_size on is refused" ds-detokenize -m padded -i in
rm padded/config.json
ok "without config.json" ds-detokenize -m padded -i in
is "$(cat .out)" "a" "... an id that no token has is empty text"

# --- wrong frames ---
wrong() { # wrong STATUS REGEX TEXT DESC WORD...: TEXT is printed before it fails
	wrong_status=$1 wrong_regex=$2 wrong_text=$3 wrong_desc=$4; shift 4
	say "$@" >in
	fails_with "$wrong_status" "$wrong_regex" "$wrong_desc" sh -c 'exec ds-detokenize -m "$M" <in >text'
	is "$(cat text)" "$wrong_text" "$wrong_desc: what came is printed"
}
wrong 1 "sequence 3: the vocabulary has no id 1024$" "ab" "an id behind the vocabulary" 'a=3' 'b<1024>c=3' '$'
wrong 3 "ended without an end frame" "ab
x" "a stream that breaks off" a=0 x=1 b=0
wrong 3 "ended without an end frame" "a�" "within a character" 'a\xc3=0'
for id in -1 -2147483648 2147483647; do
	py - "$id" >in <<'EOP'
import frame, sys
sys.stdout.buffer.write(frame.prompt((0, 0, 1, [int(sys.argv[1])])).bytes())
EOP
	fails_with 1 "sequence 0: the vocabulary has no id $id$" "id $id" ds-detokenize -m "$M" -i in
done
waits() { # waits WHERE KEY=VALUE...
	waits_where=$1; shift
	py - "$@" >in <<'EOP'
import frame, json, sys
import numpy as np
h = {"spans": [[7, 0, 1, 1]]}
h.update((k, json.loads(v)) for k, v in (a.split("=") for a in sys.argv[1:]))
frame.write_frame(sys.stdout.buffer, h, {"ids": np.array([5], "<i4")})
EOP
	fails_with 1 "^ds-detokenize: sequence 7 still waits for $waits_where: is a stage missing" "rows that wait for $waits_where" ds-detokenize -m "$M" -i in
}
waits "attn layer 1" at='"attn"' layer=1
waits "head" at='"head"' layer=4
waits "sample" at='"sample"'
py - >in <<'EOP'
import frame, sys
import numpy as np
frame.write_frame(sys.stdout.buffer, {"at": "embed", "spans": [[0, 0, 1, 1]]}, {"id": np.array([5], "<i4")})
EOP
fails_with 1 "no tensor 'ids'" "a frame without ids" ds-detokenize -m "$M" -i in
py - >in <<'EOP'
import frame, sys
import numpy as np
frame.write_frame(sys.stdout.buffer, {"at": "embed", "spans": [[0, 0, 1, 1]]}, {"ids": np.array([5], "<i8")})
EOP
fails_with 1 "tensor 'ids' is I64" "ids of another type" ds-detokenize -m "$M" -i in
frame error "ds-block: layer 3: out of luck" >in
fails_with 3 "^ds-detokenize: upstream: ds-block: layer 3: out of luck$" "an error frame" ds-detokenize -m "$M" -i in
printf 'not a frame at all' >in
fails_with 1 "standard input|in: frame 1" "bytes that are no frame" ds-detokenize -m "$M" -i in

# --- wrong command lines, failing systems ---
say a=0 '$' >in
fails_with 2 "give -m MODEL" "no model" ds-detokenize
fails_with 3 "cannot open 'x': No such file" "an operand that is not there" ds-detokenize -m "$M" x
fails_with 2 "give -c" "--template without -c" ds-detokenize -m "$M" --template plain -i in
fails_with 1 "cannot open 'nowhere'" "a model that is not there" ds-detokenize -m nowhere -i in
fails_with 3 "cannot open 'nowhere'" "an input that is not there" ds-detokenize -m "$M" -i nowhere
fails_with 3 "standard output: cannot write: No space left" "a full disk" sh -c 'exec ds-detokenize -m "$M" -i in >/dev/full'
ok "DS_MODEL stands in for -m" sh -c 'test "$(DS_MODEL=$M ds-detokenize -i in)" = a'
ok "-r tells that it is ready" sh -c 'ds-detokenize -m "$M" -i in -r 5 5>ready && test "$(wc -c <ready)" = 1'
py - >in <<'EOP'
import frame, sys
for i in range(20000):
    sys.stdout.buffer.write(frame.prompt((0, i, 1, [67] * 10)).bytes())
EOP
timeout 20 bash -c 'ds-detokenize -m "$M" -i in 2>err | head -c 1 >/dev/null; echo "${PIPESTATUS[0]}" >status'
is "$(cat status err)" 141 "a reader that went away ends it quietly"
done_testing
