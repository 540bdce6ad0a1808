#!/bin/sh
# Two programs on two hosts and a network that fails: both end with a word, or all frames arrive.
# only: asan
. "${0%/*}/net.sh"
LIMIT=60
host 1 2 9
py - >big <<'EOP'
import frame, sys
out = sys.stdout.buffer
for i in range(3):
    f = frame.prompt((i, 0, 1, list(range(400000))))
    out.write(f.bytes())
out.write(frame.Frame({"op": "end"}).bytes())
EOP
pair() {        # FAULT EXPECTED DESC
	on 9 timeout $LIMIT "$PY" "$T/net/pair.py" "$1" big >got 2>said
	is "$(cat got)" "$2" "$3" || sed 's/^/#   /' said >&2
}
pair late "0 0   True" "a link that is late by 50 ms: all frames arrive"
pair stall "0 0   True" "a link that stalls for a moment: all frames arrive"
on 1 tc qdisc add dev cable root tbf rate 10mbit burst 16kb latency 100ms
pair none "0 0   True" "a link of 10 Mbit/s, where a frame may take longer than the timeout"
on 1 tc qdisc del dev cable root
pair reset "3 3 1 1 True True True" "a reset: both say so and exit 3"
pair half_open "3 3 1 1 True True True" "a connection that swallows everything: both notice"
pair cut "3 3 1 1 True True True" "a host is cut off: both notice"
ip -n $NET.2 link set cable up
pair cut_at_once "3 3 1 1 True True True" "a host is cut off before the first sign of life: both notice"
ok "no program is left" nobody_left
done_testing
