#!/bin/sh
# Frames that break a rule of ds-frame(5), each refused by name; those at the limits are taken.
# also: asan
. "${0%/*}/lib.sh"

# NAME.frames for each rule, and a list of: name, a tab, what the message says ('' where the frame is good)
py - >cases <<'EOP'
import struct
import frame, msgpack
pack = msgpack.packb
END = frame.Frame({"op": "end"}).bytes()
BIG = 2**32 - 1

def whole(head, data=b"", crc=None, version=b"dsf1", nhead=None, ndata=None, prefix=None):
    nhead, ndata = nhead if nhead is not None else len(head), ndata if ndata is not None else len(data)
    crc = crc if crc is not None else frame.crc32c(head + data)
    return (b"\xd8\x44" + version + struct.pack(">III", nhead, ndata, crc) + head + b"\xc6" +
            struct.pack(">I", ndata if prefix is None else prefix) + data)

def padded(pairs, data=b"", **more):
    """A header of these packed pairs, the padding added."""
    for n in range(64, 192):
        head = b"\xde" + struct.pack(">H", len(pairs) + 1) + b"".join(pairs) + pack("") + pack(" " * n)
        if (18 + len(head) + 5) % 64 == 0:
            return whole(head, data, **more)

def pairs(d):
    return [pack(k) + (v if isinstance(v, bytes) else pack(v)) for k, v in d.items()]

GOOD = {"at": "attn", "layer": 0, "spans": [[0, 0, 1, 0]], "tensors": []}

def but(**changes):
    d = {**GOOD, **changes}
    return pairs({k: v for k, v in d.items() if v is not None})

def tensors(*t, data=bytes(256)):
    return padded(but(tensors=[list(x) for x in t]), data)

def case(name, says, data):
    open(name + ".frames", "wb").write(data + END)
    print(name, says, sep="\t")

H = ["q", "F32", [1, 4], 0]
case("a-good-frame", "", padded(but()))
case("text", "not a frame", b"It was a bright cold day in April, and the clocks were striking thirteen.")
case("version-2", "version '2'", padded(but(), version=b"dsf2"))
case("no-header", "header of 0 bytes", whole(b""))
case("header-too-long", "header of 1048577 bytes", padded(but(), nhead=1048577))
case("header-of-4-gib", "header of 4294967295 bytes", padded(but(), nhead=BIG))
case("prefix-differs", "bin32 length", padded(but(), b"1234", prefix=5))
case("prefix-is-no-bin", "bin32 length", padded(but(), b"1234").replace(b"\xc6\0\0\0\4", b"\xc5\0\0\0\4"))
case("not-aligned", "multiple of 64", whole(pack(GOOD)))
case("wrong-crc", "CRC", padded(but(), crc=12345))
h = pack(GOOD)
for name, head in {
        "an-array": pack([1] * 104), "an-integer": b"\5" + pack(" " * 102), "two-objects": h + pack({}) + pack("x" * (105 - len(h) - 3)),
        "a-map-cut-short": b"\x85" + h[1:] + b"\xa1x" * 30, "2-pow-32-pairs": b"\xdf\xff\xff\xff\xff" + bytes(100),
        "2-pow-31-pairs": b"\xdf\x80\0\0\0" + bytes(100), "2-pow-32-elements": b"\x81\xa1x\xdd\xff\xff\xff\xff" + bytes(97),
        "a-string-too-long": b"\x81\xa1x\xdb\xff\xff\xff\xff" + bytes(97), "a-bin-too-long": b"\x81\xa1x\xc6\xff\xff\xff\xff" + bytes(97),
        "an-ext-too-long": b"\x81\xa1x\xc9\xff\xff\xff\xff\5" + bytes(96), "no-msgpack": b"\xc1" * 105,
        "deep-arrays": b"\x81\xa1x" + b"\x91" * 101 + b"\xc0"}.items():
    head = (head + b"\xc0" * 105)[:105]
    case("header-of-" + name, "not one msgpack map", whole(head))
deep = b"\x81\xa1x" + b"\x91" * 900000
case("header-of-very-deep-arrays", "not one msgpack map", whole(deep + bytes(-(23 + len(deep)) % 64)))
wide = b"\x81\xa1x\xdd\0\x0f\0\0" + b"\x90" * 0xf0000
case("wide-unknown-value", "'at' is missing|not one msgpack map", whole(wide + bytes(-(23 + len(wide)) % 64)))

for key in "at", "spans", "tensors":
    case("no-" + key, f"'{key}' is missing", padded(but(**{key: None})))
case("no-layer", "'layer' is missing", padded(but(layer=None)))
for key in "at", "layer", "spans", "tensors":
    case("twice-" + key, f"'{key}' appears twice", padded(but() + pairs({key: GOOD[key]})))
