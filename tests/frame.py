"""A second reader and writer of frame streams, made from ds-frame(5) and from nothing else.

As a module: read_frames(file) yields Frames, write_frame(file, header, tensors) writes one.
As a program (frames on standard input or output):
  frame.py prompt SEQ POS FLAGS ID... [/ SEQ POS FLAGS ID...]...   one frame of these spans
  frame.py end | free SEQ | fork FROM TO N | error TEXT [SEQ]      a control frame
  frame.py set KEY JSON    put a header key into each frame of rows (null takes it out)
  frame.py take N          pass on the first N frames (-N: all but the last N)
  frame.py show            one line a frame: its header
  frame.py check           hold each frame against the page; 1 and a line if one is wrong
  frame.py tensors [NAME...]  one line a row of a tensor, sorted: where it waits, name, sequence,
                           position, digest: equal for equal work, however it was batched
  frame.py hex             the first frame in hex, 16 bytes a line
"""
import functools
import hashlib
import json
import sys

import msgpack
import numpy as np

DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "I32": "<i4", "I64": "<i8", "U8": "u1"}
NAMES = {np.dtype(v): k for k, v in DTYPES.items()}     # of an array that has no other: u1 is U8
LAYERED = ("attn", "route", "expert", "head",     # of the values of at, those that have a layer
           "expert.back", "route.back", "attn.back")
PREAMBLE, PREFIX = 18, 5


class FrameError(Exception):
    """The bytes are not a frame."""


class Truncated(FrameError):
    """The stream ends before its end frame."""


def need(condition, what):
    if not condition:
        raise FrameError(what)


BLOCK = 512                     # bytes whose CRCs are looked up side by side


@functools.cache
def _tables():
    """What a byte adds to a CRC, by its place, of which there are BLOCK + 4, and its value; where
    each place begins; what a CRC becomes a block later, by its four bytes."""
    t = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        t = np.where(t & 1, t >> 1 ^ np.uint32(0x82F63B78), t >> 1)
    adds = np.empty((BLOCK + 4, 256), np.uint32)
    adds[-1] = t
    for i in reversed(range(len(adds) - 1)):
        adds[i] = t[adds[i + 1] & 255] ^ adds[i + 1] >> 8
    return adds.ravel(), 256 * np.arange(len(adds)), [adds[4 + i].tolist() for i in range(4)]


def crc32c(data):
    """CRC-32C: what its bytes add is found for each alone, by CRC's linearity."""
    adds, places, (a, b, c, d) = _tables()
    data = np.frombuffer(data, np.uint8)
    first = min(len(data), (len(data) - 4) % BLOCK + 4)
    which = places[len(places) - first:] + data[:first]
    which[:4] ^= 255
    crc = int(np.bitwise_xor.reduce(adds.take(which))) ^ 0xFFFFFFFF >> 8 * first
    for at in range(first, len(data), 32 * BLOCK):
        which = data[at:at + 32 * BLOCK].reshape(-1, BLOCK) + places[4:]
        for added in np.bitwise_xor.reduce(adds.take(which), axis=1).tolist():
            crc = a[crc & 255] ^ b[crc >> 8 & 255] ^ c[crc >> 16 & 255] ^ d[crc >> 24] ^ added
    return crc ^ 0xFFFFFFFF


