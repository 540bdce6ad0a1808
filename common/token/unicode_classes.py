#!/usr/bin/env python3
"""unicode_classes.txt to unicode_classes.c: python3 common/token/unicode_classes.py

The text file has two lines per class, after comments: its name as patterns write
it (and, for people, how many code points), then its ranges in hexadecimal."""
import os

here = os.path.dirname(os.path.abspath(__file__))
lines = [l for l in open(os.path.join(here, "unicode_classes.txt")) if not l.startswith("#")]
c = ["/* Generated from unicode_classes.txt by unicode_classes.py: edit those. */", '#include "token/pattern.h"', ""]
table = []
for name, ranges in zip(lines[0::2], lines[1::2]):
    name = name.split()[0]                              # \p{L} or \s
    name = name.strip("\\p{}")
    pairs = [(r.split("-") * 2)[:2] for r in ranges.split()]
    c.append("static const uint32_t class_%s[][2] = {" % name)
    line = ""
    for a, b in pairs:
        item = "{0x%s, 0x%s}," % (a, b)
        if len(line) + len(item) > 132:
            c.append("\t" + line.rstrip())
            line = ""
        line += item + " "
    c += ["\t" + line.rstrip(), "};", ""]
    table.append('\t{"%s", class_%s, %d},' % (name, name, len(pairs)))
c += ["const struct unicode_class unicode_classes[] = {"] + table + ["\t{NULL, NULL, 0}", "};", ""]
open(os.path.join(here, "unicode_classes.c"), "w").write("\n".join(c))
