"""damage.py STREAM STEP COMMAND...: a command must survive each damage that one byte of its input can take.

The stream is cut at every STEP-th byte, and every STEP-th is changed (all, with STEP 1; all of the first
preamble in any case); the command reads it on standard input and must exit 1 or 3 (3 when cut), say why in one line on standard error, and not hang.
Prints what went wrong, a line each; exits 1 if anything did.
"""
import concurrent.futures
import subprocess
import sys

LIMIT = 20      # seconds

stream, step, command = open(sys.argv[1], "rb").read(), int(sys.argv[2]), sys.argv[3:]
places = [n for n in range(len(stream)) if n < 18 or n % step == 0]


def attempt(what, data, statuses):
    try:
        p = subprocess.run(command, input=data, capture_output=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"{what}: hangs"
    said = p.stderr.decode(errors="replace")
    if p.returncode not in statuses:
        return f"{what}: exit status {p.returncode}: {said.strip()[:300]}"
    if said.count("\n") != 1 or not said.startswith(command[0].split("/")[-1] + ": "):
        return f"{what}: not one line of its own: {said!r}"
    return None


def attempts():
    for n in places:
        yield f"cut after {n} bytes", stream[:n], (3,)
    for n in places:
        for change in (1, 0x80) if n < 18 else (1 << n % 8,):
            yield f"byte {n} with {change:#x} turned", stream[:n] + bytes([stream[n] ^ change]) + stream[n + 1:], (1, 3)


with concurrent.futures.ThreadPoolExecutor(2) as pool:
    wrong = [w for w in pool.map(lambda a: attempt(*a), attempts()) if w]
print("\n".join(wrong[:20]))
sys.exit(bool(wrong))
