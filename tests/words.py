"""Words that a reader would have to decode, and lines that are too long.

usage: words.py uses ROOT     each use of a banned word: FILE:LINE: WORD: the line
       words.py count ROOT    how many uses, and lines of more than 100 columns, each file has: words|long NUMBER FILE

Banned words are looked for in README and the other pages, man/, headers, and in the messages and -h texts of sources."""
import collections
import os
import re
import subprocess
import sys

# A word or pattern, and what to write instead.
BANNED = [
    (r"(?<!write-)behind", "after, downstream, following"),
    (r"whoever|whosoever", "name the program or thread"),
    (r"nobody", "no process, no thread, nothing"),
    (r"(?<!by )(?<!than )those that", "name them"),
    (r"(?<!each )(?<!none )(?<!tenth )of which", "a sentence of its own"),
    (r"call(s|ed|ing)? ahead|call(s|ed)? (them |it )?from memory", "prefetch"),
    (r"nearest cache|second-level cache", "L1, L2"),
    (r"the door|at the door", "scheduler, ds-embed"),
    (r"what is missing it names|what it lacks it names", "subject first"),
    (r"hearsay|all the same", "plain words"),
]
PATTERN = re.compile("|".join(rf"\b(?:{p})\b" for p, _ in BANNED), re.I)
STRUCTS = re.compile(r"^\s*struct (work|part|piece|job|place|form)\b", re.M)
WIDE = 100


def files(root):
    if os.path.exists(os.path.join(root, ".git")):
        out = subprocess.run(["git", "-c", "safe.directory=*", "-C", root, "ls-files"], check=True, capture_output=True, text=True).stdout
        return [f for f in out.split("\n") if f and os.path.isfile(os.path.join(root, f))]
    found = []
    for at, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f not in ("bin", ".git") and not f.startswith("build")]
        found += [os.path.relpath(os.path.join(at, n), root) for n in names]
    return sorted(found)


def lines(root, path):
    try:
        with open(os.path.join(root, path), encoding="utf-8") as f:
            return f.read().split("\n")
    except UnicodeDecodeError:
        return []


def prose(root, path):
    """(number, text) of what a reader sees of a file: all of pages and headers, strings of sources."""
    for n, line in enumerate(lines(root, path), 1):
        if re.search(r"\.(c|cc|cu)$", path):
            # (strings alone; '"' and \" inside of them do not end them)
            line = " ".join(re.findall(r'"((?:[^"\\]|\\.)*)"', "" if "#include" in line else line))
        yield n, line


def readable(path):
    top = path.split("/")[0]
    return bool(re.fullmatch(r"[A-Z]+\.md|man/.*|(kernels|tests|tests/bench|examples/.*)/README\.md", path) or
                (top in ("cmd", "common", "kernels") and re.search(r"\.(c|h|cu|cuh)$", path)))


def uses(root):
    """(file, line's number, word, line)"""
    for path in filter(readable, files(root)):
        for n, line in prose(root, path):
            for found in PATTERN.finditer(line):
                yield path, n, found[0], line
            if path.endswith(".h") and STRUCTS.match(line) and line.rstrip().endswith("{"):
                yield path, n, "the name of a struct", line


def long_lines(root):
    for path in files(root):
        # (data, and what other programs made)
        if re.match(r"tests/golden/|tests/v3-671b/|examples/tiny-r1/|LICENSE|common/token/unicode_classes\.c", path):
            continue
        n = sum(len(line.expandtabs(8)) > WIDE for line in lines(root, path))
        if n:
            yield n, path


verb, root = sys.argv[1:]
if verb == "uses":
    for path, n, word, line in uses(root):
        print(f"{path}:{n}: {word}: {line.strip()[:90]}")
else:
    for path, n in sorted(collections.Counter(path for path, *_ in uses(root)).items()):
        print("words", n, path)
    for n, path in long_lines(root):
        print("long", n, path)
