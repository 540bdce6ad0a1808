#!/bin/sh
# DeepSeek-V3.2's indexer: what it chooses, and the same bits however rows arrive.
# only: asan kernels
. "${0%/*}/lib.sh"

m=$G/v32
# rows WORD...: what attention of layer 0 makes of them, with what was chosen
rows() {
	py "$T/rows.py" d=128 "$@" end | ds-attn -m "${MODEL:-$m}" -l 0 --tap attn.index,attn.out
}
# of SEQ: its rows, a line for each of h, attn.index and attn.out
of() {
	frame tensors | grep "@0 $1 \| h $1 "
}

py - "$m" <<'X'
import json, os, sys
import numpy as np

source = sys.argv[1]
raw = open(source + "/model.safetensors", "rb").read()
config = json.load(open(source + "/config.json"))

def model(name, data=raw, **changes):
    os.mkdir(name)
    c = {k: v for k, v in {**config, **changes}.items() if v is not None}
    json.dump(c, open(name + "/config.json", "w"))
    open(name + "/model.safetensors", "wb").write(data)

model("v3", model_type="deepseek_v3", architectures=["DeepseekV3ForCausalLM"], index_topk=None,
      index_n_heads=None, index_head_dim=None)
model("long", index_topk=200)
model("some", index_topk=70)
model("none", index_topk=None)
model("narrow", index_head_dim=8)
n = int.from_bytes(raw[:8], "little")
tied = bytearray(raw)
for name, t in json.loads(raw[8:8 + n]).items():
    if ".indexer.k_norm." in name:
        a, b = (8 + n + x for x in t["data_offsets"])
        tied[a:b] = bytes(b - a)
model("ties", bytes(tied))
X

rows 7:0+150 >whole
of 7 <whole >want
is "$(wc -l <want)" 450 "a prompt of 150 rows is computed"
rows 7:0+1 7:1+40 7:41+23 8:0+3,7:64+64 7:128+1 7:129+21 | of 7 >got
same want got "in batches, and among other sequences, rows choose and compute the same"
rows $(for i in $(seq 0 149); do echo "7:$i+1"; done) | of 7 >got
same want got "one by one, too"
for k in $(sets 2); do
	DS_KERNELS=$k rows 7:0+150 | of 7 >got
	same want got "$k kernels at most: the same"
done
py "$T/rows.py" d=128 7:0+150 end | ds-attn -m "$m" -l 0 -t 3 --tap attn.index,attn.out | of 7 >got
same want got "three threads: the same"
rows 7:0+90 7:90+60:1 7:90+60 | of 7 | sort -u >got
is "$(sort want | comm -13 got -) $(wc -l <got)" " 630" "rows that were taken back leave no keys"
for n in 10 100; do
	rows 7:0+$n fork=7,8,$n 8:$n+40 | of 8 >a
	rows 7:0+150 fork=7,8,$n 7:$n+50:1 8:$n+40 | of 8 >b
	same a b "a fork of $n positions reads the keys of these"
	is "$(wc -l <a)" 120 "and has all its rows"
done

# V3 is the same model with all positions chosen
plain() {
	py - "$1" "$2" "$3" <<'X'
import sys
import frame
a, b = (next(iter(frame.read_frames(open(f, "rb")))).tensors["h"] for f in sys.argv[1:3])
n, other = int(sys.argv[3]), (a.view("u4") != b.view("u4")).any(1)
print(other[:n].sum(), other[n:].sum())
X
}
py "$T/rows.py" d=128 7:0+150 end | ds-attn -m v3 -l 0 -o v3.out
MODEL=long rows 7:0+150 >long.out
is "$(plain v3.out whole 16)" "0 134" \
    "up to index_topk positions a row has V3's bits, and others after these"
is "$(plain v3.out long.out 150)" "0 0" "with more index_topk than positions, all rows have them"
MODEL=ties rows 7:0+150 >ties.out
MODEL=some rows 7:0+150 >some.out

# the choice, in float64
cat >check.py <<'X'
import json, os, sys
import numpy as np
import frame

folder, stream = sys.argv[1:]
c = json.load(open(folder + "/config.json"))
raw = open(folder + "/model.safetensors", "rb").read()
n = int.from_bytes(raw[:8], "little")
header = json.loads(raw[8:8 + n])
code = np.arange(256)
e, f = code >> 3 & 15, code & 7
f8 = np.where(code & 128, -1, 1) * np.where(e == 0, f * 2.0**-9, (8 + f) * 2.0**(e - 10.0))