case("at-is-a-number", "'at' is not a string", padded(but(at=5)))
case("at-holds-nul", "'at' is not a string", padded(but(at="attn\0")))
case("layer-is-negative", "'layer'", padded(but(layer=-1)))
case("layer-is-too-large", "'layer'", padded(but(layer=2**31)))
case("layer-is-a-float", "'layer'", padded(but(layer=0.0)))
case("model-of-15-digits", "'model'", padded(but(model="0" * 15)))
case("model-in-capitals", "'model'", padded(but(model="ABCDEF0123456789")))
case("model-is-a-number", "'model'", padded(but(model=7)))
case("precision-bf16", "", padded(but(precision="bf16")))
case("precision-f32", "", padded(but(precision="f32")))
case("precision-of-a-later-day", "'precision' is 'fp4', not f32, bf16, fp8 or i8", padded(but(precision="fp4")))
case("precision-in-capitals", "'precision' is 'BF16'", padded(but(precision="BF16")))
case("precision-is-a-number", "'precision' is not a string", padded(but(precision=16)))
case("twice-precision", "'precision' appears twice", padded(but(precision="f32") + pairs({"precision": "f32"})))
case("experts-done-is-a-list", "experts_done", padded(but(experts_done=[1])))
case("seqs-is-a-list", "'seqs'", padded(but(seqs=[1])))
case("seqs-by-name", "'seqs'", padded(but(seqs={"0": {}})))
case("seqs-of-numbers", "'seqs' of sequence 7 is not a map", padded(but(seqs={7: 1})))

many = [[0, i, 1, 0] for i in range(4097)]
case("spans-4096", "", padded(but(spans=many[:4096])))
case("spans-4097", "'spans' is not an array of at most 4096", padded(but(spans=many)))
case("spans-a-map", "'spans'", padded(but(spans={0: 1})))
case("span-of-3", "span 0 is not", padded(but(spans=[[0, 0, 1]])))
case("span-is-a-number", "span 0 is not", padded(but(spans=[0])))
for i, what in enumerate(("seq", "pos", "n", "flags")):
    for name, v in ("negative", -1), ("a-float", 1.0), ("a-string", "1"), ("nil", None):
        case(f"span-{what}-{name}", f"a span's {what}", padded(but(spans=[[v if k == i else 0 for k in range(4)]])))
case("span-seq-of-64-bits", "", padded(but(spans=[[2**64 - 1, 0, 1, 0]])))
case("span-pos-too-large", "a span's pos", padded(but(spans=[[0, 2**31, 0, 0]])))
case("span-n-too-large", "a span's n", padded(but(spans=[[0, 0, 2**32, 0]])))
case("span-past-the-last-position", "span 0 goes beyond the largest position", padded(but(spans=[[0, 2**31 - 2, 2, 0]])))
case("spans-of-too-many-rows", "spans 0 to . have more rows", padded(but(spans=[[0, 0, 2**30, 0]] * 3)))
case("spans-of-most-rows", "", padded(but(spans=[[0, 0, 2**31 - 1, 0]])))

some = [["t%d" % i, "U8", [1], 64 * i] for i in range(65)]
case("tensors-64", "", padded(but(tensors=some[:64]), bytes(64 * 64)))
case("tensors-65", "'tensors' is not an array of at most 64", padded(but(tensors=some), bytes(64 * 65)))
case("tensors-a-map", "'tensors'", padded(but(tensors={"h": 1})))
case("tensor-of-3", "a tensor is not", tensors(H[:3]))
case("tensor-name-a-number", "name of a tensor", tensors([1, *H[1:]]))
case("tensor-twice", "'q' appears twice", tensors(H, ["q", "F32", [1], 64]))
case("tensor-dtype-unknown", "'q' has an unknown dtype", tensors(["q", "F64", [1], 0]))
case("tensor-dtype-a-number", "'q' has an unknown dtype", tensors(["q", 1, [1], 0]))
case("tensor-rank-4", "", tensors(["q", "F32", [1, 1, 1, 4], 0]))
case("tensor-rank-5", "shape of tensor 'q'", tensors(["q", "F32", [1] * 5, 0]))
case("tensor-shape-negative", "tensor 'q': .*shape", tensors(["q", "F32", [-1], 0]))
case("tensor-shape-a-float", "tensor 'q': .*shape", tensors(["q", "F32", [1.0], 0]))
case("tensor-shape-a-number", "shape of tensor 'q'", tensors(["q", "F32", 4, 0]))
case("tensor-offset-63", "'q' starts at byte 63", tensors(["q", "F32", [1], 63]))
case("tensor-offset-4", "'q' starts at byte 4", tensors(["q", "F32", [1], 4]))
case("tensor-offset-negative", "tensor 'q': .*offset", tensors(["q", "F32", [1], -64]))
case("tensor-offset-outside", "'q' claims", tensors(["q", "F32", [1], 256]))
case("tensor-offset-far-outside", "'q' claims", tensors(["q", "F32", [1], 2**32 - 64]))
case("tensor-empty-at-the-end", "", tensors(["q", "F32", [0, 7], 256]))
case("tensor-empty-outside", "'q' claims", tensors(["q", "F32", [0], 320]))
case("tensor-a-byte-too-long", "'q' claims", tensors(["q", "U8", [257], 0]))
case("tensor-to-the-last-byte", "", tensors(["q", "U8", [256], 0]))
case("tensor-product-of-32-bits", "'q' claims", tensors(["q", "U8", [2**16, 2**16], 0]))
case("tensor-product-of-64-bits", "'q' (is too large|claims)", tensors(["q", "I64", [2**31, 2**30], 0]))
case("tensor-product-wraps-to-0", "'q' (is too large|claims)", tensors(["q", "U8", [BIG, BIG, BIG, BIG], 0]))
case("tensors-overlap", "'q' and 'g' overlap", tensors(["q", "U8", [65], 0], ["g", "U8", [1], 64]))
case("tensors-at-one-place", "'[gq]' and '[gq]' overlap", tensors(["q", "U8", [1], 0], ["g", "U8", [1], 0]))
case("tensors-one-in-another", "'q' and 'g' overlap", tensors(["g", "U8", [1], 64], ["q", "U8", [256], 0]))

