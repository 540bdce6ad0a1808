#!/usr/bin/env python3
"""blocks.txt, by the package gguf of PyPI: for each block type of GGUF the number of the type, the
columns and bytes of a block, and a checksum of the float32 of BLOCKS blocks of pseudorandom bytes,
their NaNs made 0x7fc00000.  tests/unit/checkblocks.c computes the same."""
import sys

import numpy
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

BLOCKS = 256
TYPES = ("Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 IQ4_NL MXFP4 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_XS "
         "IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S IQ1_S IQ1_M TQ1_0 TQ2_0").split()


def pseudorandom(n):
    x = numpy.arange(n, dtype=numpy.uint32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ x >> numpy.uint32(shift)) * numpy.uint32(factor)
    return (x >> numpy.uint32(24)).astype(numpy.uint8)


def checksum(x):
    bits = numpy.where(numpy.isnan(x), numpy.uint32(0x7FC00000), x.view(numpy.uint32))
    odd = 2 * numpy.arange(bits.size, dtype=numpy.uint64) + 1
    return int((bits.astype(numpy.uint64) * odd).sum())


def main():
    numpy.seterr(all="ignore")
    with open(sys.path[0] + "/blocks.txt", "w") as to:
        for name in TYPES:
            kind = GGMLQuantizationType[name]
            cols, size = GGML_QUANT_SIZES[kind]
            x = quants.dequantize(pseudorandom(BLOCKS * size).reshape(BLOCKS, size), kind)
            print(name, int(kind), cols, size, "%016x" % checksum(x.ravel()), file=to)


main()
