#!/bin/sh
# ds-plan: what it writes runs, says what the model's files say, and refuses what is wrong.
# only: asan
# first: yes
. "${0%/*}/lib.sh"

# --- scripts for this machine ---

ds-run -m "$M" -g "12+30=?" "What is 37 * 46?" >expected
printf 'a 2 1 10\n' >one
printf 'a 2 1 10\nb 2 1 10\n' >two
printf 'a 2 1 10\nb 2 1 10\nc 2 1 10\n' >three
printf 'a 2 0.004 10\nb 2 0.004 10\n' >small
for hosts in one two three small; do
	ds-plan -m "$M" -f sh --sample -g --context 64 $hosts >$hosts.sh 2>err
	limited sh $hosts.sh "12+30=?" "What is 37 * 46?" >got 2>>err
	report $? "the script for the hosts '$hosts' runs" err
	same got expected "its answers are those of ds-run"
done
is "$(grep -c '^run .ds-block' three.sh)" 3 "three hosts have layers"
is "$(grep -o 'ds-expert .* -e [0-9,s-]*' small.sh | sed 's/.*-l/-l/; s/-m.*-e/-e/' | wc -l)" 6 \
    "hosts too small for a layer share its experts"
is "$(printf '12+30=?' | limited sh two.sh)" "$(ds-run -m "$M" -g "12+30=?")" "without operands a script reads standard input"
is "$(limited sh two.sh -w "12+30=")" "$(ds-run -m "$M" -g -w "12+30=")" "with -w its prompts are text to go on with"

# a program that dies ends a script, which says so and leaves nothing behind
mkdir tmp
mkfifo slow
exec 4<>slow
TMPDIR=$S/tmp limited sh two.sh <slow >got 2>err &
script=$!
block() {
	ls -l /proc/[0-9]*/exe 2>/dev/null |
	    sed -n 's,.* /proc/\([0-9]*\)/exe -> .*/ds-block$,\1,p' | while read -r p; do
		! grep -q "$S/tmp" "/proc/$p/cmdline" 2>/dev/null || echo "$p"
	done | sed -n "${1:-\$p}"
}
left=200
until [ -n "$(block 2p)" ] || [ $((left -= 1)) -eq 0 ]; do sleep 0.05; done
kill -9 "$(block 1p)"
wait $script
is $? 3 "a script whose program was killed exits 3"
like "$(cat err)" '^ds-block -l [0-9-]+: killed by signal 9$' "it names the program"
is "$(block)" "" "no program is left"
is "$(ls tmp)" "" "no file is left"

# ... nor does a signal that comes while it starts, however early or late
cat >early.py <<'EOP'
import os, random, signal, subprocess, sys, time
random.seed(5)
for i in range(8):
    for s in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
        p = subprocess.Popen(["sh", "two.sh"], stdin=open("slow"), stdout=subprocess.DEVNULL, env={**os.environ, "TMPDIR": "tmp"})
        time.sleep(random.random() * 0.15)
        p.send_signal(s)
        if i % 2:       # and once more, as timeout(1) does
            p.send_signal(s)
        try:
            status = p.wait(20)
        except subprocess.TimeoutExpired:
            sys.exit("it hangs")
        if status not in (128 + s, -s) or os.listdir("tmp"):     # (-s: before it had a trap)
            sys.exit(f"status {status}, left: {os.listdir('tmp')}")
EOP
py early.py >err 2>&1
is "$? $(cat err)" "0 " "a script that is interrupted while it starts ends at once, and leaves no folder"
is "$(block)" "" "... nor a program"
exec 4>&-

# --- hosts with a GPU ---

sed 's/$/ gpu/' small >gpus
ds-plan -m "$M" --unsafe --context 64 gpus | sed -n 's/^run [ab] //p' >lines
is "$(sed -n 's/ .*-d cuda:0.*//p' lines | sort -u | tr '\n' ' ')" "ds-attn ds-block ds-expert ds-head ds-route " \
    "where hosts have a GPU, programs with weights get -d cuda:0, others do not"
