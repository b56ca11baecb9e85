"""The load test over wss:// and https://: rustls, which this repository did not write, under many clients at once.

Each run compares every byte that comes, in order, and fails if anything is lost, doubled or out of order."""

import os
import pathlib
import subprocess

from daemon import TOP

RUNS = [
    ("subscribers and publishers", "wss", None, "raw", ["--size", "64", "--window", "16"]),
    ("publishers in the clear", "wss", "ws", "raw", ["--size", "1000", "--window", "4"]),
    ("subscribers in the clear", "ws", "wss", "raw", ["--size", "1000", "--window", "4"]),
    ("records that are full", "wss", None, "raw", ["--size", "100000", "--window", "2"]),
    ("streams of events", "https", "wss", "sse", ["--size", "1000", "--window", "4"]),
]


def binary():
    named = os.environ.get("LOADTEST_BIN")
    if named:
        return pathlib.Path(named).resolve()
    subprocess.run(["cargo", "build", "--release", "-p", "loadtest"], cwd=TOP, check=True)
    return TOP / "target" / "release" / "fanfare-loadtest"


def run(world, tally):
    tool = binary()

    def attempt(scheme, publishers, dialect, words):
        with world.serve("--connections-per-address-max", "100000") as daemon:
            ports = {"ws": daemon.port, "wss": daemon.tls_port, "https": daemon.tls_port}
            place = lambda scheme: f"{scheme}://127.0.0.1:{ports[scheme]}/bench-{{topic}}"
            command = [tool, "fanout", "--url", place(scheme), "--dialect", dialect, "--ca", world.ca, "-n", "100", "-d", "3s", "--verify", "--quiet", *words]
            if publishers:
                command += ["--publish-url", place(publishers)]
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, f"ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}"

    for what, *words in RUNS:
        tally.check(f"rustls (load test): {what}", attempt, *words)
