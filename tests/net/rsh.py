"""A remote shell over TCP, as small as can be, so that a host that is cut off is cut off for ds-run too.

usage: rsh.py ADDRESS PROGRAM ARG...    runs it there: its input and output are ours; where RSH_NET is set, 10.78.0 say,
                                        the host's address in that network takes the place of 10.77.0.N
       rsh.py                           serves who asks
"""
import os
import select
import signal
import socket
import subprocess
import sys

PORT = 2222


def serve():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.create_server(("0.0.0.0", PORT), backlog=50) as server:
        while True:
            s, _ = server.accept()
            words = b""
            while not words.endswith(b"\0\0") and (block := s.recv(1)):
                words += block
            if words.endswith(b"\0\0"):
                subprocess.Popen(words[:-2].split(b"\0"), stdin=s, stdout=s)
            s.close()


def pass_on(address, words):
    if "RSH_NET" in os.environ:
        address = os.environ["RSH_NET"] + "." + address.split(".")[-1]
    s = socket.create_connection((address, PORT))
    s.sendall(b"\0".join(os.fsencode(w) for w in words) + b"\0\0")
    ours = [0, s.fileno()]
    while s.fileno() in ours:
        for source in select.select(ours, [], [])[0]:
            try:
                block = os.read(source, 1 << 16)
            except ConnectionError:
                block = b""
            if block:
                os.write(1, block) if source else s.sendall(block)
            else:
                ours.remove(source)
                if source == 0:
                    s.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    pass_on(sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else serve()