ok "and they take it" sh -e -c 'grep cuda lines | while read -r line; do $line -h; done'

# name: the caches of a's GPU and of b's CPU
caches() {
	DS_PRECISION=$1 ds-plan -f report -m "$M" --context 64 --sequences 4 one_gpu | sed -n 's/^[ab]  *[0-9.]* .iB  *\([0-9.]* .iB\) .*/\1/p' | tr '\n' ' '
}
printf 'a 2 1 10 gpu\nb 2 1 10\n' >one_gpu
is "$(caches f32)$(caches bf16)" "240.0 KiB 80.00 KiB 120.0 KiB 40.00 KiB " "caches are half as large in bf16"
fails_with 2 "DS_PRECISION 'bf17': give f32, bf16, fp8 or i8" "DS_PRECISION is checked" env DS_PRECISION=bf17 ds-plan -m "$M" --unsafe one_gpu

# --- by ssh: a stand-in runs the line here, as a login shell would ---

cat >rsh <<'EOF'
#!/bin/sh
echo "$1" >>"$0.hosts"
shift
exec sh -c "$*"
EOF
chmod +x rsh
# 8 free ports below 32768, where those of connections begin; two scripts that run at a time, whose
# numbers are near one another, have none in common
port=$(py -c 'import socket
def is_free(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) != 0
print(next(p for p in range(20000 + '$$' % 1500 * 8, 60000, 8) if all(map(is_free, range(p, p + 8)))))')
printf 'a 2 1 10 addr=127.0.0.1\nb 2 1 10 addr=127.0.0.2\n' >near
ds-plan -m "$M" -f ssh --sample -g --port "$port" near >near.sh 2>err
DS_RSH=$S/rsh TMPDIR=$S/tmp limited sh near.sh "12+30=?" "What is 37 * 46?" >got 2>>err
report $? "the script for ssh runs" err
same got expected "its answers are those of ds-run"
is "$(sort -u rsh.hosts | tr '\n' ' ')" "127.0.0.1 127.0.0.2 " "it goes to the hosts' addresses"
is "$(ls tmp)" "" "it leaves no file here"

# --- with keys and without, two hosts and three, each way to run a plan ---

for k in a here; do ds-keygen key.$k >>peers; done
printf 'a 2 1 10 addr=127.0.0.1\nb 2 1 10 addr=127.0.0.2\nc 2 1 10 addr=127.0.0.3\n' >near3
answer=$(ds-run -m "$M" -g -n 40 "12+30=?")
for hosts in near near3; do
	for keys in "" "--key $S/key.a --peers $S/peers"; do
		for format in sh ssh plan; do
			ds-plan -m "$M" -f $format --sample "-g -n 40" --context 64 --port "$port" $keys $hosts >keyed.$format 2>err
			case $format in
			plan) set -- ds-run -m "$M" ${keys:+--key key.here --peers peers} --plan keyed.plan ;;
			*) set -- sh keyed.$format ;;
			esac
			DS_RSH=$S/rsh TMPDIR=$S/tmp limited "$@" "12+30=?" >got 2>>err
			is "$? $(cat got err)" "0 $answer" "$hosts, $format, ${keys:+with }${keys:-no} keys: it answers"
		done
	done
done
is "$(grep -c '^on .*--key' keyed.ssh) $(grep -c '^on ' keyed.ssh)" "5 6" "programs whose links are all on one host get no key"
is "$(grep -c -e --key keyed.sh)" 0 "nor do those of a script for one machine"
is "$(ls tmp)" "" "no file is left"
DS_RSH=$S/rsh DS_VERBOSE=1 limited sh near.sh -w "12+30=" >got 2>err
like "$(cat err)" '^b: ds-block: [0-9]+ frames in, [0-9]+ out$' "DS_VERBOSE makes programs speak, the host in front"

# --- a script for ssh that fails: what it says, and what it leaves ---

