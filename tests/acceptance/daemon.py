"""The real daemon under test: started on a free port, watched from outside."""

import ctypes
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "fanfare-acceptance"
# prctl(2): orphaned descendants become children of this process.
PR_SET_CHILD_SUBREAPER = 36


def binary():
    """The daemon that FANFARE_BIN names, or a release build made here."""
    named = os.environ.get("FANFARE_BIN")
    if named:
        return pathlib.Path(named).resolve()
    subprocess.run(["cargo", "build", "--release", "--bin", "fanfare"], cwd=TOP, check=True)
    return TOP / "target" / "release" / "fanfare"


class HandoverFailed(Exception):
    """No newer process took over."""


class Adopted:
    """A child that another process has started, as `subprocess.Popen` would have it."""

    def __init__(self, pid):
        self.pid = pid

    def send_signal(self, number):
        os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout=None):
        deadline = timeout and time.monotonic() + timeout
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if deadline and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("fanfare", timeout)
            time.sleep(0.01)


class Daemon:
    """A running daemon; a context manager that ends it."""

    def __init__(self, *options, host="127.0.0.1", port=0, tls_port=None, log="error", under=(), program=None, **popen):
        """`under` is a command that the daemon's is given to, as strace. With `tls_port`, which may be 0 for any, TLS is
        spoken there as well, and the options name certificates."""
        self.folder = tempfile.mkdtemp(prefix="fanfare-")
        # The daemon may run as another user.
        os.chmod(self.folder, 0o777)
        self.admin = os.path.join(self.folder, "admin")
        command = [program or binary(), "serve", "--listen", f"{host}:{port}", "--admin", f"unix:{self.admin}", "--log", log]
        if host != "127.0.0.1":
            # Where others get in, it must be said that they may do everything.
            command += ["--anonymous", 'match = "**", publish = true']
        if tls_port is not None:
            command += ["--listen-tls", f"{host}:{tls_port}"]
        self.process = subprocess.Popen(
            [*under, *command, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **popen
        )
        self.http, self.port = self._read_place("http", host)
        self.ws = self.http.replace("http", "ws")
        if tls_port is not None:
            self.https, self.tls_port = self._read_place("https", host)
            self.wss = self.https.replace("http", "ws")

    def _read_place(self, scheme, host):
        """Where the daemon says that it listens."""
        line = self.process.stdout.readline()
        found = re.fullmatch(rf"listening on ({scheme}://{re.escape(host)}:(\d+)/)\n", line)
        if not found:
            self.stop()
            raise SystemExit(f"the daemon did not say where it listens, but: {line.strip() or 'nothing'}")
        return found[1], int(found[2])

    # How long it may take to end.
    end_s = 30

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        status = self.stop()
        if kind is None and status != 0:
            raise RuntimeError(f"the daemon ended with {status}")

    def stop(self):
        """Ends it; the exit status, None if it had to be killed."""
        self.process.terminate()
        try:
            status = self.process.wait(timeout=self.end_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = None
        shutil.rmtree(self.folder, ignore_errors=True)
        return status

    def upgrade(self):
        """Has a newer process take over; from then on that one is the daemon."""
        self.expect_successor()
        command = [binary(), "upgrade", "--admin", f"unix:{self.admin}"]
        asked = subprocess.run(command, capture_output=True, text=True)
        if asked.returncode != 0:
            raise HandoverFailed(asked.stderr.strip())
        self.adopt(asked.stdout)

    def expect_successor(self):
        """Before somebody asks for an upgrade."""
        # The successor's parent ends, and this process is to learn how it ends itself.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)

    def adopt(self, answer):
        """The process that the answer to an upgrade names is the daemon from then on."""
        status = self.process.wait(timeout=30)
        if status != 0:
            raise HandoverFailed(f"the older process ended with {status}")
        self.process = Adopted(int(re.search(r"\d+", answer)[0]))

    def metrics(self):
        """Every figure of the admin listener, cores and bare names summed up; reasons and kinds apart."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(30)
            admin.connect(self.admin)
            admin.sendall(b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: admin.recv(1 << 16), b"")).decode()
        figures = {}
        for line in answer.splitlines():
            found = re.fullmatch(r'fanfare_(\w+)(?:\{(\w+)="([^"]*)"\})? (\S+)', line)
            if not found:
                continue
            name, label, value, number = found.groups()
            if label in ("reason", "kind"):
                name = f"{name}{{{value}}}"
            figures[name] = figures.get(name, 0) + float(number)
        return figures

    def rss_bytes(self):
        return self._status("VmRSS")

    def peak_rss_bytes(self):
        """The most since `forget_peak`, or since the start."""
        return self._status("VmHWM")

    def forget_peak(self):
        # proc(5), clear_refs: 5 resets the peak.
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def _status(self, key):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) << 10

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_s(self):
        """Of the threads there are, to the nanosecond: the kernel's own sum is in ticks of ten milliseconds."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9
