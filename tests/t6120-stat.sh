#!/bin/sh
# ds-stat: health of tensors against numpy, loads of routers, times, and how it meets its surroundings.
# also: asan leaks
. "${0%/*}/lib.sh"
case $PATH in "$R"/build-asan/*) damage=67 ;; *) damage=13 ;; esac

# records like these, checked against numpy below
py - <<'EOP'
import frame, numpy as np
nan, inf = np.nan, np.inf
rng = np.random.default_rng(3)
def batch(out, at, layer, n, tensors, pos=0, **more):
    dtypes = more.pop("dtypes", {})
    frame.write_frame(out, {"at": at, "layer": layer, "spans": [[1, pos, n, 0]], **more}, tensors, dtypes)
def sample(out, at, n, tensors):
    frame.write_frame(out, {"at": at, "spans": [[1, 0, n, 0]]}, tensors)
def end(out):
    frame.write_frame(out, {"op": "end"})
h = rng.standard_normal((9, 777)).astype("<f4")
h[:, 500] *= 100                # an outlier, and a lesser one
h[4, 3] = -40
h[2, 100], h[3, 700], h[8, 776], h[0, :5] = nan, inf, -inf, 0
np.save("h.npy", h)
for name, cuts in (("whole", [9]), ("pieces", [1, 3, 5])):
    with open(name, "wb") as out:
        at = 0
        for n in cuts:
            batch(out, "attn", 3, n, {"h": h[at:at + n]}, at)
            at += n
        end(out)
with open("kinds", "wb") as out:
    idx = np.array([[0, 3], [3, 4]], "<i4")
    w = np.array([[.5, .5], [.25, .75]], "<f4")
    batch(out, "expert", 2, 2, {"ids": np.array([7, -1], "<i4"), "h": np.array([[1, 2], [3, 4]], "<f4"), "expert.idx": idx, "expert.w": w})
    batch(out, "expert", 2, 2, {"h": np.ones((2, 2), "<f4"), "expert.idx": idx, "expert.w": w,
        "expert.acc": np.array([[3 << 40, 4 << 40], [0, 1 << 39]], "<i8")}, experts_done="0-7,s")
    batch(out, "attn", 0, 2, {"h": np.array([[0, 0], [0, 0]], "<f4"), "b": np.array([[0x3f80], [0xc000]], "<u2"),
        "attn.probs@7": np.array([[1], [0]], "<f4")}, dtypes={"b": "BF16"})
    batch(out, "attn", 0, 1, {"attn.probs@7": np.array([[.5, .5]], "<f4")}, 2)
    sample(out, "sample", 2, {"logits": np.array([[1, 3]], "<f4"), "row": np.array([1], "<i4")})
    sample(out, "elsewhere", 1, {"a b\n": np.array([[1, nan]], "<f4")})
    end(out)
with open("router", "wb") as out:
    choices = np.array([[0, 1, 2, 3], [0, 1, 8, 9], [0, 5, 10, 15], [0, 1, 2, 4]], "<i4")
    w = np.array([[1, 2, 3, 4]] * 4, "<f4")
    batch(out, "expert", 1, 3, {"expert.idx": choices[:3], "expert.w": w[:3]})
    batch(out, "expert", 1, 1, {"expert.idx": choices[3:], "expert.w": w[3:]}, 3)
    end(out)
for name, idx in (("descends", [[2, 1]]), ("negative", [[-1, 1]]), ("large", [[0, 4096]]), ("sixteen", [[3, 16]])):
    with open(name, "wb") as out:
        batch(out, "expert", 1, 1, {"expert.idx": np.array(idx, "<i4"), "expert.w": np.ones((1, 2), "<f4")})
        end(out)
EOP

ds-stat -i whole >whole.txt
is "$(sed -n 1p whole.txt | tr -s ' ')" \
    "# tensor stage layer name rows width norm norm_max min max nan inf zero outliers channels" "the first line names the columns"
is "$(ds-stat <pieces | md5sum)" "$(md5sum <whole.txt)" "it does not depend on how the rows are cut into frames"
ds-stat --json --outliers 5 <whole >whole.json
ok "the numbers are numpy's" py - <<'EOP'
import json, numpy as np
h = np.load("h.npy").astype("f8")
j = json.loads(open("whole.json").readline())
finite = np.where(np.isfinite(h), h, 0)
norms = np.sqrt((finite ** 2).sum(1))
channels = np.abs(finite).max(0)
median = np.sort(channels)[(777 - 1) // 2]
large = sorted((c for c in range(777) if channels[c] > 5 * median), key=lambda c: -channels[c])
want = {"record": "tensor", "stage": "expert", "layer": 2, "name": "h", "rows": 9, "width": 777, "norm": norms.mean(),
    "norm_max": norms.max(), "min": finite.min(), "max": finite.max(), "nan": 1 / h.size, "inf": 2 / h.size, "zero": 5 / h.size,
    "outliers": len(large), "channels": [[c, channels[c] / median] for c in large[:4]]}
assert list(j) == list(want), j
for k in want:
    assert want[k] == j[k] if isinstance(want[k], str) else np.allclose(want[k], j[k], rtol=1e-12, atol=0), (k, want[k], j[k])
assert [c for c, _ in j["channels"]] == [500, 3], j
EOP
is "$(awk '$1 == "tensor" { print $14, $15 }' whole.txt | sed 's/:.*//')" "2 500" "text has the outliers as fields"
is "$(ds-stat --outliers 1e9 <whole | awk '$1 == "tensor" { print $14, $15 }')" "0 -" "--outliers sets what counts as one"

