#!/bin/sh
# only: asan
# first: yes
# Chat templates: conversations in JSON become the prompts that the transformers library makes of them.
. "${0%/*}/lib.sh"
LIMIT=300
/usr/bin/python3 -c 'import jinja2' 2>/dev/null || python3 -c 'import jinja2' 2>/dev/null || skip_all "python3-jinja2 is not installed"
mkdir own

# (most renderers are processes that have loaded jinja2 already)
printf '#!/bin/sh\nshift\nexec "%s" "$@"\n' "${PYCLIENT:-$PY}" >renderer
chmod +x renderer
served() {
	! py -c 'import jinja2' 2>/dev/null || export DS_PYTHON="$S/renderer"
}
served
py "$T/chat.py" own >compared 2>complaint
report $? "tests/chat.py runs" complaint
while IFS=$(printf '\t') read -r status what why; do
	echo "$why" >why
	report "$status" "$what" why
done <compared
ok "many are compared" test "$(wc -l <compared)" -ge 15

# --- where the template comes from ---
chat() { ds-tokenize -m tiny "$@" | ds-detokenize -m tiny --special -0 | tr '\0' '|'; }
config() { py - "$@" <<'EOP'
import json, sys
o = json.load(open(sys.argv[1]))
for a in sys.argv[2:]:
    k, v = a.split("=", 1)
    o[k] = json.loads(v)
json.dump(o, open("tiny/tokenizer_config.json", "w"))
EOP
}
mkdir tiny
cp "$M/tokenizer.json" tiny
C=$M/tokenizer_config.json
B='<｜begin▁of▁sentence｜>' U='<｜User｜>' A='<｜Assistant｜>' E='<｜end▁of▁sentence｜>'
config "$C"
is "$(chat -c Hi)" "$B${U}Hi$A<think>
|" "-c: one user's turn"
is "$(DS_PYTHON=/nonexistent chat -c Hi)" "$(chat -c Hi)" "of a known release without Python"
py - <<'EOP'
import json
t = json.load(open("tiny/tokenizer_config.json"))["chat_template"]
open("crlf.jinja", "w", newline="").write(t + "\r\n")
open("cr.jinja", "w", newline="").write(t + "\r")
open("two.jinja", "w", newline="").write(t + "\n\n\n")
EOP
cp crlf.jinja tiny/chat_template.jinja
is "$(DS_PYTHON=/nonexistent chat -c Hi)" "$B${U}Hi$A<think>
|" "chat_template.jinja with CRLF at its end is the same template"
cp cr.jinja tiny/chat_template.jinja
is "$(DS_PYTHON=/nonexistent chat -c Hi)" "$B${U}Hi$A<think>
|" "also with CR"
cp two.jinja tiny/chat_template.jinja
unset DS_PYTHON
is "$(chat -c Hi)" "$B${U}Hi$A<think>

|" "of three newlines trim_blocks takes one, and the end another"
served
echo '{{ bos_token }}[{{ messages[0].content }}]{{ "T" if tools else "" }}' >tiny/chat_template.jinja
is "$(chat -c Hi)" "$B[Hi]|" "chat_template.jinja wins over tokenizer_config.json"
is "$(chat -c -b Hi)" "[Hi]|" "-b: without the beginning"
is "$(printf 'a\0b' | chat -c)" "$B[a|b]|" "a NUL of standard input is a character of the text"
is "$(printf 'a\377"\\b' | chat -c)" "$B[a�\"\\b]|" "bytes that are not UTF-8 become U+FFFD"
mkdir tiny/additional_chat_templates
echo 'with {{ tools | length }}' >tiny/additional_chat_templates/tool_use.jinja
talk='[{"role": "user", "content": "Hi"}]'
is "$(echo "$talk {\"messages\": $talk, \"tools\": [{}, {}]}" | chat --messages)" "$B[Hi]|with 2|" "a template of its own for conversations with tools"
is "$(echo "$talk" | chat --messages -)" "$B[Hi]|" "a file called - is standard input"
rm -r tiny/chat_template.jinja tiny/additional_chat_templates
config "$C" 'chat_template=[{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "none"}]'
is "$(echo "$talk {\"messages\": $talk, \"tools\": []} {\"messages\": $talk, \"tools\": null}" | chat --messages)" "none|tools|none|" \
    "or of the list in tokenizer_config.json"
