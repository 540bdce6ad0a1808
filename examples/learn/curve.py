#!/usr/bin/env python3
"""curve.py KEY FILE... >curve.svg: draw a number of the steps of one or several runs of ds-learn.

A FILE has the JSON lines that ds-learn prints.  Each point is a step, the line its mean over the
last ten steps.
"""
import json
import pathlib
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 360, 60, 24, 150, 44
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#7f7f7f")


def points(path, key):
    found = []
    try:
        lines = pathlib.Path(path).read_text().splitlines()
    except OSError as e:
        sys.exit(f"curve.py: {path}: {e.strerror}")
    for n, line in enumerate(lines, 1):
        try:
            step = json.loads(line)
            if isinstance(step.get(key), (int, float)):
                found.append((step["step"], step[key]))
        except (ValueError, KeyError, AttributeError):
            sys.exit(f"curve.py: {path}:{n}: not a line of ds-learn")
    if not found:
        sys.exit(f"curve.py: {path}: no line has a number '{key}'")
    return found


def smooth(values):
    return [(values[i][0], sum(v for _, v in values[max(0, i - 9):i + 1]) / min(i + 1, 10))
            for i in range(len(values))]


def main(key, paths):
    runs = [points(p, key) for p in paths]
    last = max(s for run in runs for s, _ in run)
    low = min(v for run in runs for _, v in run)
    high = max(v for run in runs for _, v in run)
    high = high if high > low else low + 1

    def at(step, value):
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / max(last, 1)
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)
        return f"{x:.1f},{y:.1f}"

    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"\n'
          'font-family="sans-serif" font-size="12">')
    print(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    for i in range(5):
        value = low + (high - low) * i / 4
        x, y = at(0, value).split(",")
        print(f'<path d="M{x},{y}H{WIDTH - RIGHT}" stroke="#ddd"/>'
              f'<text x="{LEFT - 6}" y="{float(y) + 4}" text-anchor="end">{value:.3g}</text>')
        x, y = at(last * i / 4, low).split(",")
        print(f'<text x="{x}" y="{float(y) + 18}" text-anchor="middle">{last * i // 4}</text>')
    print(f'<text x="{LEFT}" y="{TOP - 8}">{escape(key)}</text>')
    print(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">step'
          '</text>')
    for i, (path, run) in enumerate(zip(paths, runs)):
        colour = COLOURS[i % len(COLOURS)]
        for step, value in run:
            x, y = at(step, value).split(",")
            print(f'<circle cx="{x}" cy="{y}" r="1.5" fill="{colour}" opacity="0.35"/>')
        line = "\n".join(at(*p) for p in smooth(run))
        print(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        print(f'<text x="{WIDTH - RIGHT + 10}" y="{TOP + 14 * (i + 1)}" fill="{colour}">'
              f'{escape(pathlib.Path(path).stem)}</text>')
    print("</svg>")


if __name__ == "__main__":
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__.strip())
        sys.exit(0)
    if len(sys.argv) < 3:
        print("curve.py: wrong operands: see curve.py -h", file=sys.stderr)
        sys.exit(2)
    main(sys.argv[1], sys.argv[2:])
