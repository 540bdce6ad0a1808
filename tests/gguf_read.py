"""A second reader of GGUF files, written from the format's own page: metadata and tensors.

usage: gguf_read.py same A B [-KEY]...    the same tensors, and metadata except what begins with KEY
       gguf_read.py q8_0 FILE FOLDER      tensors of Q8_0 are those of FOLDER, rounded as ggml does
"""
import struct
import sys

import numpy as np

SIZES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# numbers and bytes of a block
TYPES = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
         10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
         16: (256, 66), 17: (256, 74), 18: (256, 98), 20: (32, 18), 21: (256, 110),
         22: (256, 82), 23: (256, 136), 30: (1, 2), 39: (32, 17)}


class File:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.b = f.read()
        self.at = 0
        magic, version, tensors, values = self.take("4sIQQ")
        assert magic == b"GGUF" and version == 3
        self.keys = {self.text(): self.value(*self.take("I")) for _ in range(values)}
        infos = [self.info() for _ in range(tensors)]
        align = self.keys.get("general.alignment", 32)
        data = -(-self.at // align) * align
        self.tensors, end = {}, 0
        for name, shape, kind, at in infos:
            per, size = TYPES[kind]
            n = int(np.prod(shape)) // per * size
            assert at % align == 0 and at >= end and data + at + n <= len(self.b), name
            end = at + n
            self.tensors[name] = kind, shape, self.b[data + at:data + end]

    def take(self, what):
        found = struct.unpack_from("<" + what, self.b, self.at)
        self.at += struct.calcsize("<" + what)
        return found

    def text(self):
        n, = self.take("Q")
        return self.take(f"{n}s")[0].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind != 9:
            return self.take(SIZES[kind])[0]
        of, n = self.take("IQ")
        return [self.value(of) for _ in range(n)]

    def info(self):
        name = self.text()
        rank, = self.take("I")
        return name, self.take(f"{rank}Q")[::-1], *self.take("IQ")


def same(a, b, *ignored):
    a, b = File(a), File(b)
    keys = [{k: v for k, v in f.keys.items() if not k.startswith(tuple(i[1:] for i in ignored))}
            for f in (a, b)]
    for what, x, y in ("key", *keys), ("tensor", a.tensors, b.tensors):
        for name in sorted(x.keys() | y.keys()):
            if x.get(name) != y.get(name):
                sys.exit(f"{what} {name}: {str(x.get(name))[:80]}, {str(y.get(name))[:80]}")


def q8_0(x):
    """The bytes of float32 x [n][32]."""
    scale = (np.abs(x).max(1, keepdims=True) / np.float32(127)).astype("f4")
    with np.errstate(divide="ignore"):
        inverse = np.where(scale > 0, np.float32(1) / scale, 0).astype("f4")
    y = x * inverse
    code = np.trunc(y + np.where(y < 0, np.float32(-.5), np.float32(.5))).astype("i1")
    return np.concatenate([scale.astype("<f2").view("u1"), code.view("u1")], 1).tobytes()


def check_q8_0(path, folder):
    import gguf_make
    f = File(path)
    with open(folder + "/config.json", encoding="utf-8") as c:
        config = gguf_make.json.load(c)
    o = gguf_make.argparse.Namespace(kv_b="split", experts="stacked")
    all_, n = gguf_make.converted(config, gguf_make.tensors(folder), o), 0
    for name, (kind, shape, data) in f.tensors.items():
        if kind == 8:
            assert data == q8_0(np.ascontiguousarray(all_[name], "f4").reshape(-1, 32)), name
            n += 1
    assert n > 10, n


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in ("same", "q8_0"):
        sys.exit(__doc__)
    {"same": same, "q8_0": check_q8_0}[sys.argv[1]](*sys.argv[2:])
