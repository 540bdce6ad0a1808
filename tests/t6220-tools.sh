#!/bin/sh
# The tools that look at frames, in pipes with what every system has: each in the same way.
# only: asan
. "${0%/*}/lib.sh"
export DS_MODEL="$M"

ds-tokenize -c -a "What is 3 + 4?" "Why?" >prompt
ds-embed <prompt | ds-block -l 0 | ds-attn -l 1 --tap attn.probs | ds-route -l 1 | tee routed |
	ds-expert -l 1 | tee stream | ds-block | ds-head >logits
ds-cut --seq 1 <stream >single
ds-embed --trace <prompt | ds-block >traced
ds-poke --tensor h --pos 5 --scale 1.5 <stream >other
is "$(for f in routed stream logits other single traced; do frame check <$f; done | grep -vc '^[23] frames$')" 0 "the streams to look at are there"

# the input, and a command that reads it, named FROM; - is standard input
cat >tools <<'X'
stream ds-cut --pos 2- -i FROM
stream ds-cut -i FROM
stream ds-poke -i FROM
stream ds-dump -i FROM
stream ds-dump -f json -i FROM
stream ds-dump -f csv -i FROM
stream ds-dump -f ids -i FROM
stream ds-dump -f npy -i FROM
single ds-dump -f safetensors -i FROM
traced ds-dump -f trace -i FROM
stream ds-hash FROM
stream ds-diff stream FROM
stream ds-diff FROM stream
routed ds-stat --experts -i FROM
routed ds-stat --json -i FROM
traced ds-stat --trace -i FROM
logits ds-score --tokens -i FROM
logits ds-score --json -i FROM
stream ds-plot -f norm -i FROM
routed ds-plot -f load -i FROM
stream ds-plot -f probs -l 1 -i FROM
logits ds-plot -f surprise -i FROM
traced ds-plot -f trace -i FROM
X
is "$(cut -d' ' -f2 tools | sort -u | tr '\n' ' ')" "ds-cut ds-diff ds-dump ds-hash ds-plot ds-poke ds-score ds-stat " "each tool is here"

cat >gone.py <<'X'
"""gone.py IGNORED COMMAND: its standard output is a pipe that nobody reads any more; prints its status and what it says"""
import os, signal, subprocess, sys
if sys.argv[1] == "1":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
r, w = os.pipe()
os.close(r)
p = subprocess.run(sys.argv[2:], stdout=w, stderr=subprocess.PIPE, restore_signals=False)
print(p.returncode, p.stderr.decode())
X

mkfifo fifo
while read -r input command; do
	from() { printf %s "$command" | sed "s,FROM,$1,"; }
	# bytes NAME: what the command wrote with the last way of reading, as with a file
	bytes() { cmp whole got >>why 2>&1 || echo "$1: other output" >>why; }
	$(from "$input") >whole 2>said
	status=$?
	ok "$command prints something, and says nothing" sh -c 'test -s whole && test ! -s said && test "$1" -eq 0' - $status
	: >why
	$(from -) <"$input" >got 2>>why; bytes "standard input"
	cat "$input" | $(from /dev/stdin) >got 2>>why; bytes "/dev/stdin"
	timeout 20 sh -c 'cat "$1" >fifo' - "$input" &
	$(from fifo) >got 2>>why; bytes "a FIFO"; wait
	dd if="$input" ibs=61 obs=61 2>dd | $(from -) >got 2>>why; bytes "in pieces"
	is "$(cat why)" "" "it reads pipes as it does files"

	for ignored in 0 1; do
		py gone.py $ignored $(from "$input")
	done >why
	is "$(sort -u why | tr -d '\n')" "-13 " "a reader that has gone ends it quietly"
	fails_with 3 "^${command%% *}: .*(cannot write|No space left)" "a full disk does not look like success" sh -c 'exec "$@" >/dev/full' - $(from "$input")
	fails_with 3 "^${command%% *}: .*ended without an end frame" "nor does empty input" sh -c 'exec "$@" </dev/null' - $(from -)
	fails_with 3 "^${command%% *}: .*frame 1 ends after 1000 of" "nor a stream that was cut" sh -c 'head -c 1000 "$0" | "$@"' "$input" $(from -)
	fails_with 3 "^${command%% *}: .*cannot (open|read)" "nor a closed standard input" sh -c 'exec "$@" <&-' - $(from -)
	fails_with 3 "^${command%% *}: .*'nowhere/stream'.*No such file" "nor a file that is not there" $(from nowhere/stream)
	echo "not a frame, but a text that is longer than a preamble" >text
	case $command in ds-cut* | ds-poke*) wrong=1 ;; ds-diff*) wrong=3 ;; *) wrong=[13] ;; esac
	$(from text) >got 2>said
	like "$? $(wc -l <said) $(cat said)" "^$wrong 1 ${command%% *}: .*frame 1: " "nor a file of something else"
	echo "a short text" >text
	$(from text) >got 2>said
	like "$? $(cat said)" "^$wrong ${command%% *}: .*frame 1: not a frame: " "nor one that is shorter than a preamble"
