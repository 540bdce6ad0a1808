"""Hostile names and options in all that writes shell text: ds-plan -f sh, ssh and slurm, ds-run -s.

usage: hostile.py stubs MODEL SEED N    N scripts, each of seven hostile words or more, run with programs that only record their words
       hostile.py real MODEL SEED N     N scripts, run by the real programs; each has to answer

Works in the current folder.  Prints what is wrong, and how many words and scripts it tried.
"""
import concurrent.futures
import os
import random
import re
import shlex
import shutil
import subprocess
import sys

BIN = os.path.dirname(shutil.which("ds-plan"))
HERE = os.fsencode(os.getcwd())
PLAIN = "/usr/local/bin:/usr/bin:/bin"
# what a script would do that takes a word for more than a word: make a file in the folder where it runs
PIECES = [
    b"'", b'"', b"`>PWNED`", b"$(>PWNED)", b"$(touch${IFS}PWNED)", b";>PWNED;", b"&>PWNED&", b"|>PWNED|", b"\n>PWNED\n",
    b"'\n>PWNED\n'", b"\n>PWNED\n#'", b"';>PWNED;'", b"'\\'';>PWNED;'", b'";>PWNED;"', b"\r\n>PWNED\r\n", b" -l ", b" -l x;>PWNED;",
    b"-l", b"-l\n>PWNED\n", b"\\", b"\\\\", b"\\'", b"\r", b"\t", b"*", b"?", b"[a-z]", b"~", b"#", b"\n#", b"#SBATCH --x",
    b"\n#SBATCH --x\n", b"!", b"!!", b"%s%n", b"{run}", b"{a}", b"{", b"}", b"$run", b"${run}", b"$0", b"$@", b"$$", b"\x01",
    b"\x1b[31m", b"\x7f", b"\xff\xfe", "\u00e9\u2028".encode(), b"-", b"--", b"=", b" ", b"  ", b"a", b"model", b"my -l model", b"EOF",
    b"\n\n", b"<", b">", b"(", b")", b"((", b"$'\\n>PWNED'", b"@", b"user@host", b":", b",",
]
FORMATS = ["sh", "ssh", "slurm", "run", "plan"]
STUB = b"""#!/bin/sh
printf '%s\\0' "${0##*/}" "$@" >"$RECORDS/$$"
"""
SRUN = b"""#!/bin/sh
while [ "$1" != sh ]; do shift; done
exec "$@"
"""


def word(rng, blanks=True):
    w = b"".join(rng.choice(PIECES) for _ in range(rng.randint(1, 4)))
    return w if blanks else w.replace(b" ", b"") or b"x"


def name(rng, used):
    """One that no file has yet."""
    while True:
        w = word(rng)[:200]
        if w not in used and w not in (b".", b".."):
            used.add(w)
            return w


def write(path, text, mode=0o755):
    with open(path, "wb") as f:
        f.write(text)
    os.chmod(path, mode)


def make_programs(folder):
    """ds-plan and ds-run themselves, for they look for the others beside them; what these were given is recorded."""
    os.makedirs(folder)
    for p in "ds-plan", "ds-run":
        try:
            os.link(f"{BIN}/{p}", folder + b"/" + p.encode())
        except OSError:
            shutil.copy2(f"{BIN}/{p}", folder + b"/" + p.encode())
    for p in "tokenize embed block attn route expert join head sample detokenize".split():
        write(folder + b"/ds-" + p.encode(), STUB)
    write(folder + b"/tee", b"#!/bin/sh\n")


