"""The daemon that speaks TLS, with certificates of both kinds, and what others are told of them."""

import contextlib
import os
import pathlib
import socket
import tempfile
import time

from certs import Authority
from daemon import Daemon

# By SNI: the first is for everybody who asks for neither.
EC, RSA = "localhost", "rsa.localhost"
# A message of 1 MiB and a burst of 10,000 are not to be too much for a reader that is slow.
LIMITS = "--message-bytes-max 8MiB --log-bytes-max 256MiB --lag-bytes-max 128MiB --partial-bytes-max 64MiB".split()
# Nothing here measures speed: this only ends a wait for what does not come.
PATIENCE_S = 10
# Who is silent while others are tried is not taken for gone.
PATIENT = "--ping-interval-ms 3600000 --idle-ms-max 7200000".split()


class World:
    """An authority, its certificates, and daemons that show them."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        # The daemon may run as another user, as in a container.
        os.chmod(folder, 0o755)
        self.authority = Authority(folder)
        self.authority.sign("ec", [EC, "127.0.0.1"])
        self.authority.sign("rsa", [RSA], key="rsa")
        self.ca = self.authority.pem

    def serve(self, *options, limits=LIMITS, port=0, tls_port=0, **how):
        shown = [word for name in ["ec", "rsa"] for word in ["--tls-certificates", self.authority.table(name)]]
        return Daemon(*shown, *limits, *options, port=port, tls_port=tls_port, **how)

    def context(self, version=None):
        return self.authority.context(version)


@contextlib.contextmanager
def world():
    with tempfile.TemporaryDirectory(prefix="fanfare-tls-") as folder:
        yield World(folder)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(daemon, what, reached):
    """Waits until the figures are as they should be in the end."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached(daemon.metrics()):
        assert time.monotonic() < deadline, f"never seen: {what}"
        time.sleep(0.05)


def since(daemon, before, name):
    """How much a figure has grown since `before`, which are figures too."""
    return daemon.metrics().get(name, 0) - before.get(name, 0)


def counted(daemon, before, name):
    """Waits until it has been counted: for a seated connection as the reason of its end, else as a fault."""
    names = [f"closes_total{{{name}}}", f"tls_faults_total{{{name}}}"]
    until(daemon, f"{name} once more", lambda figures: sum(figures.get(one, 0) - before.get(one, 0) for one in names) >= 1)
    grown = sum(since(daemon, before, one) for one in names)
    assert grown == 1, f"{name} was counted {grown:.0f} times"
