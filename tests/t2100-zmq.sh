#!/bin/sh
# Links by ZeroMQ: the same bytes as through pipes, and an end with a word where a peer is not what it should be.
# also: asan
# first: yes
. "${0%/*}/lib.sh"
LIMIT=40
export DS_MODEL=$M
"$PY" -c 'import zmq' 2>/dev/null || skip_all "no python3-zmq"

a=tcp://127.0.0.1:$(ports 1) b=ipc://$S/b c=tcp://127.0.0.1:$(ports 1) d=ipc://$S/d e=tcp://127.0.0.1:$(ports 1)

# --- the same bytes ---
ds-tokenize -c "12+30=?" >prompt
mkfifo loop
pipe 'ds-embed -i prompt -i loop | ds-block | ds-head | ds-sample -g | tee loop tokens | ds-detokenize -c' >want
ring() {        # each endpoint is bound by one side, here or there
	ds-embed -i prompt -i "@$b" -o "@$a" &
	ds-block -l 0-1 -i "$a" -o ">$d" &
	ds-block -l 2-3 -i "@$d" -o "@$c" &
	ds-head -i "$c" -o "@$e" &
	ds-sample -g -i "$e" -o "$b" -o got.tokens &
	wait
	ds-detokenize -c -i got.tokens
}
ok "a loop over tcp and ipc runs to its end" ring
same .out want "and says what it says through pipes"
same got.tokens tokens "in the very same frames"
py - >long <<'EOP'
import frame, sys
out = sys.stdout.buffer
for i in range(30):
    out.write(frame.prompt((i, 0, 1, [5 + k % 900 for k in range(500)])).bytes())
out.write(frame.Frame({"op": "end"}).bytes())
EOP
ds-embed -B 500 <long >big
for at in "$a" "$b"; do
	ds-cut -i "@$at" -o got & p=$!
	ok "15 MB in large frames go over ${at%%:*}" ds-cut -i big -o "$at"
	wait $p
	same got big "and are the same"
done
# A receiver that cannot go on does not lose what it has not read when the sender closes first.
mkfifo full
exec 7<>full
head -c 65536 /dev/zero >&7
ds-embed -i prompt -o one
for at in "@$b $b" "$b @$b"; do
	limited ds-cut -i "${at#* }" -o full 2>said & p=$!
	ok "${at%% *}: a sender ends after its timeout" ds-cut --timeout 0.5 -i one -o "${at%% *}"
	head -c $((65536 + $(stat -c %s one))) <&7 | tail -c +65537 >got & q=$!
	wait $p
	report $? "... and its receiver goes on later" said || kill $q
	wait $q
	same got one "... with all frames"
	head -c 65536 /dev/zero >&7
done
exec 7>&-
{ ds-embed -i long -B 500 -o "@$a" & ds-cut -i "$a" -o got; wait; }
same got big "ds-embed, which never waits in a write, sends the same"
ds-expert -l 1 -e 0-7 -i "@$a" -o "$b" & ds-expert -l 1 -e 8-15,s -i "@$c" -o "$d" &
ds-join -i "@$b" -i "@$d" -o got & p=$!
pipe 'ds-embed <prompt | ds-block -l 0 | ds-attn -l 1 | ds-route -l 1 | tee routed | ds-cut -o "$0" -o "$1"' "$a" "$c"
wait $p
ds-expert -l 1 <routed >want
same got want "several outputs and several inputs: experts side by side"

# --- outside programs: a frame is a message, in one part or many ---
ds-cut -i "@$a" -o got & p=$!
py - "$a" <<'EOP'
import frame, sys, zmq
with zmq.Context() as c, c.socket(zmq.PUSH) as s:     # Python's exit alone does not wait until all has left
    s.connect(sys.argv[1])
    for i, f in enumerate(frame.read_frames(open("routed", "rb"))):
        cuts = [0, 1, 17, 18, 40, len(f.raw)] if i == 0 else [0, len(f.raw)]
        s.send_multipart([f.raw[x:y] for x, y in zip(cuts, cuts[1:])])
EOP
wait $p
same got routed "a plain PUSH socket sends frames"
py - "$a" <<'EOP' &
import sys, zmq
s = zmq.Context().socket(zmq.PULL)
s.bind(sys.argv[1])
with open("got", "wb") as out:
    while True:
        raw = b"".join(s.recv_multipart())
        out.write(raw)
        if b"\xa2op\xa3end" in raw:
            break
