"""Hold the plans of a manual page against ds-plan, and their bytes against the shapes of DeepSeek-V3's tensors.

usage: plan.py PAGE    (in a folder with V3/config.json; writes the files of hosts there)
"""
import json
import re
import subprocess
import sys
from math import prod

page = open(sys.argv[1]).read().replace("\\e", "\\").replace("\\-", "-")
c = json.load(open("V3/config.json"))
D, V, H, R = c["hidden_size"], c["vocab_size"], c["num_attention_heads"], c["kv_lora_rank"]
nope, rope, v, lora = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"], c["q_lora_rank"]
L, E, dense = c["num_hidden_layers"], c["n_routed_experts"], c["first_k_dense_replace"]


def fp8(*shape):
    """A matrix in FP8, a scale in F32 for each block of 128 by 128."""
    return prod(shape) + 4 * prod(-(-n // 128) for n in shape)


def bf16(*shape):
    return 2 * prod(shape)


def count(*shape):
    return prod(shape)


def mlp(width, linear):
    return 2 * linear(width, D) + linear(D, width)


def layer(i, linear, plain, bias):
    """(all but routed and shared experts, shared experts, one routed expert)"""
    own = (linear(lora, D) + linear(H * (nope + rope), lora) + linear(R + rope, D) + linear(H * (nope + v), R) +
           linear(D, H * v) + 2 * plain(D) + plain(lora) + plain(R))
    if i < dense:
        return own + mlp(c["intermediate_size"], linear), 0, 0
    own += plain(E, D) + bias * E
    return own, mlp(c["n_shared_experts"] * c["moe_intermediate_size"], linear), mlp(c["moe_intermediate_size"], linear)


def total(linear, plain, bias, experts):
    return 2 * plain(V, D) + plain(D) + sum(a + s + experts * e for a, s, e in (layer(i, linear, plain, bias) for i in range(L)))


parameters = total(count, count, 1, E)
active = total(count, count, 1, c["num_experts_per_tok"]) - V * D + D       # of the table of embeddings one row
assert round(parameters / 1e9) == 671 and round(active / 1e9) == 37, "DeepSeek-V3 has 671 billion parameters, 37 of them active"


def amount(n):
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while n >= 1000:
        n /= 1024
        units.pop(0)
    return f"{n:.0f} B" if units[0] == "B" else f"{n:.{3 if n < 10 else 2 if n < 100 else 1}f} {units[0]}"


def holds(what, sequences, context):
    """The bytes of weights and caches of a host that has what its line says."""
    first, last = (re.search(r"layers? (\d+)(?:-(\d+))?", what).group(1, 2))
    layers = range(int(first), int(last or first) + 1)
    member = what.startswith(("experts", "shared"))
    spread = re.search(r"experts (\d+)-(\d+)", what)
    experts = int(spread[2]) - int(spread[1]) + 1 if spread else E
    weights = caches = 0
    for own, shared, expert in (layer(i, fp8, bf16, 4) for i in layers):
        if not member:
            weights += own
            caches += sequences * context * 4 * (R + rope)
        if "shared experts" in what or is_whole(what):
            weights += shared
        weights += expert * (experts if spread else E if is_whole(what) else 0)
    if "ds-embed" in what:
        weights += bf16(V, D)
    if "ds-head" in what:
        weights += bf16(V, D) + bf16(D)
    return weights, caches


def is_whole(what):
    """Does the host do its layers whole?  One that does not sends to those that it shares experts with."""
    return "experts" not in what and len(re.findall(r" to \w+", what)) <= 1


def check(command, shown):
    name = command.split()[-1]
    n, spec = hosts[name]
    open(name, "w").write("".join(f"n{i + 1} {spec}\n" for i in range(n)))
    printed = subprocess.run(command.split(), stdout=subprocess.PIPE, check=True).stdout.decode()
    assert printed == shown, f"the page does not show what '{command}' prints:\n{printed}"
    assert f"{total(fp8, bf16, 4, E)} bytes" in printed, "not the bytes of all tensors"
    assert f"{parameters / 1e9:.4g} billion parameters, {active / 1e9:.4g} billion for a token" in printed, "not the parameters"
    sequences, context = map(int, re.search(r"sequences: (\d+), up to (\d+)", printed).groups())
    rows, found = re.findall(r"^(n\d+) +(\S+ \S+) +(\S+ \S+) .*\n +(.*)", printed, re.M), 0
    for host, weights, caches, what in rows:
        want = tuple(map(amount, holds(what, sequences, context)))
        assert (weights, caches) == want, f"{host} has {what}: {want} of weights and caches, not {weights} and {caches}"
        found += 1
    sums = [holds(r[3], sequences, context)[0] for r in rows]
    assert sum(sums) == total(fp8, bf16, 4, E), "the hosts together do not have the model"
    print(f"# {name}: {found} hosts, {sum(sums)} bytes")


hosts = {m[1].lower(): (size, f"{m[2]} {m[3]} {m[4]}") for size, m in zip((2, 8, 16), re.finditer(
    r"(Two|Eight|Sixteen) hosts\b.*?(\d+) cores, (\d+) GiB(?: of memory)? and (\d+) GB/s", page))}
blocks = re.findall(r"^\.Bd -literal\n\$ (ds-plan .*)\n((?:.*\n)*?)\.Ed", page, re.M)
assert len(blocks) == len(hosts) == 3, "the page has plans for 2, 8 and 16 hosts"
for command, shown in blocks:
    check(command, shown)
