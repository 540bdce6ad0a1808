#!/bin/sh
# Time in the stream: who worked on a frame, when, and how much came.
# only: asan
. "${0%/*}/lib.sh"
export DS_MODEL=$M

cat >trace.py <<'X'
"""trace.py FILE: the entries of each frame that has any, times left out; a line if a time is impossible"""
import socket, sys, time, frame
now = time.time_ns()
for f in frame.read_frames(open(sys.argv[1], "rb")):
    if "trace" in f.header:
        t = f.header["trace"]
        print(*(f"{p} {layer}" for p, host, layer, start, end, n in t), sep=", ")
        for a, b in zip([[0] * 6] + t, t):
            if not (now - 600e9 < b[3] <= b[4] <= now and (a[4] <= b[3] or a[0] == b[0] == "ds-expert")) or b[1] != socket.gethostname():
                print("wrong:", a, b)
X
bytes() { frame show <"$1" | grep -o '"trace": .*'; }
{ frame prompt 7 0 1 $(seq 3 20) / 8 0 3 5 6 / 9 0 1 4; frame end; } >ask

# a process for each stage of the first two layers
ds-embed --trace -B 16 <ask >embedded
ds-attn -l 0 -i embedded -o a
ds-route -l 0 -i a -o r
ds-expert -l 0 -i r | ds-block -l 1-2 | ds-block -l 3 -o b
ds-head -i b -o h
line="ds-embed -1, ds-attn 0, ds-route 0, ds-expert 0, ds-block 1, ds-block 2, ds-block 3, ds-head -1"
is "$(py trace.py h)" "$line
$line" "each stage that acts on a frame says so, a ds-block for each layer"
is "$(py - <<'X'
import frame, itertools
size = [[len(f.raw) for f in frame.read_frames(open(n, "rb")) if "op" not in f.header] for n in ("embedded", "a", "b")]
trace = [f.header["trace"] for f in frame.read_frames(open("h", "rb")) if "trace" in f.header]
came = sum(len(f.raw) for f in frame.read_frames(open("ask", "rb")) if "op" not in f.header)
print([[t[i][5] for t in trace] for i in (1, 2, 7)] == size, sum(t[0][5] for t in trace) == came, [t[5][5] for t in trace])
X
)" "True True [0, 0]" "bytes are those of the frame as it came, of ds-embed those of its prompts, 0 within a process"
ds-embed -B 16 <ask | ds-block | ds-head -o plain
frame tensors <plain >want
frame tensors <h >got
same want got "no bit of a tensor depends on it"
is "$(bytes plain)" "" "nobody writes a trace who was not asked"
ds-attn -l 1 -i embedded | ds-route -l 3 | ds-expert -l 2 -o got
same embedded got "who does not act on a frame leaves it alone"
frame set trace '[["shell", "'"$(uname -n)"'", -1, '"$(date +%s%N)"', '"$(date +%s%N)"', 0]]' <ask | ds-embed | ds-block -o got
is "$(py trace.py got | sort -u)" "shell -1, ds-embed -1, ds-block 0, ds-block 1, ds-block 2, ds-block 3" "a prompt that has the key asks, too, and keeps its entries"
is "$(py trace.py got | wc -l)" 1 "once"
frame set trace '"x"' <embedded >bad
fails_with 1 "'trace' is not an array" "a trace that is none is refused" ds-attn -l 0 -i bad -o got

# experts side by side
ds-route -l 0 -i a | ds-expert -l 0 | ds-attn -l 1 | ds-route -l 1 -o routed
ds-expert -l 1 -e 0-7 -i routed -o left
ds-expert -l 1 -e 8-11,s -i routed -o right
ds-expert -l 1 -e 12-15 -i routed -o third
ds-join -i left -i right -i third -o joined
is "$(py trace.py joined | sort -u)" "ds-embed -1, ds-attn 0, ds-route 0, ds-expert 0, ds-attn 1, ds-route 1, ds-expert 1, ds-expert 1, ds-expert 1, ds-join 1" \
    "ds-join has the entries of all, each once"

