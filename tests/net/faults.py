"""What ds-run --plan makes of hosts and of a network that fail.

usage: faults.py FAULT[@VICTIM] SEED MODEL WANT PLAN TIMEOUT

Runs the plan from host 10.77.0.9, and lets FAULT happen to it, one of the functions below.  Prints what became of it: "the same
text" as in the file WANT or "exit N"; "2 by 4" where host 4 took the place of host 2, in faults of a VICTIM; "one error", if there
is one; and what does not belong there: another text, more errors, processes that are left, memory that has grown.
Standard error has what ds-run said, how long it took, and the memory of the largest process.
faults.py want MODEL WANT: makes that file, with one process for all layers, for each of LENGTHS.
"""
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

from proxy import Proxy

ASK = ["-S", "3", "-w", "-T", "20", "1", "22", "333", "4444,", "-n"]
MEMORY = 64 << 10       # kB: in a run without faults the largest process has 13000
# tokens of an answer: for one fault, for one that does not end it, for many
LENGTHS = "200", "60", "500"
HOST = "10.77.0."
RSH = f"{sys.executable} -S {os.path.dirname(os.path.abspath(__file__))}/rsh.py"


def sh(command):
    subprocess.run(command, shell=True, check=True)


def programs():
    """(pid, words) of all programs of dspipe that live in our namespace of processes."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read().decode().split("\0")[:-1]
        except OSError:
            continue
        if words and os.path.basename(words[0]).startswith("ds-"):
            found.append((int(pid), words))
    return found


class Run:
    def __init__(self, plan, model, timeout, tokens):
        self.timeout = timeout
        self.victims = [line.split()[2:] for line in open(plan) if line.startswith("run ")] + [["ds-run", "--agent"]]
        self.p = subprocess.Popen(["ds-run", "-m", model, "--plan", plan, "--rsh", RSH, "--timeout", str(timeout),
                                   "--unsafe", *ASK, tokens],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.text, self.said, self.memory = bytearray(), [], {}
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self.read, self.listen, self.watch)]
        for t in self.threads:
            t.start()

    def read(self):
        while block := os.read(self.p.stdout.fileno(), 1 << 16):
            self.text += block

    def listen(self):
        for line in self.p.stderr:
            self.said.append(line.decode().rstrip("\n"))

    def watch(self):
        while self.p.poll() is None:
            for pid, words in programs():
                try:
                    status = open(f"/proc/{pid}/status").read()
                except OSError:
                    continue
                if "VmHWM:" in status:
                    self.memory[pid, words[0]] = int(status.split("VmHWM:")[1].split()[0])
            time.sleep(0.3)

    def alive(self):
        return self.p.poll() is None

    def wait_for(self, condition, seconds=30):
        until = time.monotonic() + seconds
        while self.alive() and not condition():
            if time.monotonic() > until:
                raise TimeoutError
            time.sleep(0.02)
        return self.alive()

    def flows(self, more=1):
        """So much more text has come."""
        have = len(self.text)
        return self.wait_for(lambda: len(self.text) >= have + more)

    def victim(self, words):
        """The pid of the process that a line of the plan describes, or None."""
        kind = [w for w in words if "{run}" not in w]
        kind = [re.sub(r"{h(.)}", HOST + r"\1", w) for w in kind]
        for pid, have in programs():
            if have[0] == words[0] and [w for w in have if w in kind] == kind:
                return pid
        return None

    def end(self, seconds=60):
        try:
            self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.said.append("it hung")
        for t in self.threads:
            t.join(5)
        left = programs()
        until = time.monotonic() + 10
        while left and time.monotonic() < until:
            time.sleep(0.05)
            left = programs()
        for pid, words in left:
            os.kill(pid, signal.SIGKILL)
        return [" ".join(w) for _, w in left]


# --- what may happen ---

def nothing(run, dice):
    pass


late = slow = nothing


def cut(run, dice, seconds=None):
    """The link of host 2 goes down, and comes back after so many seconds."""
    run.flows()
    time.sleep(dice.random() * 0.05)
    sh(f"ip -n {HOST}2 link set cable down")
    if seconds is not None:
        time.sleep(seconds)
        sh(f"ip -n {HOST}2 link set cable up")


def cut_data(run, dice):
    """The data network of host VICTIM goes down; its agent answers by another."""
    run.flows()
    time.sleep(dice.random() * 0.05)
    sh(f"ip -n {HOST}{VICTIM} link set cable down")


def cut_early(run, dice):
    """The same, before anything has come."""
    sh(f"ip -n {HOST}{VICTIM} link set cable down")


def misdirect(a, b):
    """What host a sends to b goes nowhere."""
    sh(f"ip -n {HOST}{a} neigh replace {HOST}{b} lladdr 02:00:00:00:00:99 dev cable nud permanent")


def deaf(run, dice):
    """Nothing of the data network comes to the host any more; what it sends goes out."""
    run.flows()
    for n in range(1, 10):
        if n != int(VICTIM) and os.path.exists(f"/run/netns/{HOST}{n}"):
            misdirect(n, VICTIM)


def mute(run, dice):
    """The other direction."""
    run.flows()
    for n in range(1, 10):
        if n != int(VICTIM):
            misdirect(VICTIM, n)


def twice(run, dice):
    """First this host, then the spare that took its place."""
    cut_data(run, dice)
    run.wait_for(lambda: any(" replaces " in s for s in run.said))
    run.flows()
    sh(f"ip -n {HOST}4 link set cable down")


def blink(run, dice):
    cut(run, dice, 0.3)


def cut_for_long(run, dice):
    cut(run, dice, 2.5 * run.timeout)


def freeze(run, dice):
    """All of host 2 stands still, until the run is over."""
    run.flows()
    frozen = subprocess.run(["ip", "netns", "pids", HOST + "2"], stdout=subprocess.PIPE, check=True).stdout.split()
    for s in signal.SIGSTOP, signal.SIGCONT:
        for n in frozen:
            try:
                os.kill(int(n), s)
            except ProcessLookupError:
                pass
        run.p.wait(60)


def stall(run, dice):
    run.flows()
    PROXY.stall(0.6)


def long_stall(run, dice):
    run.flows()
    PROXY.stall(3 * run.timeout)


def half_open(run, dice):
    run.flows()
    PROXY.half_open()


def stays_half_open(run, dice):
    run.flows()
    PROXY.half_open(all_to_come=True)


def reset(run, dice):
    for i in range(3):
        run.flows()
        PROXY.reset()


def stays_reset(run, dice):
    run.flows()
    PROXY.reset(all_to_come=True)


def leave(run, dice):
    """ds-run itself is killed."""
    run.flows()
    run.p.kill()


def kill(run, dice, victim, early):
    """One process, at a random moment of the work, or as early as may be."""
    if not early:
        run.flows(dice.randint(1, 100))
    run.wait_for(lambda: run.victim(victim))
    time.sleep(dice.random() * 0.05)
    pid = run.victim(victim)
    if pid and run.alive():
        os.kill(pid, signal.SIGKILL)
        run.wait_for(lambda: run.victim(victim) not in (pid, None))
        return 1
    return 0


def kills(args, dice, want, n):
    """So many, each line of the plan in turn, in as many runs as it takes; then the worst verdict."""
    victims, verdicts, done, runs = [], {}, 0, 0         # (the last run of each verdict)
    while done < n:
        run = Run(*args)
        runs += 1
        while run.alive() and done < n:
            victims = victims or dice.sample(run.victims, len(run.victims))
            # (four times without a token between them would be too many)
            if kill(run, dice, victims[-1], done % 3 == 2):
                done += 1
                victims.pop()
        left = run.end()
        verdicts[judge(run, want, left)] = run
    print(f"{n} kills in {runs} runs", file=sys.stderr)
    worst = max(verdicts, key=lambda v: v != "the same text")
    return verdicts[worst], worst


def judge(run, want, left):
    out = []
    if run.p.returncode == 0:
        out.append("the same text" if bytes(run.text) == want else "another text")
    else:
        out.append(f"exit {run.p.returncode}")
    if run.p.returncode == -signal.SIGKILL:
        out = ["killed"]
    if VICTIM:
        out += [f"{b} by {a}" for s in run.said for a, b in re.findall(r"h(\d) replaces h(\d)", s)]
    errors = [s for s in run.said if "started again" not in s and " replaces " not in s]
    out += [f"{len(errors)} errors" if len(errors) > 1 else "one error"] if errors else []
    out += ["left: " + x for x in left]
    out += [f"{words}: {n} kB" for (_, words), n in run.memory.items() if n > MEMORY]
    return ", ".join(out)


def main(fault, *args):
    if fault == "want":
        model, want = args
        for tokens in LENGTHS:
            with open(want + tokens, "wb") as out:
                subprocess.run(["ds-run", "-m", model, *ASK, tokens], stdout=out, check=True)
        return
    seed, model, want, plan, timeout = args
    tokens = LENGTHS[fault in ("late", "nothing", "slow", "leave") or 2 * fault.isdigit()]
    dice, want = random.Random(int(seed)), open(want + tokens, "rb").read()
    args = plan, model, float(timeout), tokens
    began = time.monotonic()
    if fault.isdigit():
        run, verdict = kills(args, dice, want, int(fault))
    else:
        run = Run(*args)
        globals()[fault.split("@")[0]](run, dice)
        verdict = judge(run, want, run.end())
    print(verdict, flush=True)
    largest = max(run.memory, key=run.memory.get)
    print(f"{fault}: {time.monotonic() - began:.1f} s, {run.memory[largest]} kB {largest[1]}", *run.said, sep="\n  ", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 7):
        sys.exit(__doc__)
    if "stall" in sys.argv[1] or sys.argv[1] in ("late", "half_open", "stays_half_open", "reset", "stays_reset"):
        PROXY = Proxy(5611, (HOST + "2", 5611), delay=0.05 if sys.argv[1] == "late" else 0)
    VICTIM = sys.argv[1].partition("@")[2]
    main(*sys.argv[1:])
    sys.stderr.flush()
    os._exit(0)
