#!/bin/sh
# ds-run --plan: processes on several hosts, the answers of one, whatever dies meanwhile, and nothing left behind.
# only: asan
# first: yes
. "${0%/*}/lib.sh"
export DS_MODEL=$M
"$PY" -c 'import zmq' 2>/dev/null || skip_all "no python3-zmq"
unset DS_RSH DS_KEY DS_PEERS

DS_TEST_MARK=$S
export DS_TEST_MARK     # what ds-run starts inherits it: nobody else has it

# the processes with our mark: name, pid, command line
cat >left.py <<'EOP'
import glob, os, sys
for p in glob.glob("/proc/[0-9]*"):
    try:
        env, stat = open(p + "/environ", "rb").read(), open(p + "/stat").read()
        line = open(p + "/cmdline", "rb").read().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        continue
    name, state = stat.split("(")[1].split(")")[0], stat.split(") ")[1][0]
    if name.startswith("ds-") and (b"DS_TEST_MARK=" + os.environ["DS_TEST_MARK"].encode()) in env.split(b"\0") and state != "Z":
        print(name, p[6:], line)
EOP
left() {
	py left.py
}

nobody_left() {
	left >left
	[ ! -s left ]
}

# clean DESC: soon there is no process of ours, and no folder of theirs
clean() {
	awaited nobody_left
	is "$(cat left; ls -d "$TMPDIR"/ds-run.* 2>/dev/null)" "" "$1"
}

TMPDIR=$S/tmp
export TMPDIR
mkdir "$TMPDIR"

# --- plans ---
set -- $(ports 7)
feed=$1 take=$2 loop=$3 p=$4 q=$5 r=$6 t=$7
ln -s "$M" "a model's folder"
m="'$S/a model'\\''s folder'"

cpu=$(taskset -pc $$ | sed 's/.*: //; s/[,-].*//')
cat >one.plan <<EOP
# all on one host
plan 1

host alpha 127.0.0.1
feed tcp://{alpha}:$feed
take tcp://{alpha}:$take
run alpha ds-embed -m $m -i @tcp://{alpha}:$feed -i @ipc://{run}/loop -o ipc://{run}/0
run alpha ds-block -m $m -t 1 -i @ipc://{run}/0 -o ipc://{run}/1
run alpha env taskset -c $cpu ds-head -m $m -i @ipc://{run}/1 -o ipc://{run}/2
run alpha ds-sample -m $m -i @ipc://{run}/2 -o ipc://{run}/loop -o @tcp://{alpha}:$take
EOP
cat >two.plan <<EOP
plan 1
host alpha 127.0.0.1
host beta 127.0.0.2
feed tcp://{alpha}:$feed
take tcp://{beta}:$take
run alpha ds-embed -m $M -i @tcp://{alpha}:$feed -i @tcp://{alpha}:$loop -o ipc://{run}/0
run alpha ds-block -m $M -t 1 -l 0-1 -i @ipc://{run}/0 -o tcp://{beta}:$p
run beta ds-block -m $M -t 1 -l 2-3 -i @tcp://{beta}:$p -o ipc://{run}/0
run beta ds-head -m $M -t 1 -i @ipc://{run}/0 -o ipc://{run}/1
run beta ds-sample -m $M -n 30 -i @ipc://{run}/1 -o tcp://{alpha}:$loop -o @tcp://{beta}:$take
EOP
sed '/^host beta/a host gamma 127.0.0.3 spare' two.plan >spare.plan
cat >three.plan <<EOP
plan 1
host alpha 127.0.0.1
host beta 127.0.0.2
host gamma 127.0.0.3
feed tcp://{alpha}:$feed
take tcp://{gamma}:$take
run alpha ds-embed -m $M -i @tcp://{alpha}:$feed -i @tcp://{alpha}:$loop -o ipc://{run}/0
run alpha ds-block -m $M -t 1 -l 0 -i @ipc://{run}/0 -o ipc://{run}/1
run alpha ds-attn -m $M -t 1 -l 1 -i @ipc://{run}/1 -o ipc://{run}/2
run alpha ds-route -m $M -t 1 -l 1 -i @ipc://{run}/2 -o tcp://{beta}:$p -o tcp://{gamma}:$q
run beta ds-expert -m $M -t 1 -l 1 -e 0-7 -i @tcp://{beta}:$p -o tcp://{gamma}:$r
run gamma ds-expert -m $M -t 1 -l 1 -e 8-15,s -i @tcp://{gamma}:$q -o ipc://{run}/0
run gamma ds-join -m $M -i @tcp://{gamma}:$r -i @ipc://{run}/0 -o ipc://{run}/1
run gamma ds-block -m $M -t 1 -l 2-3 -i @ipc://{run}/1 -o ipc://{run}/2
run gamma ds-head -m $M -t 1 -i @ipc://{run}/2 -o ipc://{run}/3
run gamma ds-sample -m $M -i @ipc://{run}/3 -o tcp://{alpha}:$loop -o @tcp://{gamma}:$take
EOP