cat >noshell <<'EOF'
#!/bin/sh
case $1 in
127.0.0.2) printf 'ssh: connect to host %s port 22: Connection refused\r\n' "$1" >&2; exit 255 ;;
127.0.0.3) exit 7 ;;
esac
shift
exec bash -c "TMPDIR='$TMPDIR/there'; $*"
EOF
chmod +x noshell
# it takes as long as programs have to find out by themselves: two at a time
mkdir tmp/there tmp2 killed
ds-plan -m "$M" -f ssh --port "$port" near3 >fails.sh
DS_RSH=$S/noshell TMPDIR=$S/tmp limited sh fails.sh "hi" </dev/null >got 2>err & fails=$!
ds-plan -m "$M" -f ssh --port $((port + 4)) near >killed.sh
sed "s,ds-head -m [^ ]*,ds-head -m $S/nowhere," killed.sh >wrong.sh
DS_RSH=$S/rsh TMPDIR=$S/tmp2 limited sh wrong.sh "hi" </dev/null >got2 2>err2
is "$?" 1 "a program with a wrong model ends a script with its status"
like "$(cat err2)" "^b: ds-head: .*nowhere" "its message has the host in front"
wait $fails
is "$?" 3 "hosts that cannot be reached end a script"
is "$(grep -c '^b: ssh: connect to host 127.0.0.2 port 22: Connection refused$' err)" "$(grep -c '^on 127.0.0.2' fails.sh)" \
    "what ssh says is passed on, the host in front, without a carriage return"
like "$(cat err)" '^c: ds-head: ended with status 7 without a message$' "a host that says nothing is named"
is "$(find tmp tmp2 -name '*ds-*')" "" "no folder is left, here or on a host with another TMPDIR"
mkfifo slow2
exec 4<>slow2
TMPDIR=$S/killed DS_RSH=$S/rsh sh killed.sh <slow2 >got2 2>err2 & script=$!
awaited sh -c 'ls killed/ds-plan.*.b'
kill -9 $script
wait $script 2>/dev/null
awaited sh -c '! ls -d killed/ds-plan.*.[ab]*'
report $? "no program outlives a script that is killed, nor does its folder on a host" err2
exec 4<&-
DS_RSH=$S/rsh DS_PRECISION="f32'; touch PWNED; '" limited sh near.sh hi >got 2>err
is "$? $(cat err) $(ls PWNED 2>/dev/null)" "2 DS_PRECISION, DS_CACHE_TYPE and DS_VERBOSE have letters and digits " \
    "what other hosts get from the environment is looked at"

# --- the plan file ---

ds-plan -m "$M" --sample -g --sequences 2 --batches 2 --port "$port" near >near.plan
limited ds-run -m "$M" --plan near.plan "12+30=?" "What is 37 * 46?" >got 2>err
report $? "ds-run runs a plan, with two batches in flight" err
same got expected "its answers are the same"

printf 'a 2 1 10 addr=10.0.0.1\nb 2 1 10 addr=10.0.0.2\nc 2 1 10 addr=10.0.0.3 spare\n' >numbers
ds-plan -m "$M" --context 2048,2048 --key /k --peers '/p q' numbers | sed "s,$M,M,; /^#/d" >plan
cat >wanted <<'EOF'
plan 1
host a 10.0.0.1
host b 10.0.0.2
host c 10.0.0.3 spare
feed tcp://{a}:5600
run a ds-embed -m M -B 512 --key /k --peers '/p q' -i @tcp://{a}:5600 -i @tcp://{a}:5602 -o ipc://{run}/1
run a ds-block -m M -l 0-1 -t 2 --key /k --peers '/p q' -i @ipc://{run}/1 -o tcp://{b}:5601
run b ds-block -m M -l 2-3 -t 2 --key /k --peers '/p q' -i @tcp://{b}:5601 -o ipc://{run}/3
run b ds-head -m M -t 2 -i @ipc://{run}/3 -o ipc://{run}/4
run b ds-sample -m M --key /k --peers '/p q' -i @ipc://{run}/4 -o tcp://{a}:5602 -o @tcp://{b}:5603
take tcp://{b}:5603
EOF
same plan wanted "a plan is as ds-plan(5) has it"
sed 's/ addr=[^ ]*//' numbers >names
like "$(ds-plan -m "$M" --unsafe names)" '^run b .*-i @tcp://\*:5601 ' "where a host has a name, programs wait at all its addresses"