done <tools

# JSON, with what is hard to put into it
py - >odd <<'X'
import frame, numpy as np, sys
nan, inf = np.nan, np.inf
frame.write_frame(sys.stdout.buffer, {"at": "a \"b\"\\\n\t\x7f\u2028é", "spans": [[2**64 - 1, 0, 2, 0]], "key\"\n": {"k": [None, True, -1.5, b"\1\xff"]}, "edits": ["x\u0000"]},
    {"a b\"\\\x01": np.array([[nan], [-inf]], "<f4"), "h": np.array([[1e-45], [inf]], "<f4"), "n": np.array([[-2**63], [2**63 - 1]], "<i8")})
frame.write_frame(sys.stdout.buffer, {"op": "free", "seq": 2**64 - 1})
frame.write_frame(sys.stdout.buffer, {"op": "end"})
X
ds-poke <odd --tensor h --scale 3 >edited
for input in stream routed logits traced odd edited; do
	for command in "ds-dump -f json" "ds-dump -f trace" "ds-stat --json" "ds-stat --json --experts" "ds-stat --json --trace"; do
		ok "$command of '$input' is JSON" pipe '$0 <"$1" 2>said | jq -c . >got; case ${PIPESTATUS[*]} in "0 0") test -s got ;; "1 0") grep -Eq "no frame.*( trace|ds-route)" said ;; *) false ;; esac' "$command" "$input"
	done
	ok "ds-diff --json of '$input' is JSON" pipe 'ds-diff --json "$0" odd | jq -e "has(\"first\") and .a == \"$0\" and (.same | type) == \"boolean\""; case ${PIPESTATUS[*]} in [01]" 0") ;; *) false ;; esac' "$input"
done
ok "ds-score --json is JSON" pipe 'ds-score --json --tokens <logits | jq -e "has(\"record\")"'
ok "ds-score --json of sequences adds up" pipe 'ds-score --json <logits | jq -es "(map(select(.record == \"sequence\").tokens) | add) == map(select(.record == \"total\"))[0].tokens"'
is "$(ds-stat --json <routed | jq -r 'select(.record == "tensor" and .name == "h") | "\(.stage) \(.layer)"')" "attn 1" "keys are found by their names"
is "$(ds-diff --json stream other | jq -c '.first | [.stage, .layer, .seq, .pos, .tensor, .index]')" '["expert",1,0,5,"h",0]' "so is the first difference"
is "$(ds-dump -f json <logits | jq -r 'select(.at == "sample") | .tensors[] | select(.name == "logits").data | length' | awk '{ n += $1 } END { print n }')" \
    "$(ds-dump -f ids <logits | wc -w)" "and data has as many rows as its shape says"