class Frame:
    """header: a dict without "tensors" and the padding; tensors: name -> array (BF16 and F8_E4M3 as
    unsigned integers, dtypes has their names); raw: the bytes as they came."""

    def __init__(self, header, tensors=(), dtypes=(), raw=b""):
        self.header, self.tensors, self.dtypes, self.raw = dict(header), dict(tensors), dict(dtypes), raw

    def rows(self):
        """(seq, pos) of each row."""
        return [(s, p + i) for s, p, n, _ in self.header.get("spans", []) for i in range(n)]

    def wanted(self):
        """The rows whose logits are wanted."""
        out, row = [], 0
        for _, _, n, flags in self.header["spans"]:
            out += [row + i for i in range(n) if flags & 2 or flags & 1 and i == n - 1]
            row += n
        return out

    def bytes(self):
        header, payload = dict(self.header), b""
        if self.tensors or "op" not in header:
            header["tensors"] = []
        for name, a in self.tensors.items():
            dtype = self.dtypes.get(name) or NAMES[a.dtype]
            payload += bytes(-len(payload) % 64)
            header["tensors"].append([name, dtype, list(a.shape), len(payload)])
            payload += a.tobytes()
        packed = msgpack.packb({**header, "": ""})
        missing = -(PREAMBLE + len(packed) + PREFIX) % 64
        # the length of a string is packed in a byte more from 32 on
        pad = missing if missing < 32 else missing - 1 if missing > 32 else 64 + 31
        packed = packed[:-1] + msgpack.packb(" " * pad)
        size = [len(packed).to_bytes(4, "big"), len(payload).to_bytes(4, "big")]
        return b"".join([b"\xd8\x44dsf1", *size, crc32c(packed + payload).to_bytes(4, "big"),
                         packed, b"\xc6", size[1], payload])


def write_frame(file, header, tensors=(), dtypes=()):
    file.write(Frame(header, tensors, dtypes).bytes())


def prompt(*spans):
    """The frame of a prompt: spans are (seq, pos, flags, ids)."""
    ids = np.array([i for s in spans for i in s[3]], "<i4")
    return Frame({"at": "embed", "spans": [[s[0], s[1], len(s[3]), s[2]] for s in spans]}, {"ids": ids})


def _exactly(file, n, what):
    b = file.read(n)
    if len(b) < n:
        raise Truncated("end of file " + what)
    return b


def _pairs(pairs):
    keys = [k for k, _ in pairs]
    need(len(set(keys)) == len(keys), "the same key twice")
    return dict(pairs)


def _is_int(x, top):
    return isinstance(x, int) and not isinstance(x, bool) and 0 <= x <= top


def _check_header(h):
    op, spans = h.get("op"), h.get("spans", [])
    need(list(h)[-1:] == [""] and isinstance(h[""], str), "no padding at the header's end")
    need(all(isinstance(k, str) for k in h), "a key that is not a string")
    need(len(spans) <= 4096, "too many spans")
    for s in spans:
        need(len(s) == 4 and _is_int(s[0], 2**64 - 1) and all(_is_int(x, 2**31 - 1) for x in s[1:3])
             and _is_int(s[3], 2**32 - 1), f"span {s}")
        need(s[1] + s[2] < 2**31, f"span {s}: past the last position")
    need(sum(s[2] for s in spans) < 2**31, "too many rows")
    need("model" not in h or len(h["model"]) == 16 and set(h["model"]) <= set("0123456789abcdef"), "model")
    need(op is not None or h.get("precision", "f32") in ("f32", "bf16", "fp8", "i8"), "precision")
    for s, params in h.get("seqs", {}).items():
        need(_is_int(s, 2**64 - 1) and isinstance(params, dict), f"seqs: {s}")
    if op is not None:
        need(isinstance(op, str) and not spans, "a control frame with rows")
        kept = {"seq": 2**64 - 1, "n": 2**31 - 1}
        for k, top in {"free": {"seq": 2**64 - 1}, "error": {}, "load": kept,
                       "save": {} if "folder" in h else kept,
                       "norm": {"step": 2**64 - 1}, "step": {"step": 2**64 - 1},
                       "fork": {"from": 2**64 - 1, "to": 2**64 - 1, "n": 2**31 - 1}}.get(op, {}).items():
            need(_is_int(h.get(k), top), f"op {op}: {k}")
        need(op != "error" or isinstance(h.get("text"), str) and "\0" not in h["text"], "op error: text")
        need(op != "error" or "seq" not in h or _is_int(h["seq"], 2**64 - 1), "op error: seq")
        return
    for k in ("at", "experts_done"):
        need(isinstance(h.get(k, ""), str) and "\0" not in h.get(k, ""), k)
    need("at" in h, "no at")
    need("layer" not in h and h["at"] not in LAYERED or _is_int(h.get("layer"), 2**31 - 1), f"layer at {h['at']}")
    need("spans" in h and "tensors" in h, "no spans or no tensors")