# the loop
mkfifo loop
ok "a loop that is traced comes to its end" pipe 'ds-embed --trace -i ask -i loop | ds-block | ds-head | ds-sample -g -n 4 | tee loop >tokens'
is "$(py trace.py tokens | sort -u)" "ds-embed -1, ds-block 0, ds-block 1, ds-block 2, ds-block 3, ds-head -1, ds-sample -1" "its tokens carry the way of each step, which begins anew with each batch"
is "$(frame show <tokens | grep -c trace)" 4 "one frame for each step"
rm loop
mkfifo loop
pipe 'ds-embed -i ask -i loop | ds-block | ds-head | ds-sample -g -n 4 | tee loop >want'
frame tensors ids <tokens >a
frame tensors ids <want >b
same a b "the tokens are the same"
is "$(bytes want)" "" "without --trace there is none"

# for the viewers
ok "-f trace" ds-dump -f trace -i tokens -o trace.json
is "$(py - <<'X'
import frame, json
entries = [(number, e) for number, f in enumerate(frame.read_frames(open("tokens", "rb")), 1) for e in f.header.get("trace", ())]
j = json.load(open("trace.json"))
events = [e for e in j["traceEvents"] if e["ph"] == "X"]
start = int(j["otherData"]["start"])
bad = [] if len(events) == len(entries) else [len(events)]
names = {(e["pid"], e["tid"]): e["args"]["name"] for e in j["traceEvents"] if e["name"] == "thread_name"}
hosts = {e["pid"]: e["args"]["name"] for e in j["traceEvents"] if e["name"] == "process_name"}
for e, (number, (program, host, layer, a, b, n)) in zip(events, entries):
    name = program if layer < 0 else f"{program} layer {layer}"
    if [e["name"], names[e["pid"], e["tid"]], hosts[e["pid"]], e["args"]["frame"], e["args"]["bytes"], round(e["ts"] * 1000), round(e["dur"] * 1000)] != \
            [name, name, host, number, n, a - start, b - a]:
        bad.append(e)
print(bad[:2], sorted(names.values()))
X
)" "[] ['ds-block layer 0', 'ds-block layer 1', 'ds-block layer 2', 'ds-block layer 3', 'ds-embed', 'ds-head', 'ds-sample']" "each entry is an event, a host a process, a stage of a layer a thread"
if command -v jq >/dev/null; then
	is "$(jq '[.traceEvents[] | select(.ph == "X")] | length' trace.json)" 28 "jq reads it"
else
	skip "jq reads it" "there is no jq"
fi
fails_with 1 '^ds-dump: nothing was printed: no frame has a trace: ds-embed --trace asks for it$' "a stream without a trace" \
    ds-dump -f trace -i plain -o none.json
is "$(tr -d '\n ' <none.json)" '{"displayTimeUnit":"ns","traceEvents":[],"otherData":{"start":"0"}}' "is JSON without events"
for wrong in '[1]' '[["a", "b", 1, 2, 3]]' '[["a", "b", 1, -2, 3, 4]]' '[[1, "b", 1, 2, 3, 4]]'; do
	frame set trace "$wrong" <plain >bad
	fails_with 1 "entry 1 of 'trace' is not" "a trace like $wrong is refused" ds-dump -f trace -i bad -o bad.json
	ok "and what was printed is JSON" py -m json.tool bad.json
done
frame set trace '[["a\"\u0007", "h\n", null, 5, 3, 4], ["\"", "k", 2, 1, 9, 0]]' <plain >odd
is "$(ds-dump -f trace -i odd | py -c 'import json, sys; print([(e["name"], e["ts"], e["dur"], e["pid"]) for e in json.load(sys.stdin)["traceEvents"] if e["ph"] == "X"][:2])')" \
    "[('a\"\\x07', 0.0, 0.0, 1), ('\" layer 2', -0.004, 0.008, 2)]" "odd names and times are told as they are"
done_testing