config "$C"
echo 'mine {{ messages[0].content }}' >mine.jinja
is "$(chat -c --template mine.jinja Hi)" "mine Hi|" "--template FILE.jinja"
printf '%s[{}]\n' "$B" >brackets
is "$(echo "$talk" | chat --messages --template brackets)" "$B[Hi]
|" "--template with {} takes a conversation of one turn"
fails_with 1 "takes exactly one user message" "and none of more" sh -c 'echo "[{\"role\": \"system\", \"content\": \"x\"}]" |
    ds-tokenize -m tiny --messages --template brackets >/dev/null'

# --- thinking ---
echo '{% if thinking %}T{% endif %}{% if enable_thinking is defined %}{{ enable_thinking }}{% endif %}' >think.jinja
is "$(chat -c --template think.jinja --thinking on x)$(chat -c --template think.jinja --thinking off x)$(chat -c --template think.jinja x)" \
    "TTrue|False||" "--thinking sets both variables"
fails_with 2 "uses neither of the variables thinking and enable_thinking" "a known template that uses neither refuses it" \
    ds-tokenize -m tiny -c --thinking on -o out Hi
fails_with 2 "'mine.jinja' uses neither" "another one, too" ds-tokenize -m tiny -c --template mine.jinja --thinking off -o out Hi
echo '{% set thinking = true %}{{ thinking }}' >set.jinja
fails_with 2 "uses neither" "a template that sets it itself does not read it" ds-tokenize -m tiny -c --template set.jinja --thinking off -o out Hi
fails_with 2 "has no variables" "nor does text with {}" ds-tokenize -m tiny -c --template brackets --thinking on -o out Hi
fails_with 2 "give on or off" "on or off" ds-tokenize -m tiny -c --thinking maybe Hi
fails_with 2 "give -c" "--thinking without -c" ds-tokenize -m tiny --thinking on Hi
answer() { py - "$1" <<'EOP'
import frame, json, sys
ids = {t["content"]: t["id"] for t in json.load(open("tiny/tokenizer.json"))["added_tokens"]}
sys.stdout.buffer.write(frame.prompt((0, 0, 1, [67, ids["</think>"], 68] if sys.argv[1] == "thought" else [67])).bytes())
frame.write_frame(sys.stdout.buffer, {"op": "end"})
EOP
}
echo 'x<think>{{ "\n" }}' >open.jinja
echo '{% if messages | length < 2 %}{{ raise_exception("no") }}{% endif %}' >two.jinja
is "$(answer thought | ds-detokenize -m tiny -c -q --template open.jinja)" "$(answer thought | ds-detokenize -m tiny -c -q)" \
    "ds-detokenize: a template in Jinja that opens a thought"
is "$(answer x | ds-detokenize -m tiny -c -q --template mine.jinja)$(answer x | ds-detokenize -m tiny -c -q --template two.jinja)" "$(answer x | ds-detokenize -m tiny)$(answer x | ds-detokenize -m tiny)" \
    "or does not, or takes no single turn"

# --- the date ---
echo '{{ strftime_now("%d %b %Y") }}' >date.jinja
is "$(SOURCE_DATE_EPOCH=1722000000 chat -c --template date.jinja x)" "26 Jul 2024|" \
    "strftime_now is SOURCE_DATE_EPOCH"
is "$(chat -c --template date.jinja x)" "$(date '+%d %b %Y')|" "or today"

