#!/bin/sh
# Faults in a pipeline: each program says in one line what is wrong, exits with the right status, and nothing hangs.
# also: asan
. "${0%/*}/lib.sh"
LIMIT=30
export DS_MODEL=$G/v3

# the frames in front of each program
{ frame prompt 7 0 3 5 6 7; frame prompt 8 0 1 9; frame end; } >embed.in
ds-embed <embed.in >attn.in
ds-attn -l 0 <attn.in >route.in
ds-route -l 0 <route.in >expert.in
ds-block <attn.in >head.in
ds-head <head.in >sample.in
cp embed.in detokenize.in
cp attn.in block.in
cp expert.in join.in
model() {       # PROGRAM: its options, tiny-r1 for who needs a tokenizer
	case $1 in
	detokenize) echo "-m $M" ;;
	join) echo "-i join.in -i /dev/stdin" ;;
	esac
}
filters="embed attn route expert join block head sample"
all="$filters detokenize"

# --- streams that break off ---
for p in $all; do
	o=$(model $p)
	: >nothing
	fails_with 3 "^ds-$p: .*ended without an end frame" "ds-$p: nothing comes" sh -c "exec ds-$p $o <nothing"
	frame take 1 <$p.in >some
	fails_with 3 "^ds-$p: .*ended without an end frame" "ds-$p: the end is missing" sh -c "exec ds-$p $o <some"
	head -c 333 $p.in >some
	fails_with 3 "^ds-$p: .*ends after [0-9]+ of [0-9]+ bytes" "ds-$p: a frame that breaks off" sh -c "exec ds-$p $o <some"
	echo "It was a bright cold day in April, and the clocks were striking thirteen." >text
	fails_with 1 "^ds-$p: .*not a frame" "ds-$p: a text" sh -c "exec ds-$p $o <text"
	frame error "the disk is on fire" >error
	fails_with 3 "^ds-$p: upstream: the disk is on fire" "ds-$p: an error frame" sh -c "exec ds-$p $o <error"
	[ $p = detokenize ] || like "$(sh -c "ds-$p $o <error" 2>/dev/null | ds-dump 2>&1)" "the disk is on fire" "ds-$p passes it on"
	case $p in join) twice="-i none" ;; *) twice= ;; esac
	fails_with 3 "^ds-$p: cannot open 'none': No such file" "ds-$p: an input that is not there" ds-$p -m "$M" -i none $twice
done

# --- outputs that take nothing ---
# gone COMMAND...: into a pipe that nobody reads any more; its status, or minus the signal, and what it says
gone() {
	py -c '
import os, subprocess, sys
r, w = os.pipe()
os.close(r)
p = subprocess.run(sys.argv[1:], stdout=w, stderr=subprocess.PIPE)
print(p.returncode, p.stderr.decode())' "$@"
}
for p in $all; do
	o=$(model $p)
	fails_with 3 "^ds-$p: .*write: No space left on device" "ds-$p: a full disk" sh -c "exec ds-$p $o <$p.in >/dev/full"
	fails_with 3 "^ds-$p: .*[cC]an ?not |^ds-$p: .*closed" "ds-$p: no output at all" sh -c "exec ds-$p $o <$p.in >&-"
	is "$(gone sh -c "exec ds-$p $o <$p.in")" "-13 " "ds-$p | head -1: it ends quietly, as other tools do"
done

# --- stages in the wrong order, or missing ---
wrong() {       # REGEX DESC PIPELINE: its last program refuses what nobody acted on; everybody ends
	fails_with 1 "$1" "$2" pipe "$3"
}
# line REGEX DESC STAGES: ds-head at its end refuses what it leaves
line() {
	wrong "^ds-head: sequence 7 $1" "$2" "$3 | ds-head >out"
	like "$(ds-dump -i out 2>&1)" "ds-head: sequence 7 $1" "... and what follows is told"
}
line "still waits for attn layer 0" "a line without layers" 'ds-embed <embed.in'
line "still waits for embed" "a line without embedding" 'ds-block <embed.in'
line "still waits for attn layer 1" "layers in the wrong order" 'ds-block -l 1 <attn.in | ds-block -l 0 | ds-block -l 2,3'
line "still waits for attn layer 2" "the second half first" 'ds-block -l 2-3 <attn.in | ds-block -l 0-1'
line "still waits for attn layer 2" "a layer that is missing" 'ds-block -l 0,1,3 <attn.in'
line "still waits for attn layer 3" "the last layer is missing" 'ds-block -l 0-2 <attn.in'
line "still waits for route layer 1" "a router that is missing" 'ds-block -l 0 <attn.in | ds-attn -l 1 | ds-expert -l 1 | ds-block -l 2-3'
line "still waits for expert layer 1 .only experts 0-14,s are done" "experts that are missing" \
    'ds-block -l 0 <attn.in | ds-attn -l 1 | ds-route -l 1 | ds-expert -e 0-14,s | ds-block -l 2-3'