# --- the same text ---
for args in "-g -n 200" "-T 0.8 -S 7 -q -n 1000" "-w -T 1 -k 5 -p 0.9 -n 20"; do
	limited ds-run $args "12+30=" "Say so" >want
	for plan in one two three; do
		ok "$plan.plan, $args: it runs" \
		    ds-run --plan $plan.plan $args "12+30=" "Say so"
		same .out want "... and says what one process does"
		is "$(cat .err)" "" "... and no more"
	done
done
# with keys on the programs that have a tcp link, as ds-plan does it; -vv reaches them all
for k in key driver.key; do ds-keygen $k >>peers; done
limited ds-run -g -n 4 "12+30=" >want
for plan in one two three; do
	sed "/^run.*tcp:/s, -i , --key $S/key --peers $S/peers&," $plan.plan >keyed.plan
	limited ds-run -vv -g -n 4 --key driver.key --peers peers --plan keyed.plan \
	    "12+30=" >got 2>said
	report $? "$plan.plan with keys: it runs" said
	same got want "... and says what one process does"
	is "$(grep -Ec '^(alpha|beta|gamma): ds-[a-z]+: [0-9]+ frames in, [0-9]+ out$' said)" "$(grep -c '^run' keyed.plan)" \
	    "... and with -vv each program says what it did, the host in front"
done
fails_with 2 "^ds-run: plan 'keyed.plan' has keys: give --key FILE and --peers FILE" "a plan with keys needs one here, too" \
    ds-run --plan keyed.plan hi
sed "/^run.*tcp:/s, -i , --key $S/key --peers $S/peers&,; /^run beta/s,$S/key,$S/nokey," two.plan >bad.plan
fails_with 2 "^ds-run: beta: ds-[a-z]*( -l 2-3)?: @(tcp|ipc):[^ ]*: cannot open '$S/nokey'" "a host without its key is named, once" \
    ds-run --key driver.key --peers peers --plan bad.plan hi
fails_with 2 "^ds-run: tcp://127.0.0.1:$feed: cannot open 'nokey'" "... and so is one's own that is not there" \
    ds-run --key nokey --peers peers --plan keyed.plan hi
limited ds-run -g -n 30 "What is 37 * 46?" >want.shell
limited ds-run -g --plan two.plan "What is 37 * 46?" >got
same got want.shell "options of the plan's ds-sample hold where ds-run's say nothing"
limited ds-run -n 0 "a" "b" >want
limited ds-run -n 0 --plan two.plan "a" "b" >got
same got want "no tokens make empty answers"
printf 'What is 12 * 99?' | limited ds-run -g -n 20 >want
printf 'What is 12 * 99?' | limited ds-run -g -n 20 -v --plan one.plan >got 2>said
same got want "standard input is a prompt"
like "$(cat said)" '^ds-run: 15 prompt tokens, [0-9]+ generated, .* tokens/s' "-v counts"
mkdir small     # a model of two layers that knows digits
cp "$G/mtp/config.json" "$G/mtp/model.safetensors" "$M"/tokenizer*.json small
sed "s,-m $M,-m $S/small,; s/-l 0-1/-l 0/; s/-l 2-3/-l 1/" two.plan >small.plan
seq 1100 >many
limited ds-run -m small -w -T 1 -n 2 --lines many >want
limited ds-run -m small -w -T 1 -n 2 --plan small.plan --lines many >got
same got want "more prompts than are kept at a time are answered in order"
long=$(yes '1+1=?' | head -500 | tr '\n' ' ')
limited ds-run -g -q "What is 37 * 46?" "$long" "12+30=" >want 2>/dev/null
limited ds-run -g -q --plan three.plan "What is 37 * 46?" "$long" "12+30=" >got 2>said
is "$?, $(wc -l <said)" "1, 1" "a prompt that is too long makes the status 1, in one line"
like "$(cat said)" "^ds-detokenize: sequence 1 failed: ds-embed: [0-9]+ tokens are more than max_position_embeddings 2048$" "... which says which"
same got want "... and costs its own answer alone"
printf 'What is 37 * 46?\n%s\n12+30=\n' "$long" >lines
limited ds-run -g -q --plan three.plan --lines lines >got 2>said
is "$?, $(wc -l <said)" "1, 1" "so it does among the lines of a file"
same got want "... which are answered as operands are"
clean "nothing is left of all that"

