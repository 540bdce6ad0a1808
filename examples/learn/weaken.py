#!/usr/bin/env python3
"""weaken.py MODEL COPY NOISE [SEED]: copy a checkpoint, with noise on its experts' weights.

Each FP8 weight of a routed or shared expert gets a normal random number times NOISE times the root
mean square of its matrix, and is rounded to FP8 again, with a scale for each block.  Other tensors
are copied unchanged.  Requires numpy.
"""
import json
import pathlib
import sys

try:
    import numpy as np
except ImportError:
    sys.exit("weaken.py: no numpy for Python: python3-numpy is its Debian package")

BLOCK, LARGEST = 128, 448


def e4m3():
    """The 256 values of F8_E4M3."""
    byte = np.arange(256)
    exponent, mantissa = byte >> 3 & 15, byte & 7
    value = np.where(exponent, (8 + mantissa) * 2.0 ** (exponent - 10), mantissa * 2.0 ** -9)
    value[byte & 127 == 127] = np.nan
    return np.where(byte & 128, -value, value).astype("f4")


VALUES = e4m3()
MIDDLES = (VALUES[:126] + VALUES[1:127]) / 2


def blocks(scale, shape):
    return scale.repeat(BLOCK, 0)[:shape[0]].repeat(BLOCK, 1)[:, :shape[1]]


def rounded(weight):
    """Codes and scales of the nearest FP8 matrix."""
    rows, cols = (-(-n // BLOCK) for n in weight.shape)
    padded = np.zeros((rows * BLOCK, cols * BLOCK), "f4")
    padded[:weight.shape[0], :weight.shape[1]] = np.abs(weight)
    largest = padded.reshape(rows, BLOCK, cols, BLOCK).max(axis=(1, 3))
    scale = np.where(largest > 0, largest / LARGEST, 1).astype("f4")
    code = np.searchsorted(MIDDLES, np.abs(weight) / blocks(scale, weight.shape)).astype("u1")
    return code | np.where(weight < 0, 128, 0).astype("u1"), scale


def main(model, copy, noise, seed="1"):
    model, copy, noise = pathlib.Path(model).resolve(), pathlib.Path(copy), float(noise)
    rng = np.random.default_rng(int(seed))
    copy.mkdir()
    changed = 0
    for path in model.iterdir():
        if path.suffix != ".safetensors":
            if path.is_file():
                (copy / path.name).write_bytes(path.read_bytes())
            continue
        data = bytearray(path.read_bytes())
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(bytes(data[8:start]))
        header.pop("__metadata__", None)

        def tensor(name, dtype):
            a, b = header[name]["data_offsets"]
            return np.frombuffer(data, dtype, offset=start + a,
                                 count=(b - a) // np.dtype(dtype).itemsize).reshape(
                                     header[name]["shape"])

        for name in sorted(header):
            if "experts." not in name or header[name]["dtype"] != "F8_E4M3":
                continue
            code, scale = tensor(name, "u1"), tensor(name + "_scale_inv", "<f4")
            weight = VALUES[code] * blocks(scale, code.shape)
            weight = weight + rng.standard_normal(code.shape, "f4") * noise * np.sqrt(
                np.mean(weight ** 2))
            code[:], scale[:] = rounded(weight)
            changed += 1
        (copy / path.name).write_bytes(data)
    if changed == 0:
        sys.exit(f"weaken.py: '{model}' has no experts in FP8")


if __name__ == "__main__":
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__.strip())
        sys.exit(0)
    if len(sys.argv) not in (4, 5):
        print("weaken.py: wrong operands: see weaken.py -h", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
