#!/usr/bin/env python3
"""gguf_grids.h, from the tables of the package gguf of PyPI:

    python3 kernels/cpu/gguf_grids.py > kernels/cpu/gguf_grids.h
"""
from gguf import quants

HEAD = """\
/*
 * The grids of the types IQ1, IQ2 and IQ3 of GGUF, made by gguf_grids.py: do not edit.  An entry
 * has the indices of its numbers in the type's few values, the first in the lowest bits.
 *
 * The tables come from ggml and its package gguf, under this licence:
 *
 * MIT License
 *
 * Copyright (c) 2023-2026 The ggml authors
 *
 * Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
 * associated documentation files (the "Software"), to deal in the Software without restriction,
 * including without limitation the rights to use, copy, modify, merge, publish, distribute,
 * sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
 * furnished to do so, subject to the following conditions:
 *
 * The above copyright notice and this permission notice shall be included in all copies or
 * substantial portions of the Software.
 *
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
 * NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
 * NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
 * DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
 * OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
 */"""


def print_grid(name, quant, bits):
    quant.init_grid()
    grid = quant.grid.reshape(quant.grid_shape)
    index = {float(value): i for i, value in enumerate(quant.grid_map)}
    entries = ["0x%04x," % sum(index[float(x)] << bits * i for i, x in enumerate(row))
               for row in grid]
    print("\nstatic const uint16_t %s[%d] = {" % (name, len(entries)))
    for i in range(0, len(entries), 11):
        print("\t" + " ".join(entries[i:i + 11]))
    print("};")


def main():
    print(HEAD)
    for name, quant, bits in (
            ("grid_iq2_xxs", quants.IQ2_XXS, 2), ("grid_iq2_xs", quants.IQ2_XS, 2),
            ("grid_iq2_s", quants.IQ2_S, 2), ("grid_iq3_xxs", quants.IQ3_XXS, 4),
            ("grid_iq3_s", quants.IQ3_S, 4), ("grid_iq1", quants.IQ1_S, 2)):
        print_grid(name, quant, bits)


main()