def _tensors(listed, payload):
    """The arrays, and their dtypes' names; nothing outside the payload, none over another."""
    need(len(listed) <= 64, "too many tensors")
    taken, arrays, dtypes = [], {}, {}
    for name, dtype, shape, offset in listed:
        need(isinstance(name, str) and name not in arrays, f"tensor {name!r}: name")
        need(dtype in DTYPES and len(shape) <= 4 and all(_is_int(n, 2**32 - 1) for n in shape), f"{name}: dtype or shape")
        count, size = 1, np.dtype(DTYPES[dtype]).itemsize
        for n in shape:
            count *= n
        need(_is_int(offset, 2**32) and offset % 64 == 0 and offset + count * size <= len(payload), f"{name}: offset")
        taken.append((offset, offset + count * size, name))
        arrays[name] = np.frombuffer(payload, DTYPES[dtype], count, offset if count else 0).reshape(shape)
        dtypes[name] = dtype
    taken.sort()
    for (_, end, a), (start, _, b) in zip(taken, taken[1:]):
        need(end <= start, f"{a} and {b} overlap")
    return arrays, dtypes


def _check_rows(f):
    """The known tensors have a row for each position."""
    spans = f.header.get("spans", [])
    rows = sum(s[2] for s in spans)
    wanted = sum(s[2] if s[3] & 2 else min(s[2], s[3] & 1) for s in spans)
    known = {"ids": (rows, 1, "I32"), "h": (rows, 2, "F32"), "expert.idx": (rows, 2, "I32"),
             "expert.w": (rows, 2, "F32"), "expert.acc": (rows, 2, "I64"),
             "logits": (wanted, 2, "F32"), "row": (wanted, 1, "I32"),
             "logits.grad": (wanted, 2, "F32"), "h.grad": (rows, 2, "F32"),
             "x.grad": (rows, 2, "F32"), "w.grad": (rows, 2, "F32"),
             "expert.wacc": (rows, 2, "I64"),
             "learn.target": (rows, 1, "I32"), **{f"learn.{k}": (rows, 1, "F32") for k in
             ("weight", "advantage", "old", "reference", "logprob")}}
    for name in [] if "op" in f.header else set(known) & set(f.tensors):
        a, (n, rank, dtype) = f.tensors[name], known[name]
        need(a.ndim == rank and a.shape[0] == n and f.dtypes[name] == dtype, f"{name}: {f.dtypes[name]} {a.shape}")
        need(name != "row" or list(a) == f.wanted(), "row: other rows than are wanted")
        need(name != "expert.idx" or (np.diff(a, axis=1) > 0).all(), "expert.idx: not ascending")


def read_frame(file):
    """The next Frame, or None at the end of the file."""
    first = file.read(PREAMBLE)
    if not first:
        return None
    if len(first) < PREAMBLE:
        raise Truncated("end of file in a preamble")
    need(first[:2] == b"\xd8\x44", "not a frame")
    need(first[2:6] == b"dsf1", "another version")
    nhead, npay, crc = (int.from_bytes(first[i:i + 4], "big") for i in (6, 10, 14))
    need(nhead <= 1 << 20, "header too long")
    need((PREAMBLE + nhead + PREFIX) % 64 == 0, "the payload is not aligned")
    head = _exactly(file, nhead, "in a header")
    prefix = _exactly(file, PREFIX, "in front of a payload")
    need(prefix == b"\xc6" + first[10:14], "the payload's prefix differs from the preamble")
    payload = _exactly(file, npay, "in a payload")
    need(crc32c(head + payload) == crc, "CRC")
    try:
        h = msgpack.unpackb(head, strict_map_key=False, object_pairs_hook=_pairs)
        need(isinstance(h, dict), "the header is no map")
        _check_header(h)
        arrays, dtypes = _tensors(h.get("tensors", []), payload)
    except (ValueError, TypeError, AttributeError, KeyError) as e:
        raise FrameError(f"header: {e}") from e
    f = Frame({k: v for k, v in h.items() if k not in ("", "tensors")}, arrays, dtypes,
              first + head + prefix + payload)
    _check_rows(f)
    return f