# --- DeepSeek-V3, of which nothing is here but config.json ---

ln -s "$T/v3-671b" V3
cp "$R/man/ds-plan.1" page
py "$T/plan.py" page >said 2>&1
report $? "the page's plans of 671 billion parameters are what ds-plan prints, and what the tensors' shapes add up to" said
grep '^#' said

# --- predictions ---

# value WORDS OPTIONS...: tokens/s of one sequence and of 16, and of a prompt, on two hosts whose lines end in these words
value() {
	printf "a 2 1 10$1\nb 2 1 10$1\n" >rates
	shift
	ds-plan -m "$M" -f report --sequences 16 "$@" rates | sed -n 's/^\(decode\|prefill\).*: \([0-9.]*\) tokens.*/\2/p' | tr '\n' ' '
}
# than A OP B DESC: the three numbers of A against those of B
than() {
	is "$(echo "$1 $3" | awk "{ print (\$1 $2 \$4) (\$2 $2 \$5) (\$3 $2 \$6) }")" 111 "$4"
}
is "$(value "")" "$(value " row=60 rows=120" --gflops 1)" "a line without rates has those of --gflops, times its cores"
is "$(value "" --gflops 30,60)" "$(value "" --gflops 30)" "with many rows a core does twice as much"
is "$(value " row=4")" "$(value " rows=8 row=4")" "what a line leaves out is in proportion to what it has"
than "$(value " row=4 rows=8")" '<' "$(value " row=6 rows=8")" "a faster row is faster"
than "$(value " row=4 rows=8")" '<=' "$(value " row=4 rows=32")" "faster rows are no slower"
for rows in 8 32; do
	echo "a 2 1 10 row=4 rows=$rows attend=4" >rates
	ds-plan -m "$M" -f report rates | grep '^decode'
done | uniq >one.rate
is "$(wc -l <one.rate)" 1 "and do not matter to one sequence"
than "$(value " row=4 attend=0.5")" '<' "$(value " row=4 attend=5")" "attention has a rate of its own"
than "$(value " row=4" --context 2048,2000)" '<' "$(value " row=4" --context 2048,100)" "the average context is what is reckoned with"
is "$(value " row=4" --context 2048,100)" "$(value " row=4" --context 1024,100)" "the longest is not"
is "$(value " row=4" --context 1024)" "$(value " row=4" --context 1024,512)" "it is half of the longest where it is not said"
ds-quant -f q8 -m "$M" q8
echo "a 2 1 100" >bare
for m in q8 "$M"; do
	DS_PRECISION=i8 ds-plan -m "$m" -f report bare | sed -n 's/.*a core: \(.*\);.*/\1/p'
	for p in i8 f32; do
		DS_PRECISION=$p ds-plan -m "$m" -f report bare | grep ^prefill
	done | uniq | wc -l
done >in.i8
is "$(tr '\n' ' ' <in.i8)" "30 to 60 GFLOP/s, in i8 100 to 140 2 30 to 60 GFLOP/s 1 " \
    "i8 has rates of its own, for weights that are integers times a scale"
fails_with 2 "^ds-plan: --context '100,200': more on average than at most" "more on average than at most is refused" ds-plan -m "$M" --context 100,200 two
fails_with 2 "^ds-plan: --context '100,x'|^ds-plan: --context 'x'" "a context that is no number is refused" ds-plan -m "$M" --context 100,x two
fails_with 2 "^ds-plan: --gflops '30,20': less with many rows" "a core that is slower with many rows is refused" ds-plan -m "$M" --gflops 30,20 two

