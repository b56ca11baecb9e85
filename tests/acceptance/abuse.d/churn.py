"""Connections that come and go, in all the ways there are of going."""

import multiprocessing
import time

from attacks import PATIENCE_S, until
from peer import CLOSE, TEXT, Peer, dial, frame, request

PROCESSES = 2
# Addresses that the processes come from, so that ports do not run out.
SOURCES = 50
WARM_UP = 10_000
WAYS = ["reset", "end", "close", "half a head", "not a byte", "mid-frame"]
GROWTH_BYTES_MAX = 2 << 20


def connection_churn(daemon, scale):
    count = 200_000 // scale
    calm = daemon.descriptors()
    # What the allocator keeps, and the table of addresses, are there after this.
    churn(daemon.port, WARM_UP)
    before = rest(daemon, calm)
    churn(daemon.port, count)
    after = rest(daemon, before["descriptors"])
    said = "; ".join(f"{name} {before[name]:,} → {after[name]:,}" for name in before)
    for name in before:
        if name == "RSS bytes":
            assert after[name] - before[name] <= GROWTH_BYTES_MAX, f"memory grew: {said}"
        else:
            assert after[name] <= before[name], f"something is left: {said}"
    return f"{count:,} came and went: {said}", "connections, handshakes_in_flight, topics, log_bytes"


connection_churn.options = "--cores 2 --retain-ms-max 1000"


def rest(daemon, calm):
    """Waits until all have gone but the witness's two; what is held then. Descriptors
    are closed a moment later, that of the one who asked for the metrics as well."""
    gone = lambda figures: figures["connections"] == 2 and figures["handshakes_in_flight"] == 0 and figures["topics"] == 1
    figures = until(daemon, "all of them gone", gone)
    deadline = time.monotonic() + PATIENCE_S
    while (descriptors := daemon.descriptors()) > calm:
        assert time.monotonic() < deadline, f"{descriptors} descriptors are left, of {calm} before"
        time.sleep(0.05)
    seen = {name: int(figures[name]) for name in ("connections", "handshakes_in_flight", "topics", "partial_bytes")}
    return {"RSS bytes": daemon.rss_bytes(), "descriptors": descriptors, **seen}


def churn(port, count):
    context = multiprocessing.get_context("fork")
    parts = [context.Process(target=come_and_go, args=(port, count // PROCESSES, part)) for part in range(PROCESSES)]
    for part in parts:
        part.start()
    for part in parts:
        part.join()
        assert part.exitcode == 0, "a process of the attack failed"


def come_and_go(port, count, part):
    head = request(f"/churn-{part}")
    for number in range(count):
        source = f"127.0.{2 + part}.{1 + number % SOURCES}"
        way = WAYS[number % len(WAYS)]
        if way == "half a head":
            sock = dial(port, source=source)
            sock.sendall(head[:60])
            sock.close()
        elif way == "not a byte":
            dial(port, source=source).close()
        else:
            peer = Peer(port, f"/churn-{part}", source=source)
            if way == "reset":
                peer.reset()
            elif way == "mid-frame":
                peer.sock.sendall(frame(TEXT, b"half", length=1000))
                peer.reset()
            elif way == "close":
                peer.send(CLOSE, b"\x03\xe8")
                peer.read_close()
                peer.close()
            else:
                peer.close()
