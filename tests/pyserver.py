"""A Python that has loaded numpy, msgpack, frame, jinja2.  It forks for each script: see py.c.

Descriptor 3 listens.  It ends with the process DS_PYSERVER_FOR; a script ends with its client."""
import array
import contextlib
import gc
import io
import os
import select
import signal
import socket
import sys
import traceback

import msgpack      # noqa: F401
import numpy        # noqa: F401

import frame        # noqa: F401

with contextlib.suppress(ImportError):      # (what chat templates are rendered with)
    import jinja2.ext, jinja2.meta, jinja2.sandbox  # noqa: E401, F401
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


def code_of(path, folder):
    """The script at path, compiled once for all who run it; None if it cannot be read."""
    try:
        path_in = os.path.join(folder, path)
        st = os.stat(path_in)
        key = st.st_mtime_ns, st.st_size, st.st_ino
        if compiled.get(path_in, (None,))[0] != key:
            with open(path_in, "rb") as f:
                compiled[path_in] = key, compile(f.read(), path, "exec")
        return compiled[path_in][1]
    except (OSError, SyntaxError, ValueError):
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


def main_module(args, code):
    """Run args as Python would: -c CODE, -, or a file."""
    import types
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
        if code is None:
            with open(args[0], "rb") as f:
                code = compile(f.read(), args[0], "exec")
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


def child(fds, args, env, code):
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
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    streams()
    status = 0
    try:
        main_module(args, code)
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
        os._exit(status & 255)


def main():
    server = socket.socket(fileno=3)
    server.setblocking(False)
    owner = os.pidfd_open(int(os.environ["DS_PYSERVER_FOR"]))
    woken, wake = os.pipe()
    for fd in woken, wake:
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    running = {}        # pid -> its client
    poll = select.poll()
    for fd in server.fileno(), owner, woken:
        poll.register(fd, select.POLLIN)
    gc.collect()
    gc.freeze()
    while True:
        for fd, _ in poll.poll():
            if fd == owner:
                for pid in running:
                    os.kill(pid, signal.SIGKILL)
                return
            if fd == server.fileno():
                client, _ = server.accept()
                client.setblocking(True)
                try:
                    fds, args, env = request(client)
                except (OSError, EOFError):
                    client.close()
                    continue
                if not args:
                    os._exit(0)         # (the client waits for the socket to be closed, which is then the last step)
                code = None
                if args[0] not in ("-", "-c"):
                    code = code_of(args[0], os.readlink(f"/proc/self/fd/{fds[3]}"))
                pid = os.fork()
                if pid == 0:
                    server.close()
                    client.close()
                    for other in running.values():
                        other.close()
                    child(fds, args, env, code)
                for fd in fds:
                    os.close(fd)
                running[pid] = client
                poll.register(client.fileno(), 0)       # (it only hangs up)
            elif fd == woken:
                os.read(woken, 4096)
                while running:
                    pid, status = os.waitpid(-1, os.WNOHANG)
                    if pid == 0:
                        break
                    client = running.pop(pid)
                    try:
                        poll.unregister(client.fileno())
                        client.send(os.waitstatus_to_exitcode(status).to_bytes(4, sys.byteorder, signed=True))
                    except (OSError, KeyError):     # the client was killed
                        pass
                    client.close()
            else:
                for pid, client in running.items():
                    if client.fileno() == fd:
                        os.kill(pid, signal.SIGTERM)    # its client was killed
                        poll.unregister(fd)
                        break


main()
