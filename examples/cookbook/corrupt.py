#!/usr/bin/env python3
"""corrupt.py MODEL COPY TENSOR [ROW]: copy a checkpoint and corrupt one number.

It flips the sign of the largest magnitude in TENSOR, or in row ROW of it.  COPY is created.  Files
without the tensor become links to those of MODEL.  It prints the tensor and the index.
"""
import json
import pathlib
import sys

SIZE = {"F8_E4M3": 1, "BF16": 2, "F16": 2, "F32": 4}


def find(model, name):
    """The file that contains the tensor, its header entry, and the offset of its data."""
    if not model.is_dir():
        sys.exit(f"corrupt.py: no folder '{model}'")
    for path in sorted(model.glob("*.safetensors")):
        with open(path, "rb") as f:
            n = int.from_bytes(f.read(8), "little")
            entry = json.loads(f.read(n)).get(name)
        if entry:
            return path, entry, 8 + n + entry["data_offsets"][0]
    sys.exit(f"corrupt.py: no tensor '{name}' in '{model}'")


def flip(data, start, shape, size, row):
    """Flip the sign of the largest magnitude; return its index."""
    width, count = shape[-1], 1
    for n in shape:
        count *= n
    if row is not None:
        if not 0 <= row < count // width:
            sys.exit(f"corrupt.py: row {row}: there are {count // width}")
        start, count = start + row * width * size, width
    sign = 1 << (8 * size - 1)  # the highest bit in all types; the others order like integers
    values = [int.from_bytes(data[at:at + size], "little") & sign - 1
              for at in range(start, start + count * size, size)]
    largest = max(range(count), key=values.__getitem__)
    data[start + largest * size + size - 1] ^= 0x80
    return largest + (row or 0) * width


def main(model, copy, name, row=None):
    model, copy = pathlib.Path(model).resolve(), pathlib.Path(copy)
    if row is not None and not row.isdecimal():
        sys.exit(f"corrupt.py: ROW '{row}': give a number")
    path, entry, start = find(model, name)
    data = bytearray(path.read_bytes())
    index = flip(data, start, entry["shape"], SIZE[entry["dtype"]], row and int(row))
    copy.mkdir()
    for other in model.iterdir():
        if other != path:
            (copy / other.name).symlink_to(other)
    (copy / path.name).write_bytes(data)
    print(f"{name}: flipped the sign of element {index}")


if __name__ == "__main__":
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__.strip())
        sys.exit(0)
    if len(sys.argv) not in (4, 5):
        print("corrupt.py: wrong operands: see corrupt.py -h", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