# one record a line, with the same number of fields
fields() { awk '{ print NF }' | sort -u | tr '\n' ' '; }
is "$(ds-hash odd stream | fields)" "8 " "a line of ds-hash has eight fields, whatever the names are"
is "$(ds-diff stream other | awk '/^[a-z]+ (layer|-|[0-9]+) /' | fields)" "13 " "one of ds-diff's table thirteen"
is "$(ds-stat <odd | awk '$1 == "tensor"' | cut -c1-90 | awk '{ print ($2 != "" && $3 == "-" && NF >= 5) }' | sort -u)" 1 "a name with blanks is one field of ds-stat"
is "$(ds-score --tokens <logits | awk '$1 == "sequence"' | fields)" "7 " "a sequence of ds-score has seven"
is "$(ds-dump -f csv <stream | awk -F, '{ print NF }' | sort -u)" 11 "a line of CSV eleven"
is "$(ds-dump -f csv <stream | tail -n +2 | sort -t, -k11g | sed -n 1p | cut -d, -f6)" h "sort finds the least number"

# standard tools between two programs
ok "tee and a FIFO" pipe 'rm fifo; mkfifo fifo; ds-stat -i fifo >a & tee fifo <stream | ds-cut --pos 0 | ds-dump | grep "attn layer 2" >/dev/null && wait $! && ds-stat <stream | cmp - a'
ok "split and cat" pipe 'split -b 5000 stream part. && cat part.* | ds-diff -q - stream'
ok "gzip" pipe 'gzip <stream >stream.gz && gzip -dc stream.gz | ds-hash | cmp - <(ds-hash stream)'
ok "bash gives FIFOs of its own" pipe 'ds-diff -q <(ds-cut --seq 1 <stream) <(ds-cut --seq 1 <stream | cat)'
ok "numpy reads from a pipe" pipe 'ds-dump -f npy --tensor h <stream | "$PY" -c "import io, numpy, sys; a = numpy.load(io.BytesIO(sys.stdin.buffer.read())); sys.exit(a.shape[1] != 256)"'
ok "two stages share a descriptor: none reads past the end frame" pipe 'cat prompt prompt | (ds-embed >a; ds-embed >b) && ds-embed <prompt | cmp - a && cmp a b'

# several streams: operands, -i, one file, one pipe
ds-tokenize -a "ab" | ds-embed | ds-block -l 0 | ds-attn -l 1 --tap attn.probs | ds-route -l 1 >routed2
ds-expert -l 1 <routed2 | tee stream2 | ds-block | ds-head >logits2
ds-tokenize -a "ab" >prompt2
while read -r input command; do
	[ -e "${input}2" ] || continue
	of() { $(printf %s "$command" | sed "s,-i FROM,$1,; s,FROM,$1,"); }
	cat "$input" "${input}2" >both
	of "$input ${input}2" >whole 2>said
	is "$? $(wc -c <said)" "0 0" "$command: two operands"
	: >why
	of "-i $input ${input}2" >got 2>>why; bytes "-i and an operand"
	of "-i $input -i ${input}2" >got 2>>why; bytes "-i twice"
	of both >got 2>>why; bytes "a file of both"
	of - <both >got 2>>why; bytes "standard input"
	of "- ${input}2" <"$input" >got 2>>why; bytes "standard input first"
	of "$input -" <"${input}2" >got 2>>why; bytes "standard input last"
	of "$input fifo" >got 2>>why & timeout 20 sh -c 'cat "$0" >fifo' "${input}2"; wait $!; bytes "a FIFO last"
	is "$(cat why)" "" "... and all other ways to give both"
	of "$input" >one 2>said
	[ "$input" = prompt ] || is "$(cmp -s one whole && echo same)" "" "... the second counts"
	cat both | of - >got 2>said
	case $command in
	ds-cut* | ds-poke*)
		is "$? $(cat said)" "3 ${command%% *}: standard input: another stream follows the end frame, and is left unread: give the streams as operands" "... a pipe's end is passed on, and the rest is named"
		same one got "... what was passed on is the first"
		is "$(frame show <whole | grep -c '"op": "end"')" 1 "... one end comes out of two" ;;
	*)
		is "$? $(cat said)" "0 " "... a pipe is read to its end"
		same whole got "... as well" ;;
	esac
	fails_with 3 "^${command%% *}: .*'nowhere/stream'.*No such file" "... the second is not there" of "$input nowhere/stream"
	is "$(cat .out)" "" "... which is noticed before anything is printed"
	fails_with 3 "^${command%% *}: .*ended without an end frame" "... nor may it be empty" of "$input /dev/null"
	(cat "$input"; head -c 1000 "${input}2") >short
	case $input in prompt) ;; *) fails_with 3 "^${command%% *}: .*short: frame [0-9]* ends after" "... nor cut short" of short ;; esac
