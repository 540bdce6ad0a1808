#!/bin/sh
# The promise for weights that ds-quant has made, in shapes that fit nothing: all of t6000, and batches of 1 to 33 rows.
FORMATS="f32 bf16 f16 fp8 q8 q4"
# first: yes
. "${0%/*}/t6000-bits.sh"