# --- killed: what dies when so much has been said ---
# start BYTES ARG...: ds-run in the background, $run, that has printed so much
more="-T 1000 -n 60"    # no answer may end before what is to die has died
mkfifo answers
start() {
	bytes=$1; shift
	timeout -k 2 "$LIMIT" ds-run -w -S 1 $more "$@" "12+30=" "${ASK-What}" "7" >answers 2>said &
	run=$!
	exec 5<answers
	head -c "$bytes" <&5 >out
}
# ended: with the status of ds-run; all that it printed is in out
ended() {
	cat <&5 >>out
	exec 5<&-
	wait $run
}
# victim PATTERN: $pid, the process that ds-run started whose words match; starts none itself
victim() {
	pattern=$1
	set -- $run
	while [ $# -gt 0 ]; do
		pid=$1 words='' children=''
		{
			read -r words <"/proc/$pid/cmdline"
			read -r children <"/proc/$pid/task/$pid/children"
		} 2>/dev/null
		case $words in $pattern) return 0 ;; esac
		shift
		set -- "$@" $children
	done
	pid=
	return 1
}
# killed PATTERN...
killed() {
	for words_of; do
		victim "$words_of" && kill -9 $pid
	done
}
limited ds-run -w -S 1 $more "12+30=" "What" "7" >want
bytes=20 again=0
for name in ds-embed "ds-block -l 0-1" ds-sample "ds-run --agent" "ds-block -l 2-3" ds-head; do
	start $bytes --plan two.plan
	case $name in
	*-l*) killed "${name% -l*}*${name#* }*" ;;
	*agent) killed "*ds-run--agent*" ;;
	*) killed "$name*" ;;
	esac
	ended
	report $? "a killed $(echo "${name#* }" | sed 's/.*-l/block -l/; s/--//; s/ds-//') is not the end" said
	same out want "... and changes nothing"
	case $name in *agent) name="its agent" ;; esac
	restarted="killed by signal 9; started again(, [123] answers? goe?s? on)?"
	if grep -Eqx "ds-run: (alpha|beta): $name: $restarted" said; then
		again=$((again + 1))
	else
		is "$(cat said)" "" "... of which nothing is said only where it was not needed any more"
	fi
	bytes=$((bytes + 12))
done
ok "most of them were killed in time" [ $again -ge 3 ]
timeout -k 2 "$LIMIT" ds-run -w -S 1 $more "12+30=" "$long" "7" >others 2>/dev/null
ASK=$long start 40 --plan two.plan
killed "ds-head*"
ended
is "$?, $(grep -c "sequence 1 failed" said)" "1, 1" "a sequence that failed is not begun again with the others"
same out others "... which go on where they were"
clean_up() {    # agents that were killed leave their folders
	rm -rf "$TMPDIR"/ds-run.*
}
clean_up
clean "nothing is left of them"
start 40 --plan three.plan
killed "ds-join*" "ds-expert*-e0-7*"
ended
report $? "two at a time are not the end" said
same out want "... and change nothing"
start 20 --plan one.plan
for i in 1 2 3; do
	killed "ds-head*"
	head -c 30 <&5 >>out
done
ended
report $? "the same one again and again is not the end, as long as there are new tokens between" said
same out want "... and changes nothing"