done <<X
stream ds-cut --pos 1- -i FROM
stream ds-cut -i FROM
stream ds-poke -i FROM
stream ds-dump -i FROM
stream ds-dump -f json -i FROM
stream ds-dump -f ids -i FROM
stream ds-hash FROM
stream ds-stat -i FROM
logits ds-score --tokens -i FROM
routed ds-plot -f load -i FROM
stream ds-plot -f norm -i FROM
prompt ds-detokenize -i FROM
X
like "$(ds-detokenize prompt prompt2; ds-detokenize prompt2 | tail -n 1)" "^ab$" "the text of both"
is "$(ds-detokenize -0 prompt prompt2 | tr -dc "\0" | wc -c)" 3 "each sequence has its line, also where numbers come again"
is "$(ds-score logits logits2 | awk '$1 == "sequence"' | wc -l) $(ds-score logits logits2 | awk '$1 == "total" { print $2 }')" "3 3" "so it is in ds-score"
is "$(ds-dump -f ids prompt prompt2)" "$(ds-dump -f ids prompt; ds-dump -f ids prompt2)" "ds-dump has all tokens"
like "$(cat stream stream2 | ds-diff stream - 2>&1; ds-diff stream stream2 >/dev/null; echo $?)" "^1$" "ds-diff reads on, too"
ok "in a ring the end is not kept back" pipe 'mkfifo loop; ds-embed -i prompt -i loop | ds-cut | ds-block | ds-poke --tensor h --scale 1 | ds-head |
	ds-sample -g -n 3 | ds-cut | tee loop | ds-detokenize'

# -l: the same list in every program that has layers
ds-embed <prompt | ds-block -l 0-1 >two
for command in ds-attn ds-route ds-expert ds-block ds-info ds-cut "ds-poke --tensor h --zero" ds-plot "ds-bench --limits 20,200"; do
	for list in 2-1 2-x x , 2, 1,,2 -1 ""; do
		fails_with 2 "^${command%% *}: -l '$list': give numbers as 3, 0-20, 0-2,5 or 10-$" "$command -l '$list'" $command -l "$list" -m "$M"
	done
done
for command in ds-attn ds-route ds-expert ds-block ds-info "ds-bench --limits 20,200"; do
	for list in 4 4- 0-4 1,2-4; do
		fails_with 2 "^${command%% *}: -l '$list': layers are 0 to 3, written 3, 0-20, 0-2,5 or 10-$" "$command -l $list" $command -l $list -m "$M"
	done
done
for pair in 2- 0-,2 0,2- 2-3,2; do
	case $pair in 0-,2) want=0-3 from=prompt ;; 0,2-) want=0,2-3 from=two ;; *) want=2-3 from=two ;; esac
	ds-embed -i $from -o in 2>err
	ok "ds-block -l $pair is -l $want" pipe 'ds-block -l "$0" -i in -o a && ds-block -l "$1" -i in -o b && cmp a b' $pair $want
	ok "ds-info -l $pair is -l $want" pipe 'ds-info -l "$0" >a && ds-info -l "$1" >b && cmp a b' $pair $want
done
ds-cut -l 2- <two >a
ds-cut -l 2-3 <two >b
same a b "ds-cut -l 2- is -l 2-3"
done_testing
