"""Pictures, held against what every one has to be.

  svg.py check FILE     well-formed XML, nothing from outside, all numbers finite, all within the picture, a title and
                        a subtitle, each class coloured for light and for dark, and no text over another; else 1 and a line
  svg.py titles FILE    the numbers behind the picture: the title of each point, bar and cell, one a line
"""
import math
import re
import sys
import unicodedata
import xml.etree.ElementTree as ET

SVG = "{http://www.w3.org/2000/svg}"


def need(condition, what):
    if not condition:
        sys.exit(what)


def numbers(e):
    """The coordinates that an element has: (x, y) pairs."""
    a = e.attrib
    f = lambda *names: [float(a.get(n, 0)) for n in names]
    if e.tag == SVG + "rect" and not a.get("width", "").endswith("%"):
        x, y, w, h = f("x", "y", "width", "height")
        need(w >= 0 and h >= 0, f"a box of {w} by {h}")
        return [(x, y), (x + w, y + h)]
    if e.tag == SVG + "circle":
        return [tuple(f("cx", "cy"))]
    if e.tag == SVG + "path":
        return [tuple(map(float, p)) for p in re.findall(r"[ML](\S+?) (\S+?)(?=[MLZ]|$)", a["d"])]
    return []


def width(text, size):
    return size * sum(0 if unicodedata.combining(c) else 1 if unicodedata.east_asian_width(c) in "WF" else 0.5 for c in text)


def box(e):
    """Where a text stands, rather too small than too large: left, top, right, bottom."""
    size = 17 if e.get("class") == "head" else 12 if e.get("class") in ("sub", "axis") else 11
    w, anchor = width(e.text or "", size), e.get("text-anchor", "start")
    from_ = {"start": 0, "middle": -w / 2, "end": -w}[anchor]
    turned = re.match(r"translate\((\S+) (\S+)\) rotate\(-90\)", e.get("transform", ""))
    if turned:
        x, y = map(float, turned.groups())
        return x - size * 0.7, y - from_ - w, x, y - from_
    x, y = float(e.get("x")), float(e.get("y"))
    return x + from_, y - size * 0.7, x + from_ + w, y


def check(root, text):
    need(root.tag == SVG + "svg", "no svg")
    need(text.count("http") == 1 and "url(" not in text.replace("url(#no)", ""), "something from outside")
    w, h = float(root.get("width")), float(root.get("height"))
    need(root.get("viewBox") == f"0 0 {w:g} {h:g}", "another viewBox")
    ids = {e.get("id"): e for e in root.iter() if e.get("id")}
    need(all(ids[i].text for i in root.get("aria-labelledby").split()), "no title")
    style = root.find(SVG + "style").text
    light, dark = style.split("@media (prefers-color-scheme:dark)")
    drawn = [e for e in root.iter() if e not in list(root.find(SVG + "defs").iter())]
    for name in {c for e in drawn for c in e.get("class", "").split()} - {"head", "mark", "mono", "thin", "cells", "no"}:
        for theme in light, dark:
            need(re.search(rf"\.{name}[,{{]", theme), f"class {name} has no colour")
    for e in drawn:
        for x, y in numbers(e):
            need(math.isfinite(x) and math.isfinite(y), f"{e.tag}: {x} {y}")
            need(-1 <= x <= w + 1 and -1 <= y <= h + 1, f"{e.tag} at {x} {y} is outside of {w} by {h}")
    boxes = [(box(e), e.text) for e in drawn if e.tag == SVG + "text"]
    for (l, t, r, b), s in boxes:
        need(-1 <= l and r <= w + 1 and -1 <= t and b <= h + 1, f"text '{s}' leaves the picture: {l} {t} {r} {b}")
    boxes.sort(key=lambda x: x[0][1])
    for i, (a, s) in enumerate(boxes):
        for b, t in boxes[i + 1:]:
            if b[1] >= a[3]:
                break
            need(b[0] >= a[2] or b[2] <= a[0], f"text '{s}' lies over '{t}'")


def main(what, path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    root = ET.fromstring(text)
    if what == "titles":
        for e in root.iter(SVG + "title"):
            print(e.text)
    else:
        check(root, text)


main(*sys.argv[1:])
