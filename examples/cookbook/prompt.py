#!/usr/bin/env python3
"""prompt.py DUMP.safetensors >PROMPT: the tensor `ids` as a prompt frame that requests all logits.
prompt.py DUMP.safetensors TENSOR COPY: copy the dump and add 1 to the middle value of TENSOR."""
import importlib.util
import json
import pathlib
import sys

try:
    import numpy as np
except ImportError:
    sys.exit("prompt.py: no numpy for Python: python3-numpy is its Debian package")


def tensor(data, name):
    """A view of the values of tensor `name`."""
    n = int.from_bytes(data[:8].tobytes(), "little")
    t = json.loads(data[8:8 + n].tobytes())[name]
    a, b = t["data_offsets"]
    return data[8 + n + a:8 + n + b].view({"F32": "<f4", "I32": "<i4", "I64": "<i8"}[t["dtype"]])


def hf_frames():
    """The module ../hf-frames.py, which writes frames."""
    path = pathlib.Path(__file__).resolve().parent.parent / "hf-frames.py"
    spec = importlib.util.spec_from_file_location("hf_frames", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__.strip())
        sys.exit(0)
    if len(sys.argv) not in (2, 4):
        print("prompt.py: wrong operands: see prompt.py -h", file=sys.stderr)
        sys.exit(2)
    data = np.fromfile(sys.argv[1], "u1")
    if len(sys.argv) == 4:
        values = tensor(data, sys.argv[2])
        values[len(values) // 2] += 1
        data.tofile(sys.argv[3])
    else:
        ids = tensor(data, "ids").astype("<i4")
        write = hf_frames().write_frame
        write(sys.stdout.buffer, {"at": "embed", "spans": [[0, 0, len(ids), 2]]}, {"ids": ids})
        write(sys.stdout.buffer, {"op": "end"})