ds-stat <kinds | awk '$1 == "tensor"' | tr -s ' ' >kinds.txt
cat >expected <<'X'
tensor tokenize - ids 2 1 - - -1 7 0 0 0 - -
tensor embed - b 2 1 1.5 2 -2 1 0 0 0 - -
tensor embed - h 2 2 0 0 0 0 0 0 1 - -
tensor attn 2 h 2 2 3.61803 5 1 4 0 0 0 0 -
tensor route 2 expert.idx 2 2 - - 0 4 0 0 0.25 - -
tensor route 2 expert.w 2 2 0.748838 0.790569 0.25 0.75 0 0 0 0 -
tensor expert 2 expert.acc:0-7,s 2 2 2.75 5 0 4 0 0 0.25 0 -
tensor attn 7 attn.probs@7 3 - 0.569036 1 0 1 0 0 0.25 - -
tensor head - logits 1 2 3.16228 3.16228 1 3 0 0 0 0 -
tensor elsewhere - a␣b\u000a 1 2 1 1 1 1 0.5 0 0 - -
X
same kinds.txt expected "each tensor by the stage that made it, in pipeline order; rows on their way past others count once"

ds-stat <router | awk '$1 == "router"' | tr -s ' ' >got
is "$(cat got)" "router 1 4 4 16 10 3.078 4 0 -" "a router's load: rows, choices, experts, those used, entropy, imbalance, the busiest"
ok "as numpy has it" py - <<'EOP'
import numpy as np
n = np.bincount([0, 1, 2, 3, 0, 1, 8, 9, 0, 5, 10, 15, 0, 1, 2, 4], minlength=16)
p = n[n > 0] / 16
got = open("got").read().split()
assert got[4:9] == ["16", str(len(p)), "%.4g" % -(p * np.log2(p)).sum(), "%.4g" % (n.max() / n.mean()), str(n.argmax())], got
EOP
sed 's/"n_group": [0-9]*/"n_group": 4/; s/"topk_group": [0-9]*/"topk_group": 4/' "$G/v3/config.json" >config.json
is "$(ds-stat -m . <router | awk '$1 == "router" { print $5, $10 }')" "16 0.4375" "-m tells how many experts there are, and groups that are left out"
is "$(ds-stat --experts --json -m . <router | py -c '
import json, sys
for j in map(json.loads, sys.stdin):
    if j["record"] == "expert" and (j["rows"] or j["expert"] == 7):
        print(j["layer"], j["expert"], j["rows"], j["share"], j["weight"])' | tr '\n' ';')" \
    "1 0 4 0.25 1;1 1 3 0.1875 2;1 2 2 0.125 3;1 3 1 0.0625 4;1 4 1 0.0625 4;1 5 1 0.0625 2;1 7 0 0 None;1 8 1 0.0625 3;1 9 1 0.0625 4;1 10 1 0.0625 3;1 15 1 0.0625 4;" \
    "--experts has a record for each, also those that nobody chose"
for bad in descends negative large; do
	fails_with 1 "^ds-stat: $bad: frame 1: layer 1: tensor 'expert.idx': a row is not ascending in 0 to 4095" \
	    "an expert.idx is refused: $bad" ds-stat -i $bad
