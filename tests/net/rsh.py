"""A remote shell over TCP, as small as can be, so that a host that is cut off is cut off for ds-run too.

usage: rsh.py ADDRESS PROGRAM ARG...    runs it there: its input and output are ours; where RSH_NET is set, 10.78.0 say,
                                        the host's address in that network takes the place of 10.77.0.N
       rsh.py --serve ADDRESS...        serves who asks, in the network namespaces of these hosts;
                                        goes into the background as soon as it listens
"""
import os
import select
import socket
import sys

PORT = 2222


def serve(addresses):
    import signal
    import subprocess
    from hosts import on

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    servers = {}
    for address in addresses:
        with on(address):
            servers[socket.create_server(("0.0.0.0", PORT), backlog=50)] = address
    if os.fork() > 0:
        os._exit(0)
    while True:
        for server in select.select(list(servers), [], [])[0]:
            s, _ = server.accept()
            words = b""
            while not words.endswith(b"\0\0") and (block := s.recv(1)):
                words += block
            if words.endswith(b"\0\0"):
                with on(servers[server]):
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
    serve(sys.argv[2:]) if sys.argv[1] == "--serve" else pass_on(sys.argv[1], sys.argv[2:])
