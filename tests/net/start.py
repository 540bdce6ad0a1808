"""Start the programs of a plan, each in the network namespace of its host.

usage: start.py PLAN FOLDER ASK GOT WORD...

Sends the prompts in the file ASK and keeps what comes back in GOT, from host 10.77.0.9, with the same WORDs (keys, --unsafe).
FOLDER/NAME, made anew, is {run} of host NAME.  Fails, with what they said, where a program does.
"""
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import hosts

DRIVER = "10.77.0.9"


class Plan:
    def __init__(self, path, folder):
        self.hosts, self.programs = {}, []
        for line in open(path):
            verb, *words = shlex.split(line, comments=True)
            if verb == "host":
                self.hosts[words[0]] = words[1]
                shutil.rmtree(f"{folder}/{words[0]}", ignore_errors=True)
                os.makedirs(f"{folder}/{words[0]}")
            elif verb in ("feed", "take"):
                setattr(self, verb, self.fill(words)[0])
            elif verb == "run":
                self.programs.append((words[0], self.fill(words[1:], run=f"{folder}/{words[0]}")))

    def fill(self, words, **values):
        values |= self.hosts
        return [re.sub(r"\{(\w+)\}", lambda m: values[m[1]], w) for w in words]


def on(address, words, **how):
    with hosts.on(address):
        return subprocess.Popen(words, stderr=subprocess.PIPE, **how)


def start(plan):
    return [on(plan.hosts[host], words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for host, words in plan.programs]


def end(started, seconds):
    """Wait for all, so long; [status or None where it hung, what it said] of each."""
    until = time.monotonic() + seconds
    for p in started:
        try:
            p.wait(max(until - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            pass
    ended = [p.poll() for p in started]
    for p in started:
        p.kill()
    return [[status, p.stderr.read().decode()] for status, p in zip(ended, started)]


def main(path, folder, ask, got, *words):
    plan = Plan(path, folder)
    words = [w.replace("%h", "9") for w in words]
    started = start(plan)
    started.append(on(DRIVER, ["ds-cut", *words, "-i", ask, "-o", plan.feed]))
    started.append(on(DRIVER, ["ds-cut", *words, "-i", plan.take, "-o", got]))
    bad = False
    for p, (status, text) in zip(started, end(started, 40)):
        if status != 0 or text:
            print(*p.args, f"\n  status {status}: {text.rstrip()}")
            bad = True
    return bad


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