EOP
p=$!
ok "a sender to a plain PULL socket ends well" ds-cut -i big -o "$a"
wait $p
same got big "which gets the frames"
# push PART...: what ds-dump says of such a message
push() {
	limited ds-dump -i "@$b" >dump 2>said &
	py - "$b" "$@" <<'EOP'
import sys, zmq
raw = open("routed", "rb").read()
with zmq.Context() as c, c.socket(zmq.PUSH) as s:
    s.connect(sys.argv[1])
    s.send({"two": raw, "half": raw[:200], "text": b"hello, are you there? I am", "none": b""}[sys.argv[2]])
EOP
	wait $!; echo $?
}
is "$(push two; cat said)" "1
ds-dump: $(printf %s "@$b"): frame 1: its message has extra bytes: a message is one frame" "two frames in one message are refused"
is "$(push half | tail -1), $(grep -c 'its message ends after 200 bytes' said)" "1, 1" "and half a frame"
is "$(push text | tail -1), $(grep -c 'not a frame' said)" "1, 1" "and a text"
is "$(push none | tail -1), $(grep -c 'ends after 0 bytes' said)" "1, 1" "and nothing"

# --- peers that die, freeze or stall ---
# victim SIGNAL WHO: the one that is hit while frames flow; the other's status, words, and seconds that it took
victim() {
	py - "$1" "$2" "$a" <<'EOP'
import os, signal, subprocess, sys, time
name, who, at = sys.argv[1:]
import frame
frames = b"".join(f.raw for f in list(frame.read_frames(open("big", "rb")))[:3])
send = subprocess.Popen(["ds-cut", "--timeout", "1", "-o", "@" + at], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
take = subprocess.Popen(["ds-cut", "--timeout", "1", "-i", at], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
send.stdin.write(frames)
send.stdin.flush()
os.read(take.stdout.fileno(), 1000)
hit, other = (send, take) if who == "sender" else (take, send)
time.sleep(1)    # signs of life have been seen
began = time.time()
hit.send_signal(getattr(signal, name))
if who == "sender":
    while os.read(take.stdout.fileno(), 1 << 16):
        pass
else:
    try:
        while True:
            send.stdin.write(frames)
    except BrokenPipeError:
        pass
other.wait(20)
text = other.stderr.read().decode()
for p in send, take:
    p.kill()
print(other.returncode, text.count("\n"), at in text, time.time() - began < 5, flush=True)
os._exit(0)
EOP
}
is "$(victim SIGKILL sender)" "3 1 True True" "the receiver of a killed sender says so, and exits 3"
is "$(victim SIGKILL receiver)" "3 1 True True" "the sender to a killed receiver too"
is "$(victim SIGSTOP sender)" "3 1 True True" "a frozen sender is dead after --timeout"
is "$(victim SIGSTOP receiver)" "3 1 True True" "and a frozen receiver"
py - "$a" >stall <<'EOP'
import hashlib, os, subprocess, sys, threading, time
at = sys.argv[1]
send = subprocess.Popen(["ds-cut", "--timeout", "1", "-o", "@" + at], stdin=subprocess.PIPE)
take = subprocess.Popen(["ds-cut", "--timeout", "1", "-i", at], stdout=subprocess.PIPE)
import frame
frames = [f.raw for f in frame.read_frames(open("big", "rb"))]
count = 0
def feed():
    global count
    for i in range(200):
        send.stdin.write(frames[i % 30])
        count += 1
    send.stdin.write(frames[30])
    send.stdin.close()
t = threading.Thread(target=feed, daemon=True)
t.start()
time.sleep(3)
stalled = count
memory = max(int(l.split()[1]) for p in (send, take) for l in open(f"/proc/{p.pid}/status") if l.startswith("VmRSS"))
asan = "AddressSanitizer" if "asan" in os.environ["PATH"].split(":")[0] else ""
h, want = hashlib.sha1(), hashlib.sha1()
for i in range(200):
    want.update(frames[i % 30])
want.update(frames[30])
while block := take.stdout.read(1 << 20):
    h.update(block)
t.join()
print(stalled < 60, memory < (400000 if asan else 40000), h.digest() == want.digest(), send.wait(), take.wait())
EOP
is "$(cat stall)" "True True True 0 0" "a consumer that stalls for long stops the source, costs no memory, and loses nothing"
ds-dump -i "@$a" -f ids >got & p=$!
py - "$a" <<'EOP'
import os, socket, sys, time
host, port = sys.argv[1][6:].split(":")
for i in range(20):
    for k in range(50):
        try:
            s = socket.create_connection((host, int(port)))
            break
        except OSError:
            time.sleep(0.1)
    s.sendall([os.urandom(100), b"\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL", b""][i % 3])
    s.close()
EOP
ok "failed handshakes are ignored" ds-cut -i prompt -o "$a"
wait $p
ds-dump -f ids <prompt >want
same got want "and the right one comes through"

# --- keys ---
fails_with 2 "any host could connect: give --key" "other hosts may not connect without keys" ds-dump -i "@tcp://0.0.0.0:$(ports 1)"
fails_with 2 "any host could connect: give --key" "nor by an interface's name" ds-dump -i "@tcp://lo:$(ports 1)"
for k in one two three; do ds-keygen $k.key >$k.pub; done
is "$(stat -c %a one.key), $(wc -c <one.pub)" "600, 41" "ds-keygen makes a file for its owner alone"
fails_with 3 "cannot create 'one.key': File exists" "and never overwrites one" ds-keygen one.key
fails_with 3 "^ds-keygen: cannot write the public half, which 'full.key' has as well: No space" "a full disk is told" \
    sh -c 'ds-keygen full.key >/dev/full'
cat one.pub two.pub >peers
meet() {        # OPTIONS-OF-RECEIVER -- OPTIONS-OF-SENDER: does the stream come through?
	mine= ; while [ "$1" != -- ]; do mine="$mine $1"; shift; done; shift
	timeout 8 ds-dump --timeout 1 $mine -i "@$a" -f ids >got 2>/dev/null & p=$!
	timeout 8 ds-cut --timeout 1 "$@" -i prompt -o "$a" 2>said
	echo $?
	[ -s got ] || kill $p 2>/dev/null
	wait $p 2>/dev/null
	cmp -s got want && echo came
}
is "$(meet --key one.key --peers peers -- --key two.key --peers peers)" "0
came" "with allowed keys on both sides frames flow"
is "$(meet --key one.key -- --key one.key)" "0
came" "one key on both sides will do"
is "$(DS_KEY=one.key DS_PEERS=peers meet -- -v)" "0
came" "keys may be named by DS_KEY and DS_PEERS"
is "$(meet --key one.key --peers peers -- --key three.key --peers peers)" "3" "a key that is not allowed gets nothing"
is "$(meet --key one.key --peers peers -- --timeout 1)" "3" "nor does who has none"
is "$(meet --key three.key -- --key one.key --peers peers)" "3" "nobody talks to a receiver with a wrong key"
# ipc:// carries no key: with --key the other program has to be one of the same user (or of root), key or none
meet_here() {   # the same at an ipc:// socket
	a=ipc://$S/with-keys meet "$@"
}
is "$(meet_here --key one.key --peers peers -- --timeout 1)" "0
came" "by ipc a receiver with a key and a sender without meet"
is "$(meet_here -- --key one.key --peers peers)" "0
came" "and a sender with a key and a receiver without"
is "$(meet_here --key three.key -- --key one.key --peers peers)" "0
came" "and programs with keys that do not match"
fails_with 1 "'bad' has no line 'public KEY'" "but a bad key is an error there, too" sh -c 'echo x >bad; chmod 600 bad; ds-cut --key bad -i prompt -o "$0"' "$b"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	other="setpriv --reuid=65534 --regid=65534 --clear-groups env PATH=$S/open"
	mkdir open && cp "$(command -v ds-dump)" "$(command -v ds-cut)" prompt open && chmod 711 "$S" && chmod -R a+rX open && chmod 777 open
	(umask 0; exec timeout 8 $other ds-dump --timeout 1 -i "@ipc://$S/open/a" >/dev/null 2>&1) &
	awaited test -e open/a
	fails_with 3 "^ds-cut: ipc://.*: a program of another user listens there$" "with a key nothing is sent to another user's socket" \
	    ds-cut --key one.key -i prompt -o "ipc://$S/open/a"
	wait
	(umask 0; exec timeout 8 ds-dump --timeout 1 --key one.key -i "@ipc://$S/open/b" -f ids >got 2>/dev/null) & p=$!
	awaited test -e open/b
	fails_with 3 "^ds-cut: ipc://.*: it accepts programs of its own user only$" "nor is another user's program let in" \
	    $other ds-cut --timeout 1 -i open/prompt -o "ipc://$S/open/b"
	ok "which leaves the place to the right one" ds-cut --timeout 1 -i prompt -o "ipc://$S/open/b"
	wait $p
	same got want "whose frames come through"
else
	skip "users by ipc" "needs root and setpriv, to be another user"
fi
chmod 644 two.key
fails_with 2 "'two.key' has mode 0644: .*chmod 600" "a key that others can read is refused" ds-cut --key two.key -i prompt -o "$a"
fails_with 2 "--peers requires --key FILE" "peers without a key are refused" ds-cut --peers peers -i prompt -o "$a"
echo nonsense >bad; chmod 600 bad
fails_with 2 "cannot open 'none'" "a key file that is not there is one's own mistake" ds-cut --key none -i prompt -o "$a"
fails_with 1 "'bad' has no line 'public KEY'" "a file that is no key is refused" ds-cut --key bad -i prompt -o "$a"
fails_with 1 "'bad', line 1: " "and one that has no keys of peers" ds-cut --key one.key --peers bad -i prompt -o "$a"
fails_with 2 "timeout 'x'" "--timeout is a number" ds-cut --timeout x
for at in @tcp://127.0.0.1:22x tcp://127.0.0.1:70000 @tcp://127.0.0.1 tcp://:80; do
	fails_with 2 "^ds-dump: $at: give HOST:PORT" "$at is no address" ds-dump -i $at
done
fails_with 3 "^ds-dump: tcp://no.such.host.invalid:80: cannot resolve the host" "a host that nobody knows" ds-dump -i tcp://no.such.host.invalid:80
fails_with 3 "^ds-dump: @tcp://192.0.2.1:8080: cannot bind: Cannot assign" "an address of another host" ds-dump --unsafe -i @tcp://192.0.2.1:8080

fails_with 2 "^ds-relay: endpoint 'udp://1.2.3.4:5': give -, a file.* and an address$" "an address of another kind" ds-relay -i @udp://1.2.3.4:5
for at in tcp://192.0.2.1:80 ">tcp://192.0.2.1:80" "tcp://[2001:db8::1]:80" nccl:tcp://192.0.2.1:80; do
	fails_with 2 ": any host on the way .*--key FILE.* or --unsafe" "$at needs keys" ds-dump -i "$at"
done
for at in "@tcp://*:80" "@tcp://192.0.2.1:80" "@tcp://[::]:80" @tcp://lo:80; do
	fails_with 2 ": any host could connect: .*--key FILE.* or --unsafe" "$at needs keys" ds-dump -i "$at"
done
for at in tcp://localhost:9 tcp://127.1.2.3:9 "tcp://[::1]:9"; do
	fails_with 3 ": no program connected for 0.1 seconds" "$at does not" env DS_WAIT=0.1 ds-dump --timeout 0.1 -i "$at"
done
fails_with 3 "tcp://192.0.2.1:80: no program connected" "--unsafe goes without" env DS_WAIT=0.1 ds-dump --timeout 0.1 --unsafe -i tcp://192.0.2.1:80

# --- too little of something: libzmq would abort ---
# starved LIMIT...: with each there is one line and exit status 3, or all is well
starved() {
	for n; do
		(ulimit $option "$n" && DS_WAIT=0.1 exec ds-relay --timeout 0.1 -i prompt -o "$d") >.out 2>.err
		got=$?
		[ "$got $(grep -c '^ds-relay: ' .err) $(wc -l <.err)" = "3 1 1" ] || { echo "ulimit $option $n: exit $got"; cat .err; return 1; }
	done
}
option=-n
ok "few descriptors are an error" starved 6 7 8 9 10 11 12 13 14 16 18 20 24 26 27 28 30 32
case $(command -v ds-relay) in
*asan*) ;;      # (which needs terabytes of address space, and the first place among libraries)
*)
	option=-v
	ok "little address space is an error" starved 9000 12000 16000 24000 30000 40000 50000 60000
	cat >few.c <<-'EOP'
	#include <errno.h>
	#include <sys/syscall.h>
	#include <unistd.h>
	int epoll_create1(int flags);
	int epoll_create1(int flags)
	{
		static int calls;
		return calls++ ? (errno = EMFILE, -1) : (int)syscall(SYS_epoll_create1, flags);
	}
	EOP
	if ${CC:-cc} -shared -fPIC -o few.so few.c 2>.err; then
		LD_PRELOAD=./few.so ds-relay -i prompt -o "$d" 2>said
		like "$? $(cat said)" "^ds-relay: ZeroMQ ran out of descriptors" "an abort of libzmq is a line"
		is "$(LD_PRELOAD=./few.so ds-relay -i prompt -o "$d" 2>/dev/null; echo $?)" 3 "... and exit status 3"
	fi
	rm -f "${d#ipc://}"
	ds-relay -i "@$d" -o got 2>said & p=$!
	awaited test -S "${d#ipc://}"
	kill -ABRT $p; wait $p 2>/dev/null
	is "$? $(cat said)" "134 " "one from outside stays a signal"
	;;
esac

# --- libzmq is loaded when it is needed ---
mkdir nolib && : >nolib/libzmq.so.5     # what the loader finds first, and can't take
export LD_LIBRARY_PATH="$S/nolib"
ds-dump -f ids <prompt >got
same got want "pipes do without libzmq"
fails_with 3 "^ds-dump: $d: cannot load libzmq, .*libzmq5" "a link that lacks it says which package has it" ds-dump -i "$d"
fails_with 3 "^ds-keygen: cannot load libzmq" "ds-keygen too" ds-keygen four.key
ok "and leaves no file" test ! -e four.key
unset LD_LIBRARY_PATH
done_testing
