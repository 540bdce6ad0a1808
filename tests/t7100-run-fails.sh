#!/bin/sh
# ds-run when something fails: one line that names the cause, and no child left behind.
# only: asan
. "${0%/*}/lib.sh"

DS_TEST_MARK=$S
export DS_TEST_MARK     # what ds-run starts inherits it: nobody else has it

# the processes of ds-run that are still there, by their names
left() {
	py - "$S" <<'EOP'
import glob, sys
for p in glob.glob("/proc/[0-9]*"):
    try:
        env, stat = open(p + "/environ", "rb").read(), open(p + "/stat").read()
    except OSError:
        continue
    name, state = stat.split("(")[1].split(")")[0], stat.split(") ")[1][0]
    if name.startswith("ds-") and (b"DS_TEST_MARK=" + sys.argv[1].encode()) in env.split(b"\0") and state != "Z":
        print(name)
EOP
}

# pid_of PATTERN: the child of ds-run with such a command line
pid_of() {
	for p in $(cat /proc/"$run"/task/"$run"/children); do
		tr '\0' ' ' <"/proc/$p/cmdline" | grep -Eq -e "$1" && echo "$p"
	done
}

count_is() {    # count_is N: ds-run has as many children, and all run their programs
	[ "$(sed 's,[0-9][0-9]*,/proc/&/exe,g' /proc/"$run"/task/"$run"/children |
	    xargs -r readlink | grep -vc 'ds-run$')" -eq "$1" ]
}

is_run() {
	[ "$(readlink "/proc/$(cat /proc/$limit/task/$limit/children | tr -d ' ')/exe")" = "$(command -v ds-run)" ]
}

# start ARG...: ds-run in the background, its prompt never ending; its pid in $run, that of its timeout in $limit
start() {
	[ -e in ] || mkfifo in
	timeout -k 2 "$LIMIT" ds-run -m "$M" -g "$@" <in >out 2>said &
	limit=$!
	exec 3>in
	awaited is_run
	run=$(tr -d ' ' </proc/$limit/task/$limit/children)
}

# ended STATUS REGEX DESC: ds-run ends with that status, says one such line (none, if empty), leaves nobody
ended() {
	wait $limit 2>/dev/null
	status=$?
	exec 3>&-
	printf '%s %s\n' $status "$(cat said)" >got
	[ $status -eq "$1" ] && { [ -z "$2" ] && [ ! -s said ] || { [ "$(wc -l <said)" -eq 1 ] && grep -Eq -e "$2" said; }; }
	report $? "$3" got
	is "$(left)" "" "... and no process is left"
}

# --- a stage dies ---
for stage in 'ds-attn .*-l 1 ' 'ds-head ' 'ds-tokenize ' 'ds-embed ' 'ds-sample ' 'ds-detokenize '; do
	start -x stage
	awaited count_is 17
	kill -9 "$(pid_of "$stage")"
	name=${stage%% *}
	ended 3 "^ds-run: $name( -l 1)?: killed by signal 9$" "a killed $name is named"
done

start -x stage
awaited count_is 17
printf 'What is 37 * 46?' >&3
pid=$(pid_of 'ds-route .*-l 2 ')
exec 3>&-
kill -USR1 "$pid"
ended 3 "^ds-run: ds-route -l 2: killed by signal 10$" "one that crashes in the middle of an answer, too"

start
awaited count_is 6
kill -STOP "$(pid_of ds-block)"
kill -9 "$(pid_of ds-head)"
ended 3 "^ds-run: ds-head: killed by signal 9$" "a child that hangs is not waited for"

# --- the model is broken ---
cp -r "$M" broken
head -c 5000000 "$M/model.safetensors" >broken/model.safetensors
fails_with 1 "^ds-run: ds-[a-z]*( -l [0-9])?: 'broken/model.safetensors': " "a truncated model" ds-run -m broken -x stage hello
is "$(left)" "" "... and no process is left"
cp "$M/model.safetensors" broken
rm broken/tokenizer.json
fails_with 1 "^ds-run: ds-(de)?tokenize: cannot open 'broken/tokenizer.json'" "no tokenizer" ds-run -m broken hello
fails_with 1 "^ds-run: cannot open 'nowhere'" "no model at all" ds-run -m nowhere hello
cp "$M/tokenizer.json" broken
py - broken/model.safetensors <<'EOP'
import json, struct, sys
with open(sys.argv[1], "r+b") as f:
    n = struct.unpack("<Q", f.read(8))[0]
    h = json.loads(f.read(n))
    a, b = h["model.layers.2.mlp.shared_experts.down_proj.weight"]["data_offsets"]
    f.seek(8 + n + a)
    f.write(b"\x7f" * (b - a))