line "still waits for expert layer 1 .only experts 0-14 are done" "shared experts that are missing" \
    'ds-block -l 0 <attn.in | ds-attn -l 1 | ds-route -l 1 | ds-expert -e 0-14 | ds-block -l 2-3'
wrong "^ds-sample: .*head" "a head that is missing" 'ds-block <attn.in | ds-sample >out'
pipe 'ds-block <attn.in | ds-head >once; ds-block -l 0-2 <attn.in | ds-block | ds-block | ds-head | ds-head >out'
same once out "a stage that appears twice acts once"
wrong "^ds-detokenize: .*still waits for attn layer 0" "text of rows that wait for a stage" 'ds-detokenize -m "$M" <attn.in'
{ frame prompt 7 0 3 5 6 7; frame prompt 7 3 1 8; frame end; } | ds-embed -B 3 >both
py - <<'EOP'
import frame
f = list(frame.read_frames(open("both", "rb")))
open("late", "wb").write(b"".join(x.raw for x in f[1:]))
EOP
fails_with 1 "^ds-attn: layer 0: sequence 7: position 3 arrives, cache holds 0" "positions that never came" sh -c 'exec ds-attn <late >out'
like "$(ds-dump <out 2>&1)" "ds-attn: layer 0: sequence 7: position 3 arrives, cache holds 0" "the programs behind learn of it"

# --- models ---
py - "$G/v3" <<'EOP'
import json, os, shutil, sys
src = sys.argv[1]
raw = open(src + "/model.safetensors", "rb").read()
n = int.from_bytes(raw[:8], "little")
header, data = json.loads(raw[8:8 + n]), raw[8 + n:]
def model(name, **files):
    os.mkdir(name)
    for f in "config.json", "model.safetensors":
        b = files.get(f.split(".")[0], open(src + "/" + f, "rb").read())
        if b is not None:
            open(name + "/" + f, "wb").write(b)
def without(part):
    h = json.dumps({k: v for k, v in header.items() if part not in k}).encode()
    h += b" " * (-len(h) % 8)
    return len(h).to_bytes(8, "little") + h + data
model("cut", model=raw[:-1])
model("unweighted", model=None)
model("unjson", config=b'{"model_type": "deepseek_v3",}')
for part in "embed_tokens", "layers.2.self_attn.kv_b_proj", "layers.2.mlp.gate.weight", "layers.2.mlp.experts.7.up_proj", "lm_head":
    model("no-" + part, model=without(part))
EOP
for p in $filters; do
	o=$(model $p)
	[ $p = join ] && o="-i join.in -i join.in"
	fails_with 1 "^ds-$p: .*unjson/config.json.*not valid JSON" "ds-$p: a configuration that is no JSON" sh -c "exec ds-$p -m unjson $o <$p.in >out"
	fails_with 1 "^ds-$p: cannot open '.*none': No such file" "ds-$p: no model" sh -c "exec ds-$p -m none $o <$p.in >out"
	case $p in sample | join) continue ;; esac      # they read no weights
	fails_with 1 "^ds-$p: 'cut/model.safetensors'.*the file has" "ds-$p: truncated weights" sh -c "exec ds-$p -m cut $o <$p.in >out"
	fails_with 1 "^ds-$p: .*unweighted.* has no model.safetensors" "ds-$p: no weights" sh -c "exec ds-$p -m unweighted $o <$p.in >out"
done
lacks() {       # PROGRAM PART: it needs the part, and says so; all others do not
	for p in embed attn route expert head; do
		if [ $p = "$1" ]; then
			fails_with 1 "^ds-$p: .*has no tensor '.*$2" "ds-$p misses $2" sh -c "exec ds-$p -m 'no-$2' </dev/null >out"
		else
			fails_with 3 "^ds-$p: .*ended without an end" "ds-$p does not touch $2" sh -c "exec ds-$p -m 'no-$2' </dev/null >out"
		fi
	done
}
lacks embed embed_tokens
lacks attn layers.2.self_attn.kv_b_proj
lacks route layers.2.mlp.gate.weight
lacks expert layers.2.mlp.experts.7.up_proj
lacks head lm_head
fails_with 3 "ended without an end" "ds-attn -l 3 needs nothing of layer 2" sh -c 'exec ds-attn -m no-layers.2.self_attn.kv_b_proj -l 3 </dev/null >out'
fails_with 3 "ended without an end" "ds-expert -e 8-15 does not need expert 7" sh -c 'exec ds-expert -m no-layers.2.mlp.experts.7.up_proj -e 8-15 </dev/null >out'

