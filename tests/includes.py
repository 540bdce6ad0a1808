"""The graph of folders that #include lines make: what is wrong with it, a line each.

usage: includes.py ROOT"""
import collections
import os
import re
import sys

# Folders of common/ from the lowest layer to the highest.
# A file includes from its own layer and those below.
LAYERS = ["base", "frame weights", "token", "link arch device", "learn", "attention", "stage", "learning", "launch inspect", "supervise plan bench quant"]


def sources(root, folder):
    for at, _, names in os.walk(os.path.join(root, folder)):
        for name in sorted(names):
            if re.search(r"\.(c|h|cu|cuh)$", name):
                yield os.path.relpath(os.path.join(at, name), root)


def included(root, path):
    """The files that it includes by "...", from the root."""
    with open(os.path.join(root, path), encoding="utf-8") as f:
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', f.read(), re.M):
            for base in os.path.dirname(path), "common", "kernels", "cmd", "kernels/cuda", "tests/cuda":
                found = os.path.normpath(os.path.join(base, name))
                if os.path.exists(os.path.join(root, found)):
                    yield found
                    break
            else:
                print(f"{path}: includes '{name}', which is nowhere")


def layer(folder):
    """The number of a folder's layer;
    kernels are below all, programs above; None for a folder that has none."""
    parts = folder.split("/")
    if parts[0] == "kernels":
        return -1
    if parts[0] == "cmd":
        return len(LAYERS)
    return next((i for i, names in enumerate(LAYERS) if parts[0] == "common" and parts[1:2] and parts[1] in names.split()), None)


def wrong(a, b):
    """What is wrong with an arrow from folder a to folder b, or None."""
    if a.split("/")[0] == "kernels":
        # (kernels/cuda is built against an emulated GPU in tests/cuda as well)
        return None if b.startswith("kernels") or (a, b) == ("kernels/cuda", "tests/cuda") else "kernels include nothing outside kernels/"
    if layer(a) is None or layer(b) is None:
        return "a folder that has no layer"
    if layer(b) > layer(a):
        return "runs upward"
    if b.startswith(a + "/"):
        return "a folder includes nothing of the folders in it"
    if os.path.dirname(a) == os.path.dirname(b) and a.count("/") > 1:
        return "tools share what is in the folder above them"
    return None


def cycle(arrows):
    """The folders of a cycle, or an empty list."""
    state, path = {}, []

    def visit(a):
        state[a] = 1
        path.append(a)
        for b in sorted(arrows[a]):
            if state.get(b) == 1:
                return path[path.index(b):] + [b]
            if b not in state and (found := visit(b)):
                return found
        state[a] = 2
        path.pop()
        return []
    return next((c for a in sorted(arrows) if a not in state and (c := visit(a))), [])


def main(root):
    arrows, files = collections.defaultdict(set), {}
    for path in [p for folder in ("common", "cmd", "kernels") for p in sources(root, folder)]:
        a = os.path.dirname(path)
        arrows[a]
        for name in included(root, path):
            b = os.path.dirname(name)
            if a != b:
                arrows[a].add(b)
                files.setdefault((a, b), []).append(path)
    for (a, b), paths in sorted(files.items()):
        why = wrong(a, b)
        if why:
            print(f"{a} -> {b}: {why}: {' '.join(paths)}")
    for folder in arrows:
        if layer(folder) is None:
            print(f"{folder}: has no layer in tests/includes.py")
    # (kernels and the ISA folders below them are one)
    kernels = "kernels", "tests"
    above = {a: {b for b in to if not b.startswith(kernels)} for a, to in arrows.items() if not a.startswith(kernels)}
    loop = cycle(collections.defaultdict(set, above))
    if loop:
        print("a cycle: " + " -> ".join(loop))


main(sys.argv[1])