# --- a host vanishes ---
start 40 --timeout 2 --plan spare.plan
victim "ds-head*"
agent=$(awk '{ print $4 }' "/proc/$pid/stat")
kill -STOP "$agent" $(cat "/proc/$agent/task/$agent/children")
ended
report $? "a host that is silent is not the end" said
same out want "... and changes nothing"
like "$(cat said)" "^ds-run: beta: no sign of life for 2 seconds; gamma replaces beta, [123] answers? goe?s? on$" "... a spare takes its place"
start 40 --plan spare.plan
killed "*ds-run--agent*"
ended
report $? "a host whose agent dies is not the end" said
same out want "... and changes nothing"
like "$(cat said)" "its agent: killed by signal 9; gamma replaces (alpha|beta)" "... a spare takes its place"
clean_up
clean "nothing is left of them"

# --- a program stands still ---
# (ds-head has links by ipc:// alone, where libzmq notices nothing)
for name in ds-head ds-sample ds-block; do
	start 40 --timeout 1 --plan two.plan
	victim "$name*"
	kill -STOP $pid
	ended
	report $? "$name stands still, and is noticed" said
	same out want "... which changes nothing"
	restarted="stopped by signal 19 for 1 seconds; started again"
	like "$(cat said)" "^ds-run: (alpha|beta): $name.*: $restarted" "... it is named"
done
start 40 --timeout 3 --plan two.plan
victim "ds-head*"
kill -STOP "$pid"; sleep 0.3; kill -CONT "$pid"
ended
is "$? $(cat said)" "0 " "one that goes on in time is left alone"
clean "nothing is left of them"

# --- what does not help ---
for bad in "$S/none" /proc "$S/one.plan"; do
	fails_with 3 "^ds-run: (alpha|beta): cannot create a folder in '$bad': " "agents cannot create a folder in ${bad##*/}: said at once" \
	    env TMPDIR="$bad" ds-run --plan two.plan hi
done
sed 's/127.0.0.2/10.255.255.255/' spare.plan >bad.plan
ok "where there is a spare, it takes its place" limited ds-run --unsafe -g --plan bad.plan \
    --rsh "env TMPDIR=/proc sh -c 'exec \"\$@\"'" "What is 37 * 46?"
like "$(cat .err)" "^ds-run: beta: cannot create a folder in '/proc': .*; gamma replaces beta(, 1 answer goes on)?$" "... and says why"
sed 's/127.0.0.1/10.1.2.3/' two.plan >bad.plan
fails_with 2 "^ds-run: tcp://10.1.2.3:$feed: any host on the way .*--key FILE.* or --unsafe" \
    "a plan's ends on other hosts need keys, before a host is called" ds-run --rsh false --plan bad.plan hi
sed 's/-l 2-3/-l 2-33/' two.plan >bad.plan
fails_with 2 "^ds-run: beta: ds-block -l 2-33: -l '2-33': layers are 0 to 3" "a wrong command line is final" ds-run --plan bad.plan hi
sed "s,ds-head -m $M,ds-head -m $S/none," two.plan >bad.plan
fails_with 1 "^ds-run: beta: ds-head: .*none" "a wrong model is final" ds-run --plan bad.plan hi
sed 's/ds-head/ds-heady/' two.plan >bad.plan
limited ds-run --plan bad.plan hi >out 2>said
is "$? $(tail -n 1 said)" "3 ds-run: beta: ds-heady: cannot run 'ds-heady': No such file or directory (failed 4 times in a row)" \
    "what fails again and again is final"
is "$(grep -c 'started again' said)" 3 "... after three new starts"
sed 's/127.0.0.2/10.255.255.255/' spare.plan >bad.plan
ok "a host that cannot be reached is replaced" limited ds-run --unsafe --rsh 'sh -c "printf \"no way\r\n\" >&2; exit 1"' -g --plan bad.plan "What is 37 * 46?"
like "$(cat .err)" "^ds-run: beta: its agent: no way; gamma replaces beta(, 1 answer goes on)?$" "... and named"
sed '/ds-head/d; s,{run}/1,{run}/0,' two.plan >bad.plan
fails_with 1 "^ds-run: beta: ds-sample: sequence 0 still waits for head" "a plan that lacks a stage is an error" ds-run --plan bad.plan hi
sed "s/@ipc:..{run}.1/@ipc:\/\/{run}\/9/; s/ -i / --timeout 1 -i /" two.plan >bad.plan
DS_WAIT=0.8 limited ds-run --plan bad.plan hi >out 2>said
status=$?
like "$status $(tail -n 1 said)" '^3 ds-run: .*no program connected for 0.8 seconds.*failed 4 times in a row' "links that nobody connects to are an error"
fails_with 1 "^ds-run: ds-(de)?tokenize: .*none" "our own programs' errors are final" ds-run -m none --plan two.plan hi
clean "nothing is left of them"