def read_frames(file):
    """Every Frame up to and with `end`; Truncated where there is none."""
    while True:
        f = read_frame(file)
        if f is None:
            raise Truncated("end of file before the end frame")
        yield f
        if f.header.get("op") == "end":
            return


def rows_of(f, names=()):
    """(name, dtype and shape of a row, (seq, pos) of each, bytes of each) of each tensor that has
    a row for each position."""
    rows = f.rows()
    for name, a in f.tensors.items():
        if name == "row" or names and name not in names:
            continue
        where = [rows[i] for i in f.tensors["row"]] if name == "logits" else rows
        need(a.ndim > 0 and len(where) == a.shape[0], f"{name}: not a row for each position")
        kind, raw = f.dtypes[name] + str(list(a.shape[1:])).replace(" ", ""), a.tobytes()
        size = len(raw) // max(len(where), 1)
        yield name, kind, where, [raw[i * size:(i + 1) * size] for i in range(len(where))]


def digests(f, names):
    """(at, layer, name, seq, pos, kind, digest) of each of these rows."""
    for name, kind, where, rows in rows_of(f, names):
        for (seq, pos), row in zip(where, rows):
            yield (f.header["at"], f.header.get("layer", -1), name, seq, pos, kind,
                   hashlib.sha1(row).hexdigest()[:16])


def main(argv):
    verb, args = (argv[1] if len(argv) > 1 else ""), argv[2:]
    out, source = sys.stdout.buffer, sys.stdin.buffer
    if verb == "prompt":
        spans = [[]]
        for a in args:
            if a == "/":
                spans.append([])
            else:
                spans[-1].append(int(a))
        out.write(prompt(*((s[0], s[1], s[2], s[3:]) for s in spans)).bytes())
    elif verb in ("end", "free", "fork", "error"):
        keys = {"end": (), "free": ("seq",), "fork": ("from", "to", "n"), "error": ("text", "seq")}[verb]
        values = [args[0], *map(int, args[1:])] if verb == "error" else list(map(int, args))
        if verb == "error":
            keys = keys[:len(values)]
        out.write(Frame({"op": verb, **dict(zip(keys, values, strict=True))}).bytes())
    elif verb == "set":
        for f in read_frames(source):
            if "op" not in f.header:
                f.header[args[0]] = json.loads(args[1])
                if f.header[args[0]] is None:
                    del f.header[args[0]]
                f.raw = f.bytes()
            out.write(f.raw)
    elif verb == "take":
        frames = []
        while (f := read_frame(source)) is not None:
            frames.append(f.raw)
        out.write(b"".join(frames[:int(args[0])]))
    elif verb == "show":
        for f in read_frames(source):
            tensors = {k: [f.dtypes[k], *a.shape] for k, a in f.tensors.items()}
            print(json.dumps({**f.header, "tensors": tensors}, ensure_ascii=False))
    elif verb == "check":
        print(sum(1 for f in read_frames(source)), "frames")
    elif verb == "tensors":
        found = [d for f in read_frames(source) if "op" not in f.header for d in digests(f, args)]
        for d in sorted(found):
            print(*d)
    elif verb == "hex":
        raw = read_frame(source).raw
        for i in range(0, len(raw), 16):
            print(raw[i:i + 16].hex(" "))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    import frame            # (which pyserver.py has loaded, with the tables)
    try:
        frame.main(sys.argv)
    except frame.FrameError as problem:
        print(f"frame.py: {problem}", file=sys.stderr)
        sys.exit(3 if isinstance(problem, frame.Truncated) else 1)