done
fails_with 1 "is not ascending in 0 to 15" "so is an expert that the model does not have" ds-stat -m . -i sixteen
fails_with 1 "config.json" "a folder without config.json is an error" ds-stat -m "$G" -i whole

# real frames
export DS_MODEL=$M
ds-tokenize -a "12+30=" | ds-embed -B 3 | ds-block -l 0 | tee 1-block.dsf | ds-attn -l 1 | tee 2-attn.dsf | ds-route -l 1 | tee 3-route.dsf |
    ds-expert -l 1 -e 0-7 | tee 4-expert.dsf | ds-expert -l 1 -e 8-15,s | ds-block -l 2-3 | tee 5-block.dsf | ds-head >6-head.dsf
mkdir run
mv ./*.dsf run
is "$(ds-stat -i run | awk '$1 != "#" { print $1, $2, $3, $1 == "tensor" ? $4 " " $5 : "" }')" "tensor tokenize - ids 7
tensor expert 0 h 7
tensor attn 1 h 7
tensor route 1 expert.idx 7
tensor route 1 expert.w 7
tensor expert 1 expert.acc:0-7 7
tensor expert 3 h 7
tensor head - logits 7
router 1 7 " "a folder of streams is a run: each tensor's rows count once"

# times
py - >traced <<'EOP'
import frame, numpy as np, sys
ms, t0 = 10**6, 1_700_000_000 * 10**9
def batch(*entries):
    trace = [[p, h, l, t0 + int(a * ms), t0 + int(b * ms), n] for p, h, l, a, b, n in entries]
    frame.write_frame(sys.stdout.buffer, {"at": "sample", "spans": [[1, 0, 1, 0]], "trace": trace}, {"ids": np.zeros(1, "<i4")})
batch(("ds-embed", "one", -1, 0, 1, 100), ("ds-route", "one", 0, 3, 4, 200), ("ds-expert", "two", 0, 5, 15, 300),
      ("ds-expert", "three", 0, 6, 11, 400), ("ds-head", "o n e", -1, 20, 24, 500))
batch(("ds-embed", "one", -1, 50, 52, 100), ("ds-route", "one", 0, 52, 53, 200))
batch()
frame.write_frame(sys.stdout.buffer, {"at": "sample", "spans": [[1, 0, 1, 0]]}, {"ids": np.zeros(1, "<i4")})
frame.write_frame(sys.stdout.buffer, {"op": "end"})
EOP
ds-stat --trace <traced | tr -s ' ' >got
cat >expected <<'X'
# stage program host layer frames bytes seconds share
stage ds-embed one - 2 200 0.003 0.1111
stage ds-route one 0 2 400 0.002 0.07407
stage ds-expert two 0 1 300 0.01 0.3704
stage ds-expert three 0 1 400 0.005 0.1852
stage ds-head o␣n␣e - 1 500 0.004 0.1481
# link from from_host from_layer to to_host to_layer frames bytes seconds share
link ds-embed one - ds-route one 0 2 400 0.002 0.07407
link ds-route one 0 ds-expert two 0 1 300 0.001 0.03704
link ds-route one 0 ds-expert three 0 1 400 0.002 0.07407
link ds-expert two 0 ds-head o␣n␣e - 1 500 0.005 0.1852
# total frames seconds
total 2 0.027
X
same got expected "--trace: time of stages and on the way; what worked side by side waited for the same"
is "$(ds-stat --trace --json <traced | py -c 'import json, sys; j = [json.loads(l) for l in sys.stdin]; print(len(j), j[5]["from_layer"], j[5]["to"], j[-1]["frames"])')" \
    "10 None ds-route 2" "--trace --json has the same"
for bad in '7' '[7]' '[["a","h",0,1,2]]' '[["a","h",0,1,2,"x"]]' '[["a","h",0,-1,2,3]]' '[[1,"h",0,1,2,3]]' '[["a","h",1.5,1,2,3]]' \
    '[["a","h",0,1,9223372036854775807,3]]'; do
	($FRAME prompt 1 0 0 5; $FRAME end) | $FRAME set trace "$bad" >bad
	fails_with 1 "^ds-stat: bad: frame 1: header: .*'trace' is not" "a trace of $bad is refused" ds-stat --trace -i bad
done
fails_with 2 'ds-stat: --trace' "--trace takes one stream" ds-stat --trace -i run

ds-tokenize "12+30=" | ds-embed --trace | ds-block -l 0 | ds-attn -l 1 | ds-route -l 1 | ds-expert -l 1 -e 0-7 | ds-expert -l 1 -e 8-15,s >asked
is "$(ds-stat --trace -i asked | awk '$1 == "stage" { print $2, $4, $5 } $1 == "link" { print $2, $4, $5, $7, $8 } $1 == "total" { print $2 }')" "ds-embed - 1
ds-block 0 1
ds-attn 1 1
ds-route 1 1
ds-expert 1 2
ds-embed - ds-block 0 1
ds-block 0 ds-attn 1 1
ds-attn 1 ds-route 1 1
ds-route 1 ds-expert 1 1
ds-expert 1 ds-expert 1 1
1" "what ds-embed --trace asks for is summed"

# --watch
py - >watched <<'EOP'
import os, pty, subprocess
data = open("whole", "rb").read()
master, slave = pty.openpty()
p = subprocess.Popen(["ds-stat", "--watch"], stdin=subprocess.PIPE, stdout=slave)
os.close(slave)
p.stdin.write(data[:-64])
p.stdin.flush()
text = b""
while not (b"tensor   expert" in text and text.endswith(b"\n")):
    text += os.read(master, 65536)
p.stdin.write(data[-64:])
p.stdin.close()
try:
    while (more := os.read(master, 65536)):
        text += more
except OSError:
    pass
screens = text.split(b"\33[H\33[2J")
print(p.wait(), screens[0] == b"", len(screens) > 2, {s.replace(b"\r", b"") for s in screens[1:]} == {open("whole.txt", "rb").read()})
EOP
is "$(cat watched)" "0 True True True" "--watch draws on a terminal before the end, and again at the end"
is "$({ head -c -64 whole; sleep 1.5; tail -c 64 whole; } | ds-stat --watch | grep -c '^tensor')" 2 "and elsewhere prints one table behind the other"
is "$(ds-stat --watch <whole)" "$(cat whole.txt)" "a stream that comes at once gives the same table"

# surroundings
head -c -64 whole >open
fails_with 3 '^ds-stat: .*ended without an end frame' "a stream that ends without end is told so" ds-stat -i open
ds-stat -i open >got 2>/dev/null
same got whole.txt "after what came before"
fails_with 3 'standard input: ended without an end frame' "an empty input is one, too" sh -c 'ds-stat </dev/null'
frame end >none
for o in "" "--json" "--experts"; do
	fails_with 1 "^ds-stat: nothing to sum up: no frame has tensors" "a stream of nothing has nothing to sum up $o" ds-stat $o -i none
done
fails_with 1 "^ds-stat: nothing to sum up: no frame has a trace: ds-embed --trace" "a run without a trace has no times" ds-stat --trace -i whole
py "$T/rows.py" 7:0+2/1 end >none
fails_with 1 "^ds-stat: nothing to sum up: --experts: no frame comes from ds-route" "rows before the router have no experts" ds-stat --experts -i none
fails_with 3 'upstream: ds-attn: it broke' "an error frame is told" sh -c '$FRAME error "ds-attn: it broke" | ds-stat'
fails_with 3 'cannot write' "a full disk is noticed" sh -c 'ds-stat <whole >/dev/full'
is "$(py -c '
import subprocess
p = subprocess.Popen("ds-stat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
p.stdout.close()
p.communicate(open("whole", "rb").read())
print(p.returncode)' 2>&1)" -13 "a closed pipe ends it quietly"
mkfifo fifo
cat whole >fifo &
is "$(ds-stat -i fifo)" "$(cat whole.txt)" "it reads a FIFO"
wait
is "$(ds-stat -i /dev/stdin <whole)" "$(cat whole.txt)" "and /dev/stdin"
printf 'x' | cat - whole >bad
fails_with 1 'not a frame' "what is no frame is refused" ds-stat -i bad
ok "each damaged byte is refused" py "$T/damage.py" router $damage ds-stat
ok "also in a trace" py "$T/damage.py" traced $damage ds-stat --trace
fails_with 2 "^ds-stat: --outliers '0.5'" "--outliers wants a number from 1 on" ds-stat --outliers 0.5
done_testing
