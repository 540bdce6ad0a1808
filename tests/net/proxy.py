"""A TCP proxy that does to connections what networks do."""
import collections
import socket
import struct
import threading
import time


class Connection:
    """Between one who has come and the target: a thread for each direction, and a queue of what is late."""

    def __init__(self, proxy, near):
        self.proxy, self.near, self.far = proxy, near, None
        self.swallow = proxy.swallow    # half open: everything is taken, nothing goes anywhere, nobody is told
        self.flows = threading.Event()
        self.flows.set()
        try:
            self.far = socket.create_connection(proxy.target, timeout=2)
            self.far.settimeout(None)
        except OSError:
            near.close()
            return
        for a, b in (self.near, self.far), (self.far, self.near):
            queue = collections.deque()
            there = threading.Semaphore(0)
            threading.Thread(target=self.take, args=(a, queue, there), daemon=True).start()
            threading.Thread(target=self.give, args=(b, queue, there), daemon=True).start()

    def take(self, source, queue, there):
        data = b"?"
        while data:
            try:
                data = source.recv(1 << 16)
            except OSError:
                data = b""
            self.flows.wait()
            if not self.swallow:
                queue.append((time.monotonic() + self.proxy.delay, data))
                there.release()

    def give(self, target, queue, there):
        data = b"?"
        while data:
            there.acquire()
            due, data = queue.popleft()
            time.sleep(max(due - time.monotonic(), 0))
            self.flows.wait()
            try:
                target.sendall(data) if data else target.shutdown(socket.SHUT_RDWR)
            except OSError:
                self.reset()
                return

    def reset(self):
        for s in (self.near, self.far):
            if s:
                try:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    s.shutdown(socket.SHUT_RD)      # wakes who reads it
                except OSError:
                    pass
                s.close()


class Proxy:
    def __init__(self, port, target, delay=0, swallow=False):
        self.target, self.delay, self.swallow = target, delay, swallow
        self.connections = []
        self.refuse = False
        self.server = socket.create_server(("0.0.0.0", port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            near, _ = self.server.accept()
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            c = Connection(self, near)
            if c.far:
                c.far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections.append(c)
                if self.refuse:
                    c.reset()

    def stall(self, seconds):
        """Nothing moves for so long, then all of it comes."""
        now = list(self.connections)
        for c in now:
            c.flows.clear()
        time.sleep(seconds)
        for c in now:
            c.flows.set()

    def half_open(self, all_to_come=False):
        self.swallow = all_to_come
        for c in self.connections:
            c.swallow = True

    def reset(self, all_to_come=False):
        self.refuse = all_to_come
        for c in self.connections:
            c.reset()
