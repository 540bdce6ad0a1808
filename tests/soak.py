#!/usr/bin/env python3
"""soak.py MODEL SEQUENCES [same|random|failing [ROWS]]: does memory grow with the sequences?

Many short sequences, each with an id of its own, go through a line of all stages.  Their prompts
are the same 9 tokens.  `random`: 1 to 9 random ones.  `failing`: every tenth has an id besides
that no model has, so that it alone fails.
ROWS: of a batch, and so the most sequences that are alive (64).

Prints a line a program: its memory (RssAnon, KiB) after each tenth of the sequences.  Exit status
1 where one has over ALLOWED more before the end than after the third tenth.  With random prompts
memory grows for some thousand sequences, as longer ones and busier experts touch more of what was
reserved, so it takes many to see it flat.  An hour's worth:

	PATH=$PWD/bin:$PATH python3 tests/soak.py examples/tiny-r1 200000 random
"""
import os
import random
import subprocess
import sys
import tempfile
import threading

import frame

TENTHS = 10
ALLOWED = 32                    # KiB: malloc's least, 32 bytes, for every fourth of 6000 sequences
KINDS = "same", "random", "failing"
LONGEST = 9
WARM = 2                        # tenths after the first until all that is reserved has been touched
EACH = 100                      # sequences of a frame
STAGES = [["ds-attn", "-l", "0"], ["ds-route", "-l", "0"], ["ds-expert", "-l", "0"], ["ds-block"],
          ["ds-head"], ["ds-sample", "-g", "-n", "2"], ["tee", "LOOP"], ["ds-detokenize", "-0"]]
ONE_THREAD = "ds-embed", "ds-sample", "ds-detokenize", "tee"


def rss(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))


def ids_of(kind, n, rng):
    if kind == "random":
        return [rng.randrange(1, 300) for _ in range(rng.randint(1, LONGEST))]
    return list(range(1, LONGEST + 1)) + [1 << 30] * (kind == "failing" and n % 10 == 9)


def feed(out, ids, kind):
    """The prompts, in frames of EACH, and an end."""
    rng = random.Random(1)
    for at in range(0, len(ids), EACH):
        numbers = range(at, min(at + EACH, len(ids)))
        f = frame.prompt(*((ids[n], 0, 1, ids_of(kind, n, rng)) for n in numbers))
        f.header["seqs"] = {i: {"seed": at, "greedy": True} for i in ids[at:at + EACH:2]}
        out.write(f.bytes())
    out.write(frame.Frame({"op": "end"}).bytes())
    out.close()


def main(model, total, kind="same", rows="64"):
    total = int(total)
    os.environ["DS_MODEL"] = model
    rng = random.Random(0)
    ids = list({rng.getrandbits(64) for _ in range(total)})     # (some order, the same each time)
    with tempfile.TemporaryDirectory() as d:
        loop = d + "/loop"
        os.mkfifo(loop)
        line = [["ds-embed", "-B", rows, "-i", "-", "-i", loop], *STAGES]
        processes, stdin = [], subprocess.PIPE
        for command in line:
            command = [loop if word == "LOOP" else word for word in command]
            if command[0] not in ONE_THREAD:
                command += ["-t", "1"]
            processes.append(subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE))
            stdin = processes[-1].stdout
            if len(processes) > 1:
                processes[-2].stdout.close()
        feeder = threading.Thread(target=feed, args=(processes[0].stdin, ids, kind))
        feeder.start()
        seen, done, measured = [[] for _ in line], 0, 0
        while text := processes[-1].stdout.read1(65536):
            done += text.count(b"\0")
            if done >= total * (measured + 1) // TENTHS and measured + 1 < TENTHS:
                measured += 1
                for i, p in enumerate(processes):
                    seen[i].append(rss(p.pid))
        feeder.join()
        bad = done < total              # (a NUL may be a token's text as well)
        if bad:
            print(f"{done} of {total} sequences came out")
        for command, p, sizes in zip(line, processes, seen):
            bad |= p.wait() != 0 and kind != "failing"
            if command[0] != "tee":
                grown = sizes[-1] - sizes[WARM]
                print(command[0], *sizes, f"+{grown}" if grown > ALLOWED else "flat",
                      f"exit {p.returncode}" if p.returncode else "")
                bad |= grown > ALLOWED
        return int(bad)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4, 5) or sys.argv[3:4] and sys.argv[3] not in KINDS:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
