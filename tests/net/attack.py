"""Somebody on the network who is not wanted.

usage: attack.py KEY SECONDS REPLAY ADDRESS:PORT...

Tries for so long, at every one of these endpoints and all at once: plain PUSH and PULL sockets, the same with a key that nobody
allows (KEY, the public one of who waits there, is known to the attacker), bytes that are no ZeroMQ, connections that say
nothing, and the streams in the folder REPLAY, which capture.py made.  Prints a line for everything that came of it.
"""
import glob
import os
import select
import socket
import sys
import threading
import time

import zmq
from zmq.utils.monitor import recv_monitor_message

import frame

SHAKING = 64 + 170      # bytes that everybody gets, who knows the public key: a greeting, the server's hello
GREETING = b"\xff\0\0\0\0\0\0\0\1\x7f\3\0"
GARBAGE = {
    "random bytes": os.urandom(5000),
    "a request for a page": b"GET / HTTP/1.1\r\nHost: dspipe\r\n\r\n",
    "a greeting without keys": GREETING + b"NULL".ljust(52, b"\0") + b"\4\x19\5READY\x0bSocket-Type\0\0\0\4PUSH" + b"\0\3abc",
    "a greeting and nonsense": GREETING + b"CURVE".ljust(52, b"\0") + os.urandom(300),
    "a part without end": GREETING + b"NULL".ljust(52, b"\0") + b"\2\x7f\xff\xff\xff\xff\xff\xff\xff" + bytes(1000),
    "half a frame": frame.prompt((1, 0, 1, [5, 6, 7])).bytes()[:100],
    "an old greeting": b"\1\0\0",
    "nothing": b"",
}
found = []


def plain(kind, at, until, key):
    s = zmq.Context.instance().socket(kind)
    if key:
        s.curve_serverkey = key
        s.curve_publickey, s.curve_secretkey = zmq.curve_keypair()
    monitor = s.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
    s.connect("tcp://" + at)
    who = f"{at}: a {'PUSH' if kind == zmq.PUSH else 'PULL'} socket with {'a wrong' if key else 'no'} key"
    while time.monotonic() < until:
        if monitor.poll(50):
            recv_monitor_message(monitor)
            found.append(who + " shook hands")
        try:
            if kind == zmq.PULL:
                found.append(f"{who} got {len(s.recv(zmq.NOBLOCK))} bytes")
            else:
                s.send(frame.Frame({"op": "end"}).bytes(), zmq.NOBLOCK)
        except zmq.Again:
            pass


def raw(what, data, at, until):
    host, port = at.split(":")
    while time.monotonic() < until:
        got = 0
        try:
            with socket.create_connection((host, int(port)), timeout=1) as s:
                # as one piece, and as a client would: its greeting, its hello, the rest, each behind an answer
                for piece in (data[:64], data[64:266], data[266:]):
                    s.sendall(piece)
                    while select.select([s], [], [], 0.15)[0] and (n := len(s.recv(1 << 16))):
                        got += n
        except OSError:
            pass
        if got > SHAKING:
            found.append(f"{at}: {what} got {got} bytes")
        time.sleep(0.05)


def main(key, seconds, replay, *addresses):
    until = time.monotonic() + float(seconds)
    threads = []
    for at in addresses:
        for kind in (zmq.PUSH, zmq.PULL):
            for k in (None, key.encode()):
                threads.append(threading.Thread(target=plain, args=(kind, at, until, k)))
        for what, data in GARBAGE.items():
            threads.append(threading.Thread(target=raw, args=(what, data, at, until)))
        for name in glob.glob(glob.escape(replay) + "/*"):
            data = open(name, "rb").read()
            threads.append(threading.Thread(target=raw, args=("a replay of " + os.path.basename(name), data, at, until)))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(*sorted(set(found)), sep="\n", end="\n" if found else "", flush=True)
    os._exit(0)     # what the sockets could not say is of no interest


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
