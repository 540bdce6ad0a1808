"""What goes over the cables: run in the network namespace of the switch.

usage: capture.py FOLDER COMMAND...

Runs COMMAND, and leaves in FOLDER what each side of each TCP connection sent meanwhile, as files SOURCE:PORT-TARGET:PORT.
"""
import os
import select
import socket
import struct
import subprocess
import sys


def take_packet(streams, raw):
    """Put the payload of an Ethernet frame where its sequence number says."""
    if raw[12:14] != b"\x08\x00" or raw[23] != socket.IPPROTO_TCP:
        return
    ip = raw[14:14 + struct.unpack(">H", raw[16:18])[0]]
    tcp = ip[(ip[0] & 15) * 4:]
    name = "%s:%d-%s:%d" % (socket.inet_ntoa(ip[12:16]), *struct.unpack(">H", tcp[:2]), socket.inet_ntoa(ip[16:20]),
                            *struct.unpack(">H", tcp[2:4]))
    seq, = struct.unpack(">I", tcp[4:8])
    if tcp[13] & 2:     # SYN
        streams[name] = [(seq + 1) & 0xFFFFFFFF, bytearray()]
    elif name in streams:
        start, data = streams[name]
        payload, at = tcp[(tcp[12] >> 4) * 4:], (seq - start) & 0xFFFFFFFF
        if payload and at <= 1 << 30:
            data.extend(bytes(max(at + len(payload) - len(data), 0)))
            data[at:at + len(payload)] = payload


def main(folder, *command):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)       # SO_RCVBUFFORCE
    streams = {}
    p = subprocess.Popen(command)
    while select.select([s], [], [], 0.1)[0] or p.poll() is None:
        if select.select([s], [], [], 0)[0]:
            take_packet(streams, s.recv(1 << 17))
    os.makedirs(folder)
    for name, (_, data) in streams.items():
        if data:
            open(f"{folder}/{name}", "wb").write(data)
    return p.returncode


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
