#!/bin/sh
# The promise in i8 for weights that are integers, in shapes that fit nothing.
PRECISION=i8 FORMATS=q4 ROWS="1 3 8 33"
# first: yes
. "${0%/*}/t6000-bits.sh"