# --- conversations in JSON ---
two() { printf '%s' "$talk"; printf '\n\n%s' "$talk"; }
is "$(two | chat --messages)" "$(chat -c Hi Hi)" "conversations one after the other"
two >a.json
echo "{\"messages\": $talk}" >b.json
is "$(chat --messages a.json b.json)" "$(chat -c Hi Hi Hi)" "in files, as arrays or objects"
is "$(ds-tokenize -m tiny --messages --seq 7 -a a.json | frame show | grep -c '\[8, 0, [0-9]*, 3\]')" 1 "each is a sequence"
mkfifo ask reply
rm -f got
ds-tokenize -m tiny --messages <ask >reply &
exec 8>ask
(exec 8>&-; ds-detokenize -m tiny -0 --special <reply >got) &
printf '%s' "$talk" >&8
awaited test -s got
ok "a conversation is sent as soon as it is whole" test -s got
exec 8>&-
wait
bad() {         # bad REGEX DESC JSON
	printf '%s' "$3" >bad.json
	fails_with 1 "'bad.json': .*$1" "$2" ds-tokenize -m tiny --messages -o out bad.json
}
bad "without messages" "a conversation without messages" '[]'
bad "middle of a conversation" "one that is cut short" '[{"role": "user", "content": "H'
bad "must begin" "text" 'Hello'
bad "must begin" "something after it" "$talk x"
bad "not valid JSON" "a comma too many" '[{"role": "user",, "content": "H"}]'
bad "not UTF-8" "bytes that are not UTF-8" "$(printf '[{"role": "user", "content": "\377"}]')"
bad "NUL" "a NUL" '[{"role": "user", "content": "\u0000"}]'
bad "not an object" "a message that is no object" '["Hi"]'
bad "role is missing" "a message without a role" '[{"content": "Hi"}]'
bad "messages is 5" "an object of another kind" '{"messages": 5}'
bad "unknown key 'tool'" "a key that is not known" "{\"messages\": $talk, \"tool\": []}"
bad "undefined|has no attribute" "a message without content is an error of the template" '[{"role": "user"}]'
fails_with 3 "cannot open 'nowhere.json'" "a file that is not there" ds-tokenize -m tiny --messages -o out nowhere.json
fails_with 2 "-0 does not go with --messages" "-0 is for texts" ds-tokenize -m tiny --messages -0

# --- templates that fail ---
jinja() {       # jinja STATUS REGEX DESC TEMPLATE
	printf '%s\n' "$4" >bad.jinja
	fails_with "$1" "$2" "$3" ds-tokenize -m tiny -c --template bad.jinja -o out Hi
}
jinja 1 "'bad.jinja': line 2: " "a mistake in a template names its line" "x
{% if %}"
jinja 1 "'bad.jinja': line 1: not that$" "raise_exception is one line" "{{ raise_exception('not
that') }}"
jinja 1 "'missing' is undefined" "an undefined variable that is used" '{{ missing.x }}'
jinja 1 "unknown tag 'include'|no loader" "no file is read" '{% include "/etc/passwd" %}'
jinja 1 "is unsafe|has no attribute" "the sandbox holds" "{{ ''.__class__.__mro__[1].__subclasses__() }}"
unset DS_PYTHON
trap '' XCPU    # whatever ds-tokenize has inherited
jinja 1 "exceeded its limit of processor time" "a loop without end" \
    '{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}'
trap - XCPU
jinja 1 "more than [0-9]* MiB of memory" "memory without end" "{{ 'a' * 9999999999 }}"
jinja 1 "calls itself without end" "recursion without end" '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}'
served
config "$C" 'chat_template=5'
fails_with 1 "chat_template is 5" "a template that is no text is refused" ds-tokenize -m tiny -c -o out Hi
config "$C" 'bos_token=null' 'chat_template="{{ bos_token }}x"'
is "$(chat -c Hi)" "x|" "a token that is null is empty"
echo '{"chat_template": "{{ bos_token }}x"}' >tiny/tokenizer_config.json
fails_with 1 "no bos_token, which the chat template" "one that is not there is refused where it is read" ds-tokenize -m tiny -c -o out Hi

# --- Python ---
echo '{"chat_template": "x"}' >tiny/tokenizer_config.json
cat >without <<EOP
#!/bin/sh
exec "$PY" -c 'import runpy, sys; sys.modules["jinja2"] = None; runpy.run_path(sys.argv[2], run_name="__main__")' "\$@"
EOP
chmod +x without
DS_PYTHON=$PWD/without
export DS_PYTHON
fails_with 3 "install the package python3-jinja2$" "without jinja2 one line names the package" ds-tokenize -m tiny -c -o out Hi
fails_with 3 "install the package python3-jinja2$" "also of ds-detokenize" sh -c 'ds-tokenize -m tiny Hi | ds-detokenize -m tiny -c'
DS_PYTHON=/nonexistent/python
fails_with 3 "cannot run '/nonexistent/python'" "without Python another" ds-tokenize -m tiny -c -o out Hi
DS_PYTHON=/bin/false
fails_with 3 "its renderer, /bin/false, ended with status 1" "a Python that fails" ds-tokenize -m tiny -c -o out Hi
printf '#!/bin/sh\necho hello\nexec sleep 100\n' >junk
chmod +x junk
DS_PYTHON=$PWD/junk
fails_with 3 "gave an invalid answer" "a Python that is none" ds-tokenize -m tiny -c -o out Hi
done_testing
