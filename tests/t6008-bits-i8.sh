#!/bin/sh
# The promise in i8 for weights that are integers, in shapes that fit nothing.
PRECISION=i8 FORMATS=q4
# first: yes
. "${0%/*}/t6000-bits.sh"
