"""A Python that has loaded numpy, msgpack, frame, jinja2 forks processes that run scripts: see py.c.

A process runs one script after the other, each with its own modules, folder, environment and
streams.  It ends after one that leaves more than that: a thread, a child, an open file, the
handler of a signal.  (A process for each script would take five times as long to copy the
pages that it writes.)
Descriptor 3 listens.  The server ends with the process DS_PYSERVER_FOR; a script ends with its
client."""
import array
import contextlib
import gc
import importlib.machinery
import importlib.util
import io
import os
import resource
import select
import signal
import socket
import subprocess   # noqa: F401
import sys
import threading
import traceback
import types

import msgpack      # noqa: F401
import numpy        # noqa: F401

import frame

with contextlib.suppress(ImportError):      # (what chat templates are rendered with)
    import jinja2.ext, jinja2.meta, jinja2.sandbox  # noqa: E401, F401
TESTS = os.path.dirname(os.path.realpath(__file__))
SPARE = 8           # processes that may wait for work
MOST = 256 << 10    # KiB of memory that one may have taken
LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
STOP = 1 << 16      # the answer to a request without arguments
compiled = {}       # path -> (what stat says, code)


def take(s, n):
    out = bytearray()
    while len(out) < n:
        some = s.recv(n - len(out))
        if not some:
            raise EOFError
        out += some
    return bytes(out)


def strings(data, at):
    n = int.from_bytes(data[at:at + 4], sys.byteorder)
    at += 4
    out = []
    for _ in range(n):
        end = data.index(b"\0", at)
        out.append(data[at:end])
        at = end + 1
    return out, at


def request(s):
    """(descriptors, arguments, environment)"""
    size, control, _, _ = s.recvmsg(4, socket.CMSG_SPACE(4 * 4))
    fds = array.array("i")
    for _, _, data in control:
        fds.frombytes(data)
    try:
        if not size:            # the client was killed before it asked
            raise EOFError
        data = take(s, int.from_bytes(size, sys.byteorder))
    except (OSError, EOFError):
        for fd in fds:
            os.close(fd)
        raise
    args, at = strings(data, 0)
    return list(fds), [os.fsdecode(a) for a in args], strings(data, at)[0]


def code_of(path):
    """The script at path, compiled once."""
    name, st = os.path.abspath(path), os.stat(path)
    key = path, st.st_mtime_ns, st.st_size, st.st_ino
    if compiled.get(name, (None,))[0] != key:
        with open(path, "rb") as f:
            compiled[name] = key, compile(f.read(), path, "exec")
    return compiled[name][1]


class Once(importlib.machinery.SourceFileLoader):
    """Modules of this folder: each script has its own, of code that was compiled once."""

    def get_code(self, name):
        return code_of(self.path)

    @staticmethod
    def find_spec(name, path=None, target=None):
        file = f"{TESTS}/{name}.py"
        if path is None and os.path.exists(file):
            return importlib.util.spec_from_file_location(name, file, loader=Once(name, file))
        return None


def streams():
    """sys.stdin, stdout and stderr as a new Python has them."""
    def make(fd, mode, **how):
        try:
            raw = io.FileIO(fd, mode, closefd=False)
        except OSError:
            return None
        buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
        return io.TextIOWrapper(buffer, **how)
    sys.stdin = sys.__stdin__ = make(0, "r", encoding="utf-8", errors="surrogateescape")
    sys.stdout = sys.__stdout__ = make(1, "w", encoding="utf-8", errors="surrogateescape", line_buffering=os.isatty(1))
    sys.stderr = sys.__stderr__ = make(2, "w", encoding="utf-8", errors="backslashreplace", line_buffering=True)


def main_module(args):
    """Run args as Python would: -c CODE, -, or a file."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    names = module.__dict__
    names["__builtins__"] = __builtins__
    if args[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *args[2:]], ""
        code = compile(args[1], "<string>", "exec")
    elif args[0] == "-":
        sys.argv, sys.path[0] = args, ""
        code = compile(sys.stdin.buffer.read(), "<stdin>", "exec")
    else:
        sys.argv, sys.path[0] = args, os.path.dirname(os.path.realpath(args[0]))
        names["__file__"] = args[0]
        code = code_of(args[0])
    exec(code, names)


def let_go():
    """What the script left open is flushed and closed, as at the end of a Python."""
    module = sys.modules.get("__main__")
    sys.last_traceback = None
    if module:
        module.__dict__.clear()
    gc.collect()


def flush():
    for s in sys.stdout, sys.stderr:
        try:
            if s:
                s.flush()
        except (OSError, ValueError) as e:
            if s is sys.stdout:
                os.write(2, f"Exception ignored on flushing sys.stdout: {e!r}\n".encode())
                return 120
    return 0


def run(fds, args, env):
    """The exit status."""
    os.fchdir(fds[3])
    for i in range(3):
        os.dup2(fds[i], i)
    for fd in fds:
        if fd > 2:
            os.close(fd)
    os.environb.clear()
    for e in env:
        name, _, value = e.partition(b"=")
        if name:
            os.environb[name] = value
    streams()
    status = 0
    try:
        main_module(args)
    except SystemExit as e:
        if e.code is None:
            status = 0
        elif isinstance(e.code, int):
            status = e.code
        else:
            print(e.code, file=sys.stderr)
            status = 1
    except KeyboardInterrupt:
        flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException as e:      # (without the server's own two lines)
        e.__traceback__ = e.__traceback__.tb_next.tb_next if e.__traceback__.tb_next else None
        traceback.print_exception(e)
        status = 1
    try:
        import atexit
        atexit._run_exitfuncs()
        let_go()
    finally:
        status = flush() or status
    return status & 255


def own():
    """What a script may leave otherwise than it was."""
    os.umask(mask := os.umask(0o22))
    return (os.getpid(), threading.active_count(), len(os.listdir("/proc/self/fd")), mask,
            [signal.getsignal(n) for n in signal.valid_signals()],
            [resource.getrlimit(n) for n in LIMITS])


def childless():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return False
    except ChildProcessError:
        return True


def work(server):
    """Run what the server passes on, each time a client's connection."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open("/dev/null", os.O_RDWR)
    path, modules = list(sys.path), dict(sys.modules)
    installed = tuple(p for p in path if p and p != TESTS)
    before = own()
    while True:
        _, fds, _, _ = socket.recv_fds(server, 1, 1)
        if not fds:
            os._exit(0)
        status = 125            # (of a client that was killed)
        with contextlib.suppress(OSError, EOFError):
            with socket.socket(fileno=fds[0]) as client:
                some = request(client)
            status = run(*some) if some[1] else STOP
        if status != STOP:
            for fd in range(3):
                os.dup2(nothing, fd)
            os.chdir("/")
            with contextlib.suppress(OSError, ValueError):
                for limit, value in zip(LIMITS, before[-1]):
                    resource.setrlimit(limit, value)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            if own() != before or not childless() or memory > MOST:
                os._exit(status)
            sys.path[:] = path
            for name, module in list(sys.modules.items()):
                if not (getattr(module, "__file__", None) or installed[0]).startswith(installed):
                    del sys.modules[name]
            sys.modules.update(modules)
        server.send(status.to_bytes(4, sys.byteorder, signed=True))