# --- through a remote shell ---
cat >rsh <<'EOP'
#!/bin/sh
# rsh NAME ADDRESS COMMAND...
echo "$1 to $2" >>called
shift 2
echo "Welcome to this host!"
exec sh -c "$*"
EOP
chmod +x rsh
sed 's/127.0.0.2/0x7f.0.0.2/; s/ -i @tcp:..{beta}/ --unsafe&/; s/ -o @tcp/ --unsafe&/' two.plan >shell.plan
ok "hosts are reached by the command of --rsh" limited ds-run -g --rsh "./rsh 'my shell'" --plan shell.plan "What is 37 * 46?"
same .out want.shell "... where the line says the same"
is "$(cat called)" "my shell to 0x7f.0.0.2" "... but what is on this host is started directly"
rm called
ok "... or of DS_RSH" env DS_RSH="./rsh me" timeout "$LIMIT" ds-run -g --plan shell.plan "What is 37 * 46?"
is "$(cat called)" "me to 0x7f.0.0.2" "... likewise"
start 40 --rsh "./rsh me" --plan shell.plan
killed "ds-sample*"
ended
report $? "what dies there is started again" said
same out want "... and changes nothing"
clean_up

# --- other weights, other programs ---
# swap TO NAME...: a checkpoint like tiny-r1 but for the bytes of these tensors (all, if none is named)
swap() {
	mkdir "$1"
	for f in "$M"/*; do ln -s "$f" "$1"; done
	rm "$1/model.safetensors"
	py - "$@" <<'EOP'
import sys
from badmodels import read, write
import os
h, data = read(os.environ["M"] + "/model.safetensors")
data = bytearray(data)
for name in sys.argv[2:] or [k for k in h if k != "__metadata__"]:
    b, e = h[name]["data_offsets"]
    for i in range(b, e, 2):
        data[i] ^= 1
write(sys.argv[1] + "/model.safetensors", h, bytes(data))
EOP
}
swap other
swap one model.layers.3.mlp.experts.9.down_proj.weight
swap two model.layers.0.mlp.up_proj.weight model.embed_tokens.weight
# on HOST FOLDER PLAN: the lines of that host with the weights of a folder
on() {
	sed "/^run $1/s,-m $M,-m $S/$2," "$3"
}
on beta other two.plan >bad.plan
fails_with 1 "^ds-run: beta: ds-(block -l 2-3|head): '$S/other': tensor '[a-z0-9_.]*' differs from the manifest: other weights" \
    "a host with other weights is refused, with the tensor" ds-run -g --plan bad.plan "12+30="
on beta one two.plan >bad.plan
fails_with 1 "^ds-run: beta: ds-block -l 2-3: '$S/one': tensor 'model.layers.3.mlp.experts.9.down_proj.weight' differs from the manifest: other weights: copy the model again$" \
    "one tensor is enough" ds-run -g --plan bad.plan "12+30="
on alpha one two.plan >good.plan
ok "where it is mapped" limited ds-run -g --plan good.plan "12+30="
on gamma one three.plan >bad.plan
fails_with 1 "^ds-run: gamma: ds-block -l 2-3: '$S/one': tensor " "another host is the one that is named" ds-run -g --plan bad.plan "12+30="
on alpha two two.plan >bad.plan
fails_with 1 "^ds-run: alpha: ds-(block -l 0-1|embed): '$S/two': tensor 'model.(layers.0|embed).*' differs" "the driver's host may be the one" \
    ds-run -g --plan bad.plan "12+30="
fails_with 1 "^ds-run: (alpha|beta): ds-[a-z]*( -l [0-3-]*)?: '$M': tensor '" "... or its own model another" ds-run -m other -g --plan two.plan "12+30="
on beta one shell.plan >bad.plan
fails_with 1 "^ds-run: beta: ds-block -l 2-3: '$S/one': tensor 'model.layers.3.mlp.experts.9" \
    "through a remote shell" ds-run -g --rsh "./rsh me" --plan bad.plan "12+30="
ds-info --manifest >weights
sed "/^run beta/s,-l 2-3,& --manifest $S/weights," bad.plan >own.plan
fails_with 1 "ds-block -l 2-3: '$S/one': tensor 'model.layers.3.mlp.experts.9" "a line may have a manifest of its own" \
    ds-run -g --rsh "./rsh me" --plan own.plan "12+30="
mkdir bare
for f in config.json generation_config.json tokenizer.json tokenizer_config.json; do [ ! -e "$M/$f" ] || ln -s "$M/$f" bare; done
ds-run -m bare -g -n 30 --plan two.plan "What is 37 * 46?" >got 2>said
same got want.shell "a driver without weights drives"
like "$(cat said)" "^ds-run: the hosts' weights are not compared: 'bare' has no model.safetensors" "... and says that nothing is compared"
ds-run -m bare -g -n 30 --manifest weights --plan two.plan "What is 37 * 46?" >got 2>said
is "$(cat said; cmp got want.shell)" "" "with a manifest it compares, and has nothing to say"
on beta one two.plan >bad.plan
fails_with 1 "^ds-run: beta: ds-block -l 2-3: '$S/one': tensor 'model.layers.3.mlp.experts.9" "... but of other weights" \
    ds-run -m bare --manifest weights -g --plan bad.plan "12+30="
fails_with 1 "^ds-run: alpha: ds-(embed|block|head): '.*': tensor '[^']*' differs" "also where they are those of -m" \
    sh -c 'ds-info -m other --manifest >others && ds-run --manifest others -g --plan one.plan "12+30="'
fails_with 1 "^ds-run: manifest 'said': no manifest" "no manifest is refused" ds-run --manifest said -g --plan two.plan "12+30="
fails_with 2 "^ds-run: --manifest is for the hosts of a plan" "--manifest needs a plan" ds-run --manifest weights hi

# a driver that has a part of the files
mkdir half
for f in config.json generation_config.json tokenizer.json tokenizer_config.json; do [ ! -e "$M/$f" ] || ln -s "$M/$f" half; done
py - <<'EOP'
import json, os
from badmodels import read, write
h, data = read(os.environ["M"] + "/model.safetensors")
h.pop("__metadata__", None)
first = {k for k in h if k.startswith(("model.embed", "model.layers.0.", "model.layers.1."))}
json.dump({"weight_map": {k: "model-0000%d-of-00002.safetensors" % (1 if k in first else 2) for k in h}}, open("half/model.safetensors.index.json", "w"))
out, at = b"", {}
for k in sorted(set(h) - first):
    b, e = h[k]["data_offsets"]
    at[k] = {**h[k], "data_offsets": [len(out), len(out) + e - b]}
    out += data[b:e]
write("half/model-00002-of-00002.safetensors", at, out)
EOP
ds-run -m half -g -n 30 --rsh "./rsh me" --plan shell.plan "What is 37 * 46?" >got 2>said
same got want.shell "a driver with a part of the files drives"
ds-run -m half -g -n 30 --plan two.plan "What is 37 * 46?" >got 2>said
like "$(cat said)" "^ds-run: [0-9]+ of [0-9]+ tensors of the hosts are not compared: 'half/model-00001-of-00002.safetensors' is not here$" \
    "... and says what is not compared"
limited ds-run -m half -g --plan bad.plan "12+30=" >got 2>said
is "$? $(grep -c "^ds-run: beta: ds-block -l 2-3: '$S/one': tensor 'model.layers.3.mlp.experts.9" said)" "1 1" "what is here is compared"
clean "nothing is left of them"

mkdir old
printf '#!/bin/sh\n[ "$1" != -V ] || { echo "ds-head (dspipe) 0.0.9"; exit; }\nexec "%s" "$@"\n' "$(command -v ds-head)" >old/ds-head
chmod +x old/ds-head
sed "s,beta ds-head,beta $S/old/ds-head," two.plan >bad.plan
fails_with 2 "^ds-run: beta: ds-head: it has version 0.0.9 of dspipe, ds-run there has [0-9.]*$" "a program of another version is named" \
    ds-run -g --plan bad.plan "12+30="
sed -i 's/ (dspipe) 0.0.9/ of mine/' old/ds-head
ok "one that is not of dspipe is not asked twice" limited ds-run -g --plan bad.plan "12+30="

# --- at a terminal ---
cat >term.py <<'EOP'
import os, pty, select, signal, subprocess, sys
pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "dumb"
    os.execvp("ds-run", ["ds-run", "-g", "-q", "-n", "120", "--plan", "two.plan"])
def until(text, got=b""):
    while text not in got:
        if not select.select([fd], [], [], 30)[0]:
            sys.exit("nothing more after %r" % got)
        got += os.read(fd, 65536)
    return got.decode().replace("\r\n", "\n")
until(b"> ")
os.write(fd, b"12+30=?\n")
print(until(b"> "))
head = [l for l in subprocess.check_output([sys.executable, "left.py"]).decode().split("\n") if l.startswith("ds-head ")]
os.kill(int(head[0].split()[1]), signal.SIGKILL)
print(until(b"\n"))
os.write(fd, b"12+31=?\n")
print(until(b"\n> "))
os.write(fd, b"/new\n12+31=?\n")
print(until(b"43\r\n> ")[-5:])
os.write(fd, b"\x04")
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
EOP
second=$(ds-run -g -q --messages - <<'EOP'
[{"role": "user", "content": "12+30=?"}, {"role": "assistant", "content": "</think>\n\n42"}, {"role": "user", "content": "12+31=?"}]
EOP
)
py term.py >got 2>said
is "$(cat got said)" "12+30=?
42
> 
ds-run: beta: ds-head: killed by signal 9; started again

12+31=?
$second
> 
43
> 
0" "a conversation at a terminal goes on after a failure, and /new begins another"

# --- stopped ---
sed 's/-n 30//' two.plan >long.plan
# (a timeout would be in between)
stopped() {     # stopped SIGNAL STATUS DESC
	ds-run -w -T 1000 --timeout 1 --plan long.plan $(seq 20) >answers 2>said &
	run=$!
	exec 5<answers
	head -c 20 <&5 >out
	kill -"$1" $run
	ended 2>/dev/null
	is "$? $(cat said)" "$2 " "$3"
	clean "... and nothing is left"
}
stopped TERM 143 "SIGTERM ends all"
stopped HUP 129 "SIGHUP ends all"
stopped KILL 137 "SIGKILL ends all"
env DS_TEST=1 setsid "$PY" - <<'EOP' >out 2>said
import os, signal, subprocess, sys, time
p = subprocess.Popen(["ds-run", "-w", "-T", "1000", "--plan", "long.plan"] + [str(i) for i in range(20)], stdout=subprocess.PIPE)
p.stdout.read(20)
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.killpg(0, signal.SIGINT)
print(p.wait(20))
EOP
is "$(cat out said)" "-2" "control-C ends all"
clean "... and nothing is left"
pipe 'ds-run -w -T 1000 --plan long.plan $(seq 20) | head -c 20 >/dev/null; echo ${PIPESTATUS[0]}' >out 2>said
is "$(cat out said)" 141 "a reader that goes away ends all"
clean "... and nothing is left"

# --- bad command lines and plans ---
fails_with 2 "^ds-run: -x does not go with --plan" "-x does not go with a plan" ds-run -x layer --plan two.plan hi
fails_with 2 "^ds-run: --huge-pages .*: give it to programs in the 'run' lines of 'two.plan'$" \
    "--huge-pages belongs to a plan's lines" ds-run --huge-pages --plan two.plan hi
fails_with 2 "^ds-run: --rsh is for the hosts of a plan" "--rsh needs one" ds-run --rsh ssh hi
fails_with 1 "^ds-run: plan: cannot open 'none.plan'" "a plan that is not there" ds-run --plan none.plan hi
sed '3s/beta/run/' two.plan >bad.plan
fails_with 1 "^ds-run: plan 'bad.plan' line 3: host 'run': a name has letters" "a bad plan" ds-run --plan bad.plan hi
printf 'hello\n' >to.agent
fails_with 1 "^ds-run: 'ds-run --agent' can only be started by ds-run" "an agent without a supervisor" sh -c 'ds-run --agent <to.agent'
done_testing