EOP
fails_with 1 "^ds-run: ds-expert -l 2: .*expert" "weights that are no numbers: the stage and the layer are named" \
    ds-run -m broken -g -x stage "What is 2 + 2?"
fails_with 1 "^ds-run: ds-block: .*layer 2.*expert" "and by the fused stage as well" ds-run -m broken -g "What is 2 + 2?"
ds-run -m broken -s -g -x stage "What is 2 + 2?" >script
sh script >out 2>said
is $? 1 "the script fails with the same status"
like "$(cat said)" "^ds-expert: .*expert" "and the stage says why"

# --- a program is missing ---
mkdir few
for p in run tokenize embed head sample detokenize; do ln "$(command -v ds-$p)" few/ds-$p 2>/dev/null || cp "$(command -v ds-$p)" few/ds-$p; done
fails_with 3 "^ds-run: ds-block: cannot run 'ds-block': No such file" "a missing program is named" \
    env PATH=/usr/bin:/bin few/ds-run -m "$M" hello
is "$(left)" "" "... and no process is left"
ok "what is not beside ds-run is looked for in PATH" few/ds-run -m "$M" -n 3 hello
printf '#!/nowhere\n' >few/ds-block
chmod +x few/ds-block
ok "nor is one that cannot run taken for it" few/ds-run -m "$M" -n 3 hello

# --- nobody reads ---
ok "ds-run | head -1 is quiet, and ends as other tools do" bash -c '
	ds-run -m "$M" -g "What is 37 * 46?" "What is 37 * 47?" 2>said | head -1 >out; s=("${PIPESTATUS[@]}")
	[ ! -s said ] && [ "$(cat out)" = "37 * 46" ] && { [ ${s[0]} = 141 ] || [ ${s[0]} = 0 ]; }'
start_many() { "$PY" -c 'import os, sys
os.execvp("ds-run", ["ds-run", "-m", os.environ["M"], "-g"] + 300 * ["What is 37 * 46?"])'; }
(start_many; echo $? >status) 2>said | head -1 >out
is "$(cat status said)" 141 "so it is in the middle of many answers"
is "$(left)" "" "... and no process is left"
fails_with 3 "^ds-run: ds-detokenize: standard output: cannot write: No space" "a full disk is named" \
    sh -c 'exec ds-run -m "$M" -g hello >/dev/full'
fails_with 3 "^ds-run: standard output is closed" "a closed standard output, too" sh -c 'exec ds-run -m "$M" -g hello >&-'
fails_with 3 "^ds-run: standard input is closed" "a closed standard input, where it is needed" sh -c 'exec ds-run -m "$M" -g <&-'
ok "elsewhere a closed input does not matter" sh -c 'ds-run -m "$M" -g -q "What is 37 * 46?" <&- 2>&- | grep -qx 1702'
fails_with 3 "^ds-run: .*write: No space" "a script on a full disk is an error" sh -c 'exec ds-run -m "$M" -s hello >/dev/full'

# --- it is told to stop ---
for sig in TERM HUP; do
	start -x stage
	awaited count_is 17
	kill -$sig $run
	case $sig in TERM) s=143 ;; HUP) s=129 ;; esac
	ended $s "" "SIG$sig ends it, quietly"
done
start -x layer
awaited count_is 9
kill -STOP "$(pid_of 'ds-block .*-l 2 ')"
kill -TERM $run
ended 143 "" "also when a child is stopped"

start -x stage
awaited count_is 17
kill -9 $run
wait $limit 2>/dev/null
gone() { [ -z "$(left)" ]; }
ok "SIGKILL of ds-run ends the children, too" awaited gone
exec 3>&-

ok "nohup: a signal that is ignored stays so" sh -c '
	trap "" HUP; ds-run -m "$M" -g -q <in >out & run=$!
	exec 3>in; sleep 0.2; kill -HUP $run; printf "What is 37 * 46?" >&3; exec 3>&-
	wait $run && grep -qx 1702 out'
done_testing