def weight(name):
    t = header[name]
    a, b = (8 + n + x for x in t["data_offsets"])
    if t["dtype"] == "F8_E4M3":
        w = f8[np.frombuffer(raw[a:b], "u1")].reshape(t["shape"])
        s = weight(name + "_scale_inv").repeat(128, 0).repeat(128, 1)
        return w * s[:w.shape[0], :w.shape[1]]
    if t["dtype"] == "BF16":
        w = (np.frombuffer(raw[a:b], "<u2").astype("u4") << 16).view("f4")
        return w.astype("f8").reshape(t["shape"])
    return np.frombuffer(raw[a:b], "<f4").astype("f8").reshape(t["shape"])

out = next(iter(frame.read_frames(open(stream, "rb")))).tensors
rows = next(iter(frame.read_frames(open("in", "rb")))).tensors["h"].astype("f8")
T, p = len(rows), "model.layers.0.self_attn."
norm = lambda x, w: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * w
x = norm(rows, weight("model.layers.0.input_layernorm.weight"))
q = norm(x @ weight(p + "q_a_proj.weight").T, weight(p + "q_a_layernorm.weight"))
p += "indexer."
I, d, r, K = c["index_n_heads"], c["index_head_dim"], c["qk_rope_head_dim"], c["index_topk"]
q = (q @ weight(p + "wq_b.weight").T).reshape(T, I, d)
k = x @ weight(p + "wk.weight").T
k = (k - k.mean(1, keepdims=True)) / np.sqrt(k.var(1, keepdims=True) + 1e-6)
k = k * weight(p + "k_norm.weight") + weight(p + "k_norm.bias")
s = c["rope_scaling"]
freq = c["rope_theta"] ** -(np.arange(0, r, 2) / r)
base, first = np.log(c["rope_theta"]), s["original_max_position_embeddings"]
turns = lambda b: r * np.log(first / (b * 2 * np.pi)) / (2 * base)
low, high = max(np.floor(turns(s["beta_fast"])), 0), min(np.ceil(turns(s["beta_slow"])), r - 1)
ramp = np.clip((np.arange(r // 2) - low) / max(high - low, 1e-3), 0, 1)
angle = np.arange(T)[:, None] * (freq / s["factor"] * ramp + freq * (1 - ramp))

def turn(v, a):
    x, y = v[..., :r // 2].copy(), v[..., r // 2:r].copy()
    v[..., :r // 2], v[..., r // 2:r] = x * np.cos(a) - y * np.sin(a), y * np.cos(a) + x * np.sin(a)

turn(q, angle[:, None])
turn(k, angle)
score = np.einsum("thd,sd->ths", q, k).clip(0)
score = np.einsum("ths,th->ts", score, x @ weight(p + "weights_proj.weight").T)
for t in range(T):
    got = out["attn.index@0"][t]
    have = got[got >= 0]
    want = min(K, t + 1)
    if (len(have) != want or (have != np.unique(have)).any() or have[-1] > t or
            (got[want:] != -1).any()):
        print("row", t, "has", got)
        continue
    rest = np.setdiff1d(np.arange(t + 1), have)
    # a position that was left out may be better by what float32 rounds
    if len(rest) and score[t, rest].max() - score[t, have].min() > 1e-4 * abs(score[t]).max():
        print("row", t, "left out", rest[score[t, rest].argmax()])
    if len(rest) and score[t].any() == 0 and have[-1] != want - 1:
        print("row", t, "does not prefer lower positions:", have)
X
py "$T/rows.py" d=128 7:0+150 end >in
for pair in "$m whole" "some some.out" "long long.out" "ties ties.out"; do
	is "$(py check.py $pair)" "" \
	    "${pair#* }: each row chooses its best positions, and of equal ones the lower"
done

fails_with 1 "index_topk" "without index_topk the model is refused" ds-attn -m none -l 0 -i in
fails_with 1 "index_head_dim is 8" "heads narrower than the rotated part are refused" \
    ds-attn -m narrow -l 0 -i in
fails_with 2 "indexer .* runs on the CPU only" "a GPU is refused" ds-attn -m "$m" -l 0 -d cuda -i in
printf 'a 1 100 20\nb 1 100 20 gpu\n' >hosts
fails_with 2 "host 'b': the indexer .* runs on the CPU only" "and no plan places it there" \
    ds-plan -m "$m" hosts
done_testing