# experts are not shared for a gain that starting takes away
ds-bench --shape "$M/config.json" --write wide --sparse
programs() {
	printf 'a 1 1 10 row=0.2\nb 1 1 10 row=0.2\nc 1 1 10 row=0.2\n' >thirds
	ds-plan -m wide --unsafe --context 64 "$@" thirds | grep -c '^run'
}
ok "an answer that is short starts few programs" [ "$(programs --tokens 1)" -le 7 ]
ok "one that never ends may start more" [ "$(programs --tokens 1e9)" -gt 7 ]

# --- what is refused ---

fails_with 2 "^ds-plan: programs meet over the network: give --key FILE .*--unsafe" "hosts without keys are refused" ds-plan -m "$M" two
ok "but not for a report" ds-plan -m "$M" -f report two
ok "and not where all hosts are this one" ds-plan -m "$M" near
fails_with 1 "^ds-plan: the model does not fit: the hosts have 0.004 GiB, .* GiB are missing$" "too little memory: it says how much is missing" \
    sh -c 'printf "a 2 0.002 10\nb 2 0.002 10\n" >tiny; ds-plan -m "$M" -f report tiny'
# wrong LINE MESSAGE: a line of a hosts file
wrong() {
	printf '# a comment\na 2 1 10\n%s\n' "$1" >hosts
	fails_with 2 "^ds-plan: 'hosts': line 3: $2" "refused: $1" ds-plan -m "$M" --unsafe hosts
}
wrong "b 2 1" "3 words: give NAME CORES"
wrong "b 2 1 10 gpus" "'gpus' is unknown"
wrong "b two 1 10" "number of cores: 'two' is not"
wrong "b 1.5 1 10" "'1.5' is not a whole number of cores"
wrong "b 2 0 10" "memory in GiB: '0' is not a number"
wrong "b 2 1 nan" "memory bandwidth in GB/s: 'nan' is not"
wrong "a 2 1 10" "host 'a' appears twice"
wrong "run 2 1 10" "'run' is not a valid name of a host"
wrong "b;c 2 1 10" "'b;c' is not a valid name of a host"
wrong "b 2 1 10 addr=" "'addr=' has no valid address"
wrong "b 2 1 10 addr=x\$y" "'addr=x\\\$y' has no valid address"
wrong "b 2 1 10 gpu gpu" "gpu appears twice"
wrong "b 2 1 10 row=1 row=2" "row appears twice"
wrong "b 2 1 10 rows=fast" "rows: rate in GFLOP/s: 'fast' is not"
wrong "b 2 1 10 attend=0" "attend: rate in GFLOP/s: '0' is not"
wrong "b 2 1 10 a b c d e f g" "more than 10 words|'a' is unknown"
wrong "b 2 1 10 gpu spare addr=c d e" "more than 8 words|'d' is unknown"
printf 'a 2 1 10 spare\n' >hosts
fails_with 2 "^ds-plan: 'hosts': all hosts are spares" "refused: nothing but spare hosts" ds-plan -m "$M" hosts
printf '# nobody\n' >hosts
fails_with 2 "^ds-plan: 'hosts': no host is given" "refused: no host" ds-plan -m "$M" hosts
fails_with 2 "^ds-plan: --batches 3: more than the sequences" "refused: more batches than sequences" ds-plan -m "$M" --batches 3 one
fails_with 2 "^ds-plan: --context 4096: the model knows 2048" "refused: a longer context than the model's" ds-plan -m "$M" --context 4096 one
fails_with 2 "^ds-plan: -f 'html': give plan" "refused: an unknown format" ds-plan -m "$M" -f html one
mkdir odd
for f in "$M"/*; do ln -s "$f" odd; done
rm odd/config.json
sed 's/"moe_intermediate_size": 128/"moe_intermediate_size": 256/' "$M/config.json" >odd/config.json
fails_with 1 "^ds-plan: tensor 'model.layers.1.mlp.experts.0.gate_proj.weight' is F8_E4M3 \[128, 256\], must be \[256, 256\]" \
    "a tensor that is not as config.json says is found" ds-plan -m odd one
done_testing
