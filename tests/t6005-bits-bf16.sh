#!/bin/sh
# The promise in the other precision: all of t6000 with products of bf16.
PRECISION=bf16
# first: yes
. "${0%/*}/t6000-bits.sh"
