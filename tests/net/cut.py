"""A plan (see ds-plan(5)) for one of the ways to cut a model over hosts.

usage: cut.py MODEL CUT HOSTS WORD...

CUT: layers   layers, and halves of layers if there are fewer, in a line over the hosts
     side     the experts of each layer side by side, a part of them on each host, and summed by ds-join
     chain    the same parts one after the other
     ring     attention on one half of the hosts, experts on the other, two batches going round for each layer
HOSTS: so many; they are 10.77.0.1 and so on.  WORDs are given to each program, keys or --unsafe; %h in them is the host's
number.  ds-head also writes what it sends into a file HEAD of the host's own folder {run}.
"""
import json
import sys

NET = "10.77.0."
COMPUTE = "ds-block", "ds-attn", "ds-route", "ds-expert", "ds-head"


class Line:
    """Programs, in the order in which a frame meets them."""

    def __init__(self, model, words):
        self.common = ["-m", model, *words]     # %h in a word: the host's number
        self.programs = []      # [host, words]
        self.port = 5609

    def add(self, host, *words):
        common = [w.replace("%h", str(host)) for w in self.common]
        if words[0] in COMPUTE:     # (more threads would cost more than they save)
            common += ["-t", "1"]
        self.programs.append([host, [words[0], *common, *words[1:]]])
        return self.programs[-1]

    def link(self, a, b):
        """From a to b: between hosts by tcp, on one of them by ipc; the receiver binds."""
        self.port += 1
        at = f"tcp://{{h{b[0]}}}:{self.port}" if a[0] != b[0] else f"ipc://{{run}}/{self.port}"
        a[1] += ["-o", at]
        b[1] += ["-i", "@" + at]
        return b


def parts(n, of):
    """n even parts of 0..of-1, as first and last."""
    return [(i * of // n, (i + 1) * of // n - 1) for i in range(n)]


def sets(n, experts):
    """The routed experts in n parts, the shared ones with the last."""
    return [f"{a}-{b}" + (",s" if i == n - 1 else "") for i, (a, b) in enumerate(parts(n, experts))]


def layers(line, at, hosts, n, dense, experts):
    """Steps, as even as can be: the door, then attention and experts of each layer, the head."""
    steps = [(l, kind) for l in range(n) for kind in ("attn", "expert")]
    if n >= hosts:
        for i, (a, b) in enumerate(parts(hosts, n)):
            at = line.link(at, line.add(i + 1, "ds-block", "-l", f"{a}-{b}"))
        return at
    for i, (a, b) in enumerate(parts(hosts, len(steps))):
        for l, kind in steps[a:b + 1]:
            for program in ("ds-attn",) if kind == "attn" else ("ds-route", "ds-expert"):
                at = line.link(at, line.add(i + 1, program, "-l", str(l)))
    return at


def side(line, at, hosts, n, dense, experts):
    for l in range(n):
        if l < dense:
            at = line.link(at, line.add(1, "ds-block", "-l", str(l)))
            continue
        at = line.link(at, line.add(1, "ds-attn", "-l", str(l)))
        at = line.link(at, line.add(1, "ds-route", "-l", str(l)))
        join = line.add(hosts, "ds-join")
        for i, e in enumerate(sets(hosts, experts)):
            line.link(line.link(at, line.add(i + 1, "ds-expert", "-l", str(l), "-e", e)), join)
        at = join
    return at


def chain(line, at, hosts, n, dense, experts):
    for l in range(n):
        at = line.link(at, line.add(1, "ds-attn", "-l", str(l)))
        at = line.link(at, line.add(1, "ds-route", "-l", str(l)))
        for i, e in enumerate(sets(hosts, experts)):
            at = line.link(at, line.add(i + 1, "ds-expert", "-l", str(l), "-e", e))
    return at


def ring(line, at, hosts, n, dense, experts):
    there = hosts // 2
    for i, (a, b) in enumerate(parts(min(hosts - there, n), n)):
        at = line.link(at, line.add(i + 1, "ds-attn", "-l", f"{a}-{b}"))
    route = line.link(at, line.add(hosts - there, "ds-route"))
    if there == 1:
        return line.link(route, line.add(hosts, "ds-expert"))
    join = line.add(hosts, "ds-join")
    for i, e in enumerate(sets(there, experts)):
        line.link(line.link(route, line.add(hosts - i, "ds-expert", "-e", e)), join)
    return join


def main(model, cut, hosts, *words):
    c = json.load(open(model + "/config.json"))
    hosts = int(hosts)
    line = Line(model, words)
    round_ = ["--ring"] if cut == "ring" else []
    door = line.add(1, "ds-embed", *round_, *(["--batches", "2"] if round_ else []), "-i", "@tcp://{h1}:5600", "-i", "@tcp://{h1}:5601")
    at = globals()[cut](line, door, hosts, c["num_hidden_layers"], c["first_k_dense_replace"], c["n_routed_experts"])
    head = line.link(at, line.add(hosts, "ds-head", *round_))
    sample = line.link(head, line.add(hosts, "ds-sample", *round_, "-n", "6"))
    head[1] += ["-o", "{run}/HEAD"]
    sample[1] += ["-o", "tcp://{h1}:5601", "-o", f"@tcp://{{h{hosts}}}:5602"]
    print("plan 1")
    for h in range(1, hosts + 1):
        print(f"host h{h} {NET}{h}")
    print(f"feed tcp://{{h1}}:5600\ntake tcp://{{h{hosts}}}:5602")
    for host, program in line.programs:
        print("run", f"h{host}", *(program if any("tcp://" in w for w in program) else without_keys(program)))


def without_keys(words):
    """As ds-plan has it, programs whose links are all on one host get no key."""
    given = iter(words)
    return [w for w in given if w != "--unsafe" and not (w in ("--key", "--peers") and next(given))]


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[2] not in ("layers", "side", "chain", "ring"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
