"""A sender on host 1, a receiver on host 2, and what may happen between them.

usage: pair.py FAULT STREAM

FAULT    none, late, stall: all frames of the file STREAM go over; prints the status of both, and whether they arrived
         reset, half_open, cut, cut_at_once: they go over again and again, until both have ended; prints the status of both,
         how many lines they wrote, whether those name the endpoints, and whether it took less than 8 s
"""
import os
import subprocess
import sys
import threading
import time

from proxy import Proxy

HOST = "10.77.0."


def program(host, words, **how):
    return subprocess.Popen(["ip", "netns", "exec", HOST + host, "ds-cut", "--timeout", "1", "--unsafe", *words],
                            stderr=subprocess.PIPE, **how)


def main(fault, stream):
    data = open(stream, "rb").read()
    end = data.rindex(b"dsf1") - 2      # where its end frame is
    cut = fault.startswith("cut")
    to = f"tcp://{HOST}{'2' if cut or fault == 'none' else '9'}:5611"
    proxy = None if cut or fault == "none" else Proxy(5611, (HOST + "2", 5611), 0.05 if fault == "late" else 0)
    take = program("2", ["-i", f"@tcp://{HOST}2:5611", "-o", "-"], stdout=subprocess.PIPE)
    send = program("1", ["-i", "-", "-o", to], stdin=subprocess.PIPE)
    got, more = bytearray(), threading.Event()
    lasting = cut or fault in ("reset", "half_open")

    def read():
        while block := os.read(take.stdout.fileno(), 1 << 16):
            got.extend(block) if not lasting else None
            more.set()

    def write():
        try:
            while lasting:
                send.stdin.write(data[:end])
            send.stdin.write(data)
            send.stdin.close()
        except BrokenPipeError:
            pass

    threads = [threading.Thread(target=f, daemon=True) for f in (read, write)]
    for t in threads:
        t.start()
    more.wait(20)
    if fault != "cut_at_once":
        time.sleep(0.7)     # signs of life have gone both ways
    began = time.monotonic()
    if cut:
        subprocess.run(["ip", "-n", HOST + "2", "link", "set", "cable", "down"], check=True)
    elif fault == "stall":
        proxy.stall(0.6)
    elif lasting:
        getattr(proxy, fault)()
    status = [p.wait(40) for p in (send, take)]
    took = time.monotonic() - began
    said = [p.stderr.read().decode() for p in (send, take)]
    for t in threads:
        t.join(5)
    if lasting:
        print(*status, *(s.count("\n") for s in said), to in said[0], f"@tcp://{HOST}2:5611" in said[1], took < 8, flush=True)
    else:
        print(*status, *said, got == data, flush=True)
    print(f"{took:.1f} s", *said, sep="\n", file=sys.stderr, flush=True)
    os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