class Case:
    """The words of one script."""

    def __init__(self, number, rng, programs, plain=False):
        self.format = FORMATS[number % len(FORMATS)]
        self.programs = programs[0] if plain else rng.choice(programs)
        self.shell = rng.choice(["sh", "bash"])
        self.folder = HERE + b"/case-%s%d" % (b"plain" if plain else b"", number)
        os.mkdir(self.folder)
        used = set()
        pick = (lambda what: what) if plain else (lambda what: name(rng, used))
        self.model, self.tmp = (self.folder + b"/" + pick(what) for what in (b"MODEL0", b"TMP0"))
        self.keep, self.ask, self.answers = (self.folder + b"/" + pick(what) for what in (b"KEEP0", b"ASK0", b"GOT0"))
        self.key, self.peers = (w if plain else HERE + b"/" + word(rng) for w in (b"KEY0", b"PEERS0"))
        self.prompts = [b"PROMPT%d" % i if plain else word(rng) for i in range(4)]
        self.sample = [b"WORD%d" % i if plain else word(rng, False) for i in range(5)]
        for d in self.model, self.tmp, self.folder + b"/cwd", self.folder + b"/records":
            os.mkdir(d)

    def words(self):
        return [self.model, self.tmp, *([self.keep] if self.format == "run" else self.sample), *self.prompts,
                *([self.key, self.peers] if self.format in ("ssh", "slurm", "plan") else []),
                *([self.ask, self.answers] if self.format == "slurm" else [])]

    def environment(self):
        return {**{k: v for k, v in os.environb.items() if not k.startswith(b"DS_")}, b"PATH": PLAIN.encode(), b"TMPDIR": self.tmp,
                b"RECORDS": self.folder + b"/records", b"DS_RSH": HERE + b"/rsh " + self.shell.encode(),
                b"SLURM_JOB_ID": b"7", b"SLURM_JOB_NODELIST": b"node[1-2]"}

    def call(self, *command, **how):
        return subprocess.run(command, env=self.environment(), cwd=self.folder + b"/cwd", stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=60, **how)

    def generate(self):
        if self.format == "run":
            return self.call(self.programs + b"/ds-run", "-s", "-m", self.model, "-w", "--keep", self.keep, "--", *self.prompts)
        return self.call(self.programs + b"/ds-plan", "-m", self.model, "-f", self.format, "--context", "64", "--sample",
                         b" ".join(self.sample), "--key", self.key, "--peers", self.peers, HERE + b"/hosts")

    def run(self, script):
        path = self.folder + b"/script"
        write(path, script)
        if self.format == "slurm":
            write(self.ask, b"hi\n")
            return self.call(self.shell, path, "-w", self.ask, self.answers)
        return self.call(self.shell, path, *([] if self.format == "run" else ["-w", *self.prompts]))

    def records(self):
        """What each program was given; the folder of the run has a name of its own each time."""
        folder = self.folder + b"/records"
        all_ = []
        for f in os.listdir(folder):
            words = open(folder + b"/" + f, "rb").read().split(b"\0")[:-1]
            all_.append([re.sub(rb"ds-(plan|run)\.([A-Za-z0-9]{6}|7\.0)", b"RUN", w.replace(self.tmp, b"TMP0")) for w in words])
        return sorted(all_)


def meant(plain, records, case):
    """The records of harmless words, with those of the case in their places."""
    into = {**dict(zip(plain.sample, case.sample)), **dict(zip(plain.prompts, case.prompts)), plain.model: case.model, plain.key: case.key,
            plain.peers: case.peers}
    out = []
    for words in records:
        out.append([case.keep + w[len(plain.keep):] if w.startswith(plain.keep) else into.get(w, w) for w in words])
    return sorted(out)


def check_plan(case, plain, r):
    """Refused in one line, or a plan whose words are what was meant."""
    if any(c < 32 and c != 9 or c in b"{}" for c in b"".join([case.model, *case.sample, case.key, case.peers])):
        good = r.returncode == 2 and r.stdout == b"" and r.stderr.count(b"\n") == 1 and b"a plan cannot hold" in r.stderr
        return [] if good else [f"not refused: status {r.returncode}, {r.stderr}"]
    lines = [l for l in r.stdout.split(b"\n") if l.startswith(b"run ")]
    got = [[w.encode("latin-1") for w in shlex.split(l.decode("latin-1"))][2:] for l in lines]
    want = [[w.encode("latin-1") for w in shlex.split(l.decode("latin-1"))][2:] for l in plain.stdout.split(b"\n") if l.startswith(b"run ")]
    return [] if sorted(got) == meant(plain.case, want, case) and r.returncode == 0 else [f"status {r.returncode}: {got} for {want}"]


def try_case(case, plain):
    r = case.generate()
    if case.format == "plan":
        return check_plan(case, plain, r)
    bad = [] if r.returncode == 0 and not r.stderr else [f"status {r.returncode} of what writes it: {r.stderr}"]
    r = case.run(r.stdout)
    if r.returncode != 0 or r.stderr:
        bad.append(f"the script: status {r.returncode}: {r.stderr}")
    got, want = case.records(), meant(plain, plain.got, case)
    if got != want:
        bad.append(f"programs got {[x for x in got if x not in want]}, for {[x for x in want if x not in got]}")
    for d in case.folder + b"/cwd", case.tmp:
        if os.listdir(d):
            bad.append(f"it left {os.listdir(d)}")
    return bad


