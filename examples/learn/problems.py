#!/usr/bin/env python3
"""problems.py [--held-out | --even] [--seed S] N: write N problems of tiny-r1's kinds.

A line is a JSON object with the kind, the prompt and the expected answer.  The kinds have the
weights of tiny-r1's training; with --even they take turns.  --held-out does so, too, with words
that tiny-r1 was not trained on.  The words are those of /usr/share/dict/words.
"""
import argparse
import json
import pathlib
import random
import sys

WORDS = "/usr/share/dict/words"


def generator():
    """The module that made tiny-r1's training problems."""
    if not pathlib.Path(WORDS).exists():
        sys.exit(f"problems.py: no {WORDS}: wamerican is its Debian package")
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tiny-r1/train"))
    import problems
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-out", action="store_true", help="for an evaluation")
    parser.add_argument("--even", action="store_true", help="all kinds in turn")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("n", metavar="N", type=int)
    options = parser.parse_args()
    problems = generator()
    even = options.even or options.held_out
    rng = random.Random(f"{options.seed} {options.held_out}")
    kinds = [k for k in problems.KINDS if problems.WEIGHTS[k] > 0 and k != "chat"]
    weights = [problems.WEIGHTS[k] for k in kinds]
    for i in range(options.n):
        kind = kinds[i % len(kinds)] if even else rng.choices(kinds, weights)[0]
        words = problems.EVAL_WORDS if options.held_out else problems.TRAIN_WORDS
        kind, prompt, _, answer = problems.make(rng, kind, words)
        print(json.dumps({"kind": kind, "prompt": prompt, "answer": answer}, ensure_ascii=False))


if __name__ == "__main__":
    main()