def control(**d):
    return padded(pairs(d))

for key in "at", "op":
    case("twice-in-control-" + key, "appears twice", padded(pairs({"op": "end", "at": "x"}) + pairs({key: "end"})))
case("free-of-nothing", "'seq' is missing", control(op="free"))
case("free-by-name", "'seq'", control(op="free", seq="7"))
case("fork-without-n", "'n' is missing", control(op="fork", **{"from": 1, "to": 2}))
case("fork-of-too-many", "'n'", control(op="fork", n=2**31, **{"from": 1, "to": 2}))
case("error-without-text", "'text' is missing", control(op="error"))
case("error-with-nul", "'text' is not a string", control(op="error", text="a\0b"))
case("op-unknown", "", control(op="later", text=5 * [None]))
case("at-unknown", "", padded(but(at="later", layer=None)))

# what a writer may do
body = b"".join(pairs(GOOD))
n = 2**20 - 23 - 1 - len(body) - 1 - 5                  # map, padding's key, str 32
case("header-of-1-mib", "", whole(b"\x85" + body + b"\xa0\xdb" + struct.pack(">I", n) + b" " * n))
case("wide-integers", "", padded(but(layer=b"\xd3" + bytes(8), spans=b"\xdd\0\0\0\1\xdc\0\4\xcf" + bytes(8) + b"\xce\0\0\0\0\xcd\0\1\0")))
n = 105 - 1 - len(body) - 2 - 2
case("no-padding", "", whole(b"\x85" + body + b"\xa1x\xd9" + bytes([n]) + b"x" * n))
case("keys-behind-the-padding", "", whole(b"\x85\xa0\xd9" + bytes([n + 1]) + b"x" * (n + 1) + body))
case("gaps-in-the-payload", "", tensors(["q", "U8", [1], 128], ["g", "U8", [1], 0], data=b"\xff" * 256))
EOP
ok "there are cases" test -s cases
while IFS='	' read -r name says; do
	if [ -z "$says" ]; then
		ok "taken: $name" ds-dump -f json -i "$name.frames"
	else
		fails_with 1 "^ds-dump: $name.frames: frame 1: .*($says)" "refused: $name" ds-dump -i "$name.frames"
	fi
done <cases

# frame.py judges alike
is "$(py - <<'EOP'
import frame
for line in open("cases"):
    name, says = line.rstrip("\n").split("\t")
    try:
        list(frame.read_frames(open(name + ".frames", "rb")))
        good = True
    except frame.FrameError:
        good = False
    if good != (says == "") and name not in ("no-padding", "keys-behind-the-padding"):
        print(name)
EOP
)" "" "frame.py, strict about padding alone, takes and refuses the same"

# 4 GiB are claimed, but only what comes takes memory
py -c 'import sys, frame
f = frame.Frame({"at": "embed", "spans": []}).bytes()
n = (2**32 - 1).to_bytes(4, "big")
sys.stdout.buffer.write(f[:10] + n + f[14:-4] + n + bytes(1000))' >claim.frames
case $PATH in
"$R"/build-asan/*) limit= ;;            # the sanitizer itself claims terabytes
*) limit='ulimit -v 200000; ' ;;
esac
fails_with 3 "frame 1 ends after 1064 of 4294967359 bytes" "a payload that is claimed takes no memory before it comes" \
    sh -c "${limit}exec ds-dump -i claim.frames"
done_testing
