#!/bin/sh
# With keys, nobody on the network reads a frame, brings one in, or keeps programs from their work.
# only: asan
. "${0%/*}/net.sh"
"$PY" -c 'import zmq, sys; sys.exit(not zmq.has("curve"))' 2>/dev/null || skip_all "no python3-zmq with keys"
host 1 2 3 9
for n in 1 2 9; do ds-keygen key.$n | tee pub.$n >>peers; done
keys="--key $S/key.%h --peers $S/peers" key1="--key $S/key.1 --peers $S/peers" key2="--key $S/key.2 --peers $S/peers"
export DS_MODEL=$M

# prompts, of which one has a text with it
py "$T/bits.py" prompts "$M" >shape
{ ds-tokenize -c "Where is the key?" | frame take -1 | frame set note '"The key is under the mat."'; cat right; } >asked

# wire WORDS...: the line over two hosts; what goes over the wire meanwhile is in the folder wire, what is sampled in got
wire() {
	rm -rf wire got
	cut_plan "$M" layers 2 "$@" >plan &&
	    ip netns exec wire "$PY" "$T/net/capture.py" wire "$PY" "$T/net/start.py" plan run asked got "$@"
}
# secrets: which of them are in the folder wire
secrets() {
	py - <<'EOP'
import frame, glob
wire = b"".join(open(f, "rb").read() for f in sorted(glob.glob("wire/*")))
ids = next(iter(frame.read_frames(open("asked", "rb")))).tensors["ids"].tobytes()
answer = [f for f in frame.read_frames(open("got", "rb")) if "ids" in f.tensors]
names = {"frames": b"dsf1", "headers": b"tensors", "text": b"under the mat", "prompt": ids, "rows": b"\xa1h\xa3F32",
         "answer": answer[-1].raw}
print(len(wire) > 50000, *(k for k, v in names.items() if v in wire))
EOP
}
ok "a line over two hosts without keys" wire --unsafe
is "$(secrets)" "True frames headers text prompt rows answer" "whoever listens to it reads everything"
mv got open
ok "the same with keys" wire $keys
is "$(secrets)" "True" "whoever listens reads nothing"
same got open "and it says the same"
mkdir replay
for stream in wire/*; do
	case $stream in *-*:56??) cp "$stream" replay ;; esac
done
is "$(ls replay | sed 's/.*://' | sort -u | wc -l)" 4 "what its programs said to those that they connected to has been recorded"

# --- those who are not wanted, before the line is joined together and while it works ---
line="10.77.0.1:5600 10.77.0.1:5601 10.77.0.2:5611 10.77.0.2:5602"
attack() {      # SECONDS ADDRESS...
	attack_for=$1; shift
	on 3 timeout 30 "$PY" "$T/net/attack.py" "$(cut -c1-40 pub.1)" "$attack_for" replay "$@"
}
mkfifo feed
cut_plan "$M" layers 2 $keys >plan
py "$T/net/start.py" plan run feed got $keys >said & run=$!
for at in $line; do
	awaited listens "$(echo ${at%:*} | cut -d. -f4)" ${at#*:} || report 1 "somebody waits at $at" said
done
is "$(attack 1.5 $line)" "" "nobody who comes first, and has no key that is wanted, gets anything"
exec 8<>feed
frame take -1 <left >&8
awaited test -s got
attack 2 $line >attacked & attack=$!
cat right >&8
exec 8>&-
wait $run
report $? "meanwhile the line answers, and no program has a word to say" said
wait $attack
is "$(cat attacked)" "" "nobody who comes while it works gets anything"
{ frame take -1 <left; cat right; } >asked
DS_MODEL=$M pipe 'mkfifo loop; ds-embed -i asked -i loop | ds-block | ds-head | ds-sample -n 6 | tee loop >want'
printf 'the tokens\ttexts\tgot\twant\n' >list
like "$(py "$T/bits.py" compare list)" "^0" "and what it says is right"

# --- a recorded session, said again ---
on 2 ds-dump $key2 -i @tcp://10.77.0.2:5611 -f ids >got 2>said & p=$!
awaited listens 2 5611
is "$(attack 1 10.77.0.2:5611)" "" "a receiver that waits does not take a recorded session for its peer"
ok "its peer is let in" on 1 ds-cut $key1 -i asked -o tcp://10.77.0.2:5611
wait $p
ds-dump -f ids <asked >want
same got want "and it receives what that one sends"
# actor FILE: waits at port 5620, says what is in the file to everybody who comes; how much came, at most
cat >actor.py <<'EOP'
import socket, sys
script, most = open(sys.argv[1], "rb").read(), -1
with socket.create_server(("10.77.0.3", 5620)) as server:
    server.settimeout(0.5)
    while True:
        try:
            c, _ = server.accept()
        except TimeoutError:
            if most >= 0:
                break
            continue
        c.settimeout(0.3)
        got, at = 0, 0
        try:
            for n in 64, 170, len(script):
                c.sendall(script[at:at + n])
                at += n
                while block := c.recv(1 << 16):
                    got += len(block)
        except OSError:
            pass
        c.close()
        most = max(most, got)
print(most)
EOP
actor() {
	ip netns exec $NET.3 "$PY" actor.py "$1" >most & actor=$!
	awaited listens 3 5620
	fails_with 3 "^ds-cut: tcp://10.77.0.3:5620: handshake failed" "$2" on 1 ds-cut --timeout 1 $key1 -i asked -o tcp://10.77.0.3:5620
	# (on a machine under load perhaps not one connection came to its greeting: then it waits on)
	timeout 10 tail --pid=$actor -f /dev/null || kill $actor
	wait $actor 2>/dev/null
}
actor "$(ls wire/10.77.0.2:5611-* | tail -n 1)" "a sender sends nothing to who repeats what its peer once said"
is "$(test "$(cat most)" -lt 600; echo $?)" 0 "and goes no further than its hello"
head -c 3000 /dev/urandom >noise
actor noise "nor to who says what is no ZeroMQ"

# --- somebody who comes and comes again does not hide that the peer has died ---
cat >hold.py <<'EOP'
import socket, sys, time
held = []
print("ready", flush=True)
while True:
    held = held[-5:] + [socket.create_connection(("10.77.0.2", 5611), timeout=1)]
    time.sleep(0.1)
EOP
on 2 ds-dump --timeout 1 $key2 -i @tcp://10.77.0.2:5611 -f ids >got 2>said & p=$!
awaited listens 2 5611
ip netns exec $NET.3 "$PY" hold.py 2>/dev/null & hold=$!
sleep 0.5
mkfifo more
ip netns exec $NET.1 ds-cut --timeout 1 $key1 -i more -o tcp://10.77.0.2:5611 2>/dev/null & peer=$!
exec 8<>more
frame take -1 <asked >&8
awaited test -s got
kill -9 $peer
exec 8>&-
timeout 10 tail --pid=$p -f /dev/null || kill -9 $p
wait $p 2>/dev/null
is "$? $(cut -d: -f1-4 said)" "3 ds-dump: @tcp://10.77.0.2:5611" "while somebody keeps the port busy, the death of the peer is noticed"
kill $hold 2>/dev/null
ok "no program is left" nobody_left
done_testing
