"""ports.py LOCK PID N: prints N consecutive TCP ports, which are the process PID's while it lives.

They are outside the range from which the system takes the ports of clients. A port in that range
may become that of a connection, which holds it for another minute after it was closed. The file
LOCK has a line for each claim: its first port, how many, and whose."""
import fcntl
import os
import random
import socket
import sys


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("", port))
        except OSError:
            return False
    return True


def main(lock, pid, n):
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        low, high = map(int, f.read().split())
    outside = [range(10000, low), range(high + 1, 65536)]
    starts = [p for r in outside for p in r[:max(0, len(r) - n + 1)]] or list(range(10000, 65536 - n))
    random.shuffle(starts)
    with open(lock, "a+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.seek(0)
        claims = [c for c in (tuple(map(int, line.split())) for line in f) if os.path.exists(f"/proc/{c[2]}")]
        for start in starts:
            if all(start + n <= c[0] or c[0] + c[1] <= start for c in claims) and \
                    all(map(is_free, range(start, start + n))):
                break
        else:
            sys.exit(f"ports.py: no {n} consecutive ports are free")
        f.truncate(0)
        for c in [*claims, (start, n, pid)]:
            print(*c, file=f)
    print(*range(start, start + n))


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