# --- a pipeline in which one fails ---
# cause REGEX OTHERS DESC PIPELINE: the first line is the cause, each other one is short and like OTHERS
cause() {
	timeout -k 2 $LIMIT bash -c "$4" >out 2>said
	[ "$(head -n 1 said | grep -Ec "$1")" = 1 ] && ! tail -n +2 said | grep -Evx "$2"
	report $? "$3" said
}
on_their_way="ds-embed -i embed.in | ds-block"
cause "^ds-block: cannot open '.*none': No such file" "ds-(head|sample|dump): upstream: ds-block failed" \
    "a stage without a model is named first" 'ds-embed -i embed.in | ds-block -m none | ds-head | ds-sample | ds-dump'
cause "^ds-attn: layer 0: sequence 7: position 3 arrives" "ds-(route|expert|head|dump): upstream: ds-attn failed" \
    "one that refuses a frame" 'ds-attn -l 0 <late | ds-route | ds-expert | ds-head | ds-dump'
for p in ds-head ds-sample; do
	cause "^ds-[a-z]*: standard input: ended without an end frame: the upstream program failed" \
	    "ds-[a-z]*: upstream: the program before ds-(sample|relay) failed" "where $p is killed, the program after it knows no more" \
	    "$on_their_way | $(case $p in ds-head) echo '(kill -9 $BASHPID) | ds-sample' ;; *) echo 'ds-head | (kill -9 $BASHPID)' ;; esac) | ds-relay | ds-dump"
done
cause "^ds-head: standard output: cannot write: No space left" "" "a full disk" "$on_their_way | ds-head >/dev/full"
cause "^ds-relay: cannot open 'none': No such file" "ds-(head|dump): standard input: ended .* failed|ds-dump: upstream: the program before ds-head failed" \
    "a missing file" 'ds-relay -i none | ds-head | ds-dump'
mkfifo back
cause "^ds-route: cannot open '.*none'" "ds-(expert|block|head|sample|embed|dump): upstream: ds-route failed" "one in a loop" \
    'ds-embed -i embed.in -i back | ds-attn -l 0 | ds-route -m none | ds-expert -l 0 | ds-block | ds-head | ds-sample -g | tee back | ds-dump'
rm back
frame error "ds-x: layer 3: it broke" >error
cause "^ds-relay: upstream: ds-x: layer 3: it broke$" "" "what comes from a file is repeated" 'ds-relay -i error -o /dev/null'
cause "^ds-relay: upstream: ds-x failed$" "" "what comes by a pipe is not" 'cat error | ds-relay -o /dev/null'
frame error "its host is on fire" >error
cause "^ds-relay: upstream: its host is on fire$" "" "unless no program is named" 'cat error | ds-relay -o /dev/null'

# --- a loop in which one dies ---
# the processes of a loop with a process for every stage; victim N is killed once the loop runs: everybody ends
ring() {
	py - "$1" <<'EOP'
import os, signal, subprocess, sys
victim = int(sys.argv[1])
line = [["ds-embed", "-i", "long.in", "-i", "ring"], ["ds-attn", "-l", "0"], ["ds-route", "-l", "0"], ["ds-expert", "-l", "0"],
        ["ds-block", "-l", "1-3"], ["ds-head"], ["ds-sample", "-g", "-n", "2400", "-o", "ring", "-o", "tokens"]]
ring = os.open("ring", os.O_RDWR)
tokens = os.open("tokens", os.O_RDWR)
started, before = [], subprocess.DEVNULL
for i, command in enumerate(line):
    last = i == len(line) - 1
    p = subprocess.Popen(command, stdin=before, stdout=subprocess.DEVNULL if last else subprocess.PIPE, stderr=subprocess.PIPE)
    if i:
        before.close()
    before = p.stdout
    started.append(p)
    if last:
        os.read(tokens, 1 << 12)        # the first tokens: it runs
        os.close(ring)
started[victim].kill()
os.set_blocking(tokens, False)
def said(p):
    while p.poll() is None:             # the reader of the tokens is still there
        try:
            os.read(tokens, 1 << 16)
        except BlockingIOError:
            pass
        try:
            p.wait(0.01)
        except subprocess.TimeoutExpired:
            pass
    return p.stderr.read().decode()
for command, p in zip(line, started):
    text = said(p)
    kind = "killed" if p.returncode == -signal.SIGKILL else "quiet" if p.returncode == -signal.SIGPIPE and not text else \
        "told" if p.returncode == 3 and text.count("\n") == 1 and text.startswith(command[0] + ": ") else f"wrong: {p.returncode} {text!r}"
    print(command[0], kind)
EOP
}
{ frame prompt 7 0 1 5 6 7 / 8 0 1 9; frame end; } >long.in
mkfifo ring tokens
n=0
for p in embed attn route expert block head sample; do
	LIMIT=20 ring $n >ended 2>&1
	is "$(grep -c -e killed ended), $(grep -c -e quiet -e told ended)" "1, 6" "ds-$p of a running loop is killed: everybody ends with a word or none"
	grep -e wrong -e Error ended
	n=$((n + 1))
done
done_testing
