"""A GGUF of a checkpoint folder's shape, whose matrices have all block types in turn.

usage: gguf_mixed.py FOLDER FILE       prints the types, one a line

Blocks are random bytes but for their scales, which make weights of about 0.05.
"""
import argparse
import sys

import numpy as np

import gguf_make

# name: (number, weights and bytes of a block, offsets and values of its scales, values None: E8M0)
TYPES = {
    "Q8_0": (8, 32, 34, {0: 4e-4}), "Q4_0": (2, 32, 18, {0: 6e-3}),
    "Q4_1": (3, 32, 20, {0: 6e-3, 2: -.05}), "Q5_0": (6, 32, 22, {0: 3e-3}),
    "Q5_1": (7, 32, 24, {0: 3e-3, 2: -.05}), "Q2_K": (10, 256, 84, {80: 2e-3, 82: 4e-3}),
    "Q3_K": (11, 256, 110, {108: 8e-4}), "Q4_K": (12, 256, 144, {0: 2e-4, 2: 1.5e-3}),
    "Q5_K": (13, 256, 176, {0: 1e-4, 2: 1.5e-3}), "Q6_K": (14, 256, 210, {208: 2.5e-5}),
    "IQ4_NL": (20, 32, 18, {0: 8e-4}), "IQ4_XS": (23, 256, 136, {0: 5e-5}),
    "MXFP4": (39, 32, 17, {0: None}), "IQ2_XXS": (16, 256, 66, {0: 1e-3}),
    "IQ2_XS": (17, 256, 74, {0: 1e-3}), "IQ2_S": (22, 256, 82, {0: 1e-3}),
    "IQ3_XXS": (18, 256, 98, {0: 4e-4}), "IQ3_S": (21, 256, 110, {0: 4e-4}),
}


def blocks(rng, kind, n):
    _, per, size, scales = TYPES[kind]
    b = rng.integers(0, 256, (n // per, size), dtype="u1")
    for at, value in scales.items():
        if value is None:
            b[:, at] = rng.integers(118, 121, len(b))
        else:
            vary = value * rng.uniform(.5, 1.5, len(b))
            b[:, at:at + 2] = vary.astype("<f2").view("u1").reshape(-1, 2)
    return b


def main(folder, path):
    rng, used, turn = np.random.default_rng(3), [], list(TYPES)
    o = argparse.Namespace(kv_b="split", experts="stacked", kv_heads="one", pre="default",
                           type="q8_0", set=[])
    config = gguf_make.load(folder, "config.json")
    gguf_make.FORMATS.update((k, t[:3]) for k, t in TYPES.items())
    made = {}
    for name, w in gguf_make.converted(config, gguf_make.tensors(folder), o).items():
        kind = next((k for k in turn if w.shape[-1] % TYPES[k][1] == 0), None)
        if w.ndim == 1 or "_norm." in name or name.endswith("ffn_gate_inp.weight") or not kind:
            made[name] = "F32", w.shape, np.ascontiguousarray(w, "<f4")
            continue
        turn.remove(kind)
        turn.append(kind)
        used.append(kind)
        made[name] = kind, w.shape, blocks(rng, kind, w.size)
    gguf_make.write(path, gguf_make.metadata(config, o, folder), made)
    print(*sorted(set(used)), sep="\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