def stubs(model, seed, n):
    rng = random.Random(seed)
    folders = [HERE + b"/programs"] + [HERE + b"/programs" + w + b"x" for w in
               (b" -l 'x'", b"\n>PWNED\n'", b"`>PWNED`;\"$(>PWNED)", b"'\\'';>PWNED;#")]
    for f in folders:
        make_programs(f)
    os.mkdir("slurm")
    write("slurm/srun", SRUN)
    write("slurm/scontrol", b"#!/bin/sh\nprintf 'node1\\nnode2\\n'\n")
    write("rsh", b"#!/bin/sh\nshell=$1\nshift 2\nexec \"$shell\" -c \"$*\"\n")
    write("hosts", b"a 2 4 10 addr=10.0.0.1\nb 2 4 10 addr=10.0.0.2\n", 0o644)
    global PLAIN
    PLAIN = f"{os.getcwd()}/slurm:{PLAIN}"

    def prepare(case):
        for f in os.listdir(model):
            os.symlink(os.path.join(os.fsencode(model), os.fsencode(f)), case.model + b"/" + os.fsencode(f))

    plain = {}
    for i, fmt in enumerate(FORMATS):
        c = Case(i, rng, folders, plain=True)
        prepare(c)
        r = c.generate()
        if fmt == "plan":
            r.case = c
            plain[fmt] = r
        else:
            c.run(r.stdout)
            c.got = c.records()
            plain[fmt] = c
            if len(c.got) < 6:
                print(f"{fmt}: no programs were recorded: {c.got} {r.stderr}")
    words = set()

    def one(case):
        prepare(case)
        bad = try_case(case, plain[case.format])
        if not bad:
            shutil.rmtree(case.folder)
        return case, bad

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for case, bad in pool.map(one, (Case(i, rng, folders) for i in range(n))):
            words.update(case.words())
            for b in bad:
                print(f"{case.format}: {case.words()}: {b}")
    return len(words)


def free_port(n):
    import socket
    for port in range(21000 + os.getpid() % 8000, 60000, n):
        if all(socket.socket().connect_ex(("127.0.0.1", p)) != 0 for p in range(port, port + n)):
            return port


def real(model, seed, n):
    rng = random.Random(seed)
    write("rsh", b"#!/bin/sh\nshell=$1\nshift 2\nexec \"$shell\" -c \"$*\"\n")
    write("hosts", b"a 2 4 10 addr=127.0.0.1\nb 2 4 10 addr=127.0.0.2\n", 0o644)
    run = [f"{BIN}/ds-run", "-m", model, "-g", "-n", "3", "-w"]
    words = set()
    for i in range(n):
        case = Case(i, rng, [os.fsencode(BIN)])
        case.format = ["sh", "run", "ssh"][i % 3]
        case.sample = [b"-g", b"-n", b"3"]
        case.prompts = [p if p.strip(b"\n") else b"x" for p in case.prompts]
        for f in os.listdir(model):
            os.symlink(os.path.join(os.fsencode(model), os.fsencode(f)), case.model + b"/" + os.fsencode(f))
        case.key = case.folder + b"/" + name(rng, {b"cwd", b"records"} | set(os.listdir(case.folder)))
        case.peers = case.key + b"peers"
        write(case.peers, case.call(f"{BIN}/ds-keygen", case.key).stdout, 0o600)
        words.update(case.words())
        # bytes that are no text are refused by ds-tokenize
        case.prompts = [p.decode("utf-8", "ignore").encode() or b"x" for p in case.prompts]
        want = case.call(*run, *["--"] + case.prompts)
        if case.format == "run":
            script = case.call(*run, "-s", "-m", case.model, "--keep", case.keep, "--", *case.prompts)
        else:
            script = case.call(f"{BIN}/ds-plan", "-m", case.model, "-f", case.format, "--context", "64", "--sample", "-g -n 3",
                               "--key", case.key, "--peers", case.peers, "--port", str(free_port(4)), HERE + b"/hosts")
        got = case.run(script.stdout)
        left = os.listdir(case.folder + b"/cwd") + os.listdir(case.tmp)
        if (got.returncode, got.stdout, got.stderr) != (0, want.stdout, b"") or want.returncode or left:
            print(f"{case.format}: {case.words()}: status {got.returncode}: {got.stdout} for {want.stdout}; {script.stderr} {got.stderr}; "
                  f"left {left}")
        shutil.rmtree(case.folder)
    return len(words)


if __name__ == "__main__":
    if len(sys.argv) != 5 or sys.argv[1] not in ("stubs", "real"):
        sys.exit(__doc__)
    n = int(sys.argv[4])
    print({"stubs": stubs, "real": real}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), n), "words in", n, "scripts")