class Worker:
    """A process; client: whose script it runs; doomed: a signal is on its way."""

    def __init__(self, others):
        self.client, self.doomed = None, False
        self.socket, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            for other in [self, *others]:
                for s in other.socket, other.client:
                    if s:
                        s.close()
            os.close(3)
            work(theirs)
        theirs.close()

    def begin(self, client):
        socket.send_fds(self.socket, [b" "], [client.fileno()])
        self.client = client

    def end(self, status):
        with contextlib.suppress(OSError), self.client:         # (the client may have been killed)
            self.client.send(status.to_bytes(4, sys.byteorder, signed=True))
        self.client = None


class Server:
    def __init__(self, listening):
        self.listening = listening
        self.workers, self.idle = {}, []        # by process; those of them that wait
        self.by_fd = {}                         # of their sockets and clients
        self.poll = select.poll()

    def register(self, s, worker, events):
        self.by_fd[s.fileno()] = worker
        self.poll.register(s, events)

    def unregister(self, fd):
        if self.by_fd.pop(fd, None):
            self.poll.unregister(fd)

    def accept(self):
        client = None
        while client is None or not worker.client:      # (one may have been killed a moment ago)
            worker = self.idle.pop() if self.idle else Worker(self.workers.values())
            if worker.pid not in self.workers:
                self.workers[worker.pid] = worker
                self.register(worker.socket, worker, select.POLLIN)
            client = client or self.listening.accept()[0]
            client.setblocking(True)
            with contextlib.suppress(OSError):
                worker.begin(client)
        self.register(client, worker, 0)                # (it only hangs up)

    def end(self, worker, status):
        if worker.client:
            self.unregister(worker.client.fileno())
            worker.end(status)

    def heard(self, worker):
        """It says a status, or has closed the connection as it ends."""
        try:
            said = worker.socket.recv(4)
        except OSError:
            said = b""
        status = int.from_bytes(said, sys.byteorder)
        if status == STOP:
            os._exit(0)         # (which closes the client's socket, for which it waits)
        if said:
            self.end(worker, status)
            self.idle.append(worker)
        if not said or worker.doomed or len(self.idle) > SPARE:
            self.unregister(worker.socket.fileno())
            worker.socket.close()
            self.idle = [w for w in self.idle if w is not worker]

    def reap(self):
        while self.workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            worker = self.workers.pop(pid)
            self.end(worker, os.waitstatus_to_exitcode(status))
            self.unregister(worker.socket.fileno())
            worker.socket.close()
            self.idle = [w for w in self.idle if w is not worker]

    def serve(self, owner, woken):
        for fd in owner, woken, self.listening:
            self.poll.register(fd, select.POLLIN)
        while True:
            fd = self.poll.poll()[-1][0]        # (the others come again: what ends, then what begins)
            worker = self.by_fd.get(fd)
            if fd == owner:
                for pid in self.workers:
                    os.kill(pid, signal.SIGKILL)
                return
            if fd == woken:
                os.read(woken, 4096)
                self.reap()
            elif fd == self.listening.fileno():
                self.accept()
            elif fd == worker.socket.fileno():
                self.heard(worker)
            else:
                os.kill(worker.pid, signal.SIGTERM)     # its client was killed
                worker.doomed = True
                self.unregister(fd)


def main():
    listening = socket.socket(fileno=3)
    listening.setblocking(False)
    woken, wake = os.pipe()
    for fd in woken, wake:
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    sys.meta_path.insert(0, Once)
    frame.crc32c(bytes(4096))       # (makes its tables)
    gc.collect()
    gc.freeze()
    Server(listening).serve(os.pidfd_open(int(os.environ["DS_PYSERVER_FOR"])), woken)


main()
