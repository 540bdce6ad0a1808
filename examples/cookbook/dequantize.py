#!/usr/bin/env python3
"""dequantize.py MODEL COPY [F32|BF16]: copy a checkpoint, convert its FP8 weights.

Each FP8 weight becomes value * scale of its block, as F32 or BF16 (default).
In F32 this is exact up to one rounding; BF16 loses five or six bits of it.
Other tensors are copied unchanged.  Requires numpy.
"""
import json
import pathlib
import sys

try:
    import numpy as np
except ImportError:
    sys.exit("dequantize.py: no numpy for Python: python3-numpy is its Debian package")

SCALE = "_scale_inv"


def e4m3():
    """The 256 values of F8_E4M3."""
    byte = np.arange(256)
    exponent, mantissa = byte >> 3 & 15, byte & 7
    value = np.where(exponent, (8 + mantissa) * 2.0 ** (exponent - 10), mantissa * 2.0 ** -9)
    value[byte & 127 == 127] = np.nan
    return np.where(byte & 128, -value, value).astype("f4")


def to_bf16(a):
    """Round to nearest, ties to even."""
    bits = a.view("<u4").astype("u8")
    return (bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype("<u2")


class Shard:
    """A safetensors file: the entries and the bytes of its tensors."""

    def __init__(self, path):
        n = int.from_bytes(path.read_bytes()[:8], "little")
        self.data = np.memmap(path, "u1", "r")
        self.header = json.loads(bytes(self.data[8:8 + n]))
        self.metadata = self.header.pop("__metadata__", None)
        self.start = 8 + n

    def bytes(self, name):
        a, b = self.header[name]["data_offsets"]
        return self.data[self.start + a:self.start + b]


def convert(name, shard, scales, block, dtype):
    rows, columns = shard.header[name]["shape"]
    scale = scales[name + SCALE].bytes(name + SCALE).view("<f4")
    scale = scale.reshape(-(-rows // block[0]), -(-columns // block[1]))
    scale = scale.repeat(block[0], 0)[:rows].repeat(block[1], 1)[:, :columns]
    weight = e4m3()[shard.bytes(name)].reshape(rows, columns) * scale
    return weight.astype("<f4") if dtype == "F32" else to_bf16(weight)


def main(model, copy, dtype="BF16"):
    model, copy = pathlib.Path(model).resolve(), pathlib.Path(copy)
    config = json.loads((model / "config.json").read_text())
    block = config.pop("quantization_config")["weight_block_size"]
    copy.mkdir()
    shards = {path: Shard(path) for path in sorted(model.glob("*.safetensors"))}
    scales = {name: s for s in shards.values() for name in s.header if name.endswith(SCALE)}
    for path, shard in shards.items():
        header, at = {"__metadata__": shard.metadata} if shard.metadata else {}, 0
        for name, t in shard.header.items():
            if name in scales:
                continue
            quantized = name + SCALE in scales
            n = shard.bytes(name).size
            if quantized:
                n = np.prod(t["shape"], dtype=int) * {"F32": 4, "BF16": 2}[dtype]
            header[name] = {"dtype": dtype if quantized else t["dtype"], "shape": t["shape"],
                            "data_offsets": [at, at + int(n)]}
            at += int(n)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(copy / path.name, "wb") as f:
            f.write(len(text).to_bytes(8, "little") + text)
            for name in header:
                if name != "__metadata__":
                    if name + SCALE in scales:
                        data = convert(name, shard, scales, block, dtype)
                    else:
                        data = shard.bytes(name)
                    f.write(data.tobytes())
    for other in model.iterdir():
        if other.name == "model.safetensors.index.json":
            index = json.loads(other.read_text())
            index["weight_map"] = {k: v for k, v in index["weight_map"].items() if k not in scales}
            (copy / other.name).write_text(json.dumps(index, indent=1))
        elif other not in shards and other.name != "config.json":
            (copy / other.name).symlink_to(other)
    (copy / "config.json").write_text(json.dumps(config, indent=1))


if __name__ == "__main__":
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__.strip())
        sys.exit(0)
    if len(sys.argv) not in (3, 4) or sys.argv[3:] not in ([], ["F32"], ["BF16"]):
        print("dequantize.py: wrong operands: see dequantize.py -h", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
