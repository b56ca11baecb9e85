"""Peers over TLS that read nothing and go on asking: what waits for them is bounded, and nobody else is held up."""

import struct
import time

from peer import BINARY, PING, PONG, TEXT, Peer, frame
from rogue import DATA, TLS13, VERSIONS, Rogue
from world import PATIENCE_S, counted, until

# What the kernel takes for a slow reader is deciphered here in the end, in Python.
OPTIONS = ["--unsent-bytes-max", "4KiB"]
# The rest of a record of 2^14 bytes, and short ones behind it.
KEPT_BYTES_MAX = 17 << 10
# Answers to pings that wait for a connection.
LANE_BYTES_MAX = 64 << 10


def run(scene):
    scene.check("reads nothing and asks for new keys, TLS 1.3", updates_unread, scene)
    for version, number in VERSIONS.items():
        scene.check(f"reads nothing and pings, {version}", pings_unread, scene, number)


def stalled(scene, version):
    """A peer that reads nothing any more of a topic whose messages fill its socket; who speaks there, who hears it in
    the clear, and what was said."""
    until(scene.daemon, "those before have gone", lambda figures: not figures["stalled_connections"])
    rogue = Rogue(scene.daemon.tls_port, version, receive_bytes=4096)
    rogue.talk("/unread")
    speaker, listener = Peer(scene.daemon.port, "/unread"), Peer(scene.daemon.port, "/unread")
    said = []
    deadline = time.monotonic() + PATIENCE_S
    while not scene.daemon.metrics()["stalled_connections"]:
        assert time.monotonic() < deadline, f"it is never stalled, though {len(said)} messages were published"
        message = b"%d " % len(said) + bytes(1000)
        speaker.send(BINARY, message)
        said.append(message)
        assert listener.read() == (BINARY, message)
    return rogue, speaker, listener, said


def keeps_little(scene):
    kept = scene.daemon.metrics()["tls_kept_bytes"]
    assert kept <= KEPT_BYTES_MAX, f"{kept:.0f} bytes of ciphertext are kept"


def updates_unread(scene):
    """A peer that reads nothing and asks for new keys again and again: one answer waits, not one for each, and what was
    published meanwhile comes whole and in order."""
    rogue, speaker, listener, said = stalled(scene, TLS13)
    asked = 200 if scene.world.short else 2000
    for _ in range(asked):
        rogue.key_update(requested=1)
        # Without data between them they would be a flood.
        rogue.send(DATA, frame(PONG))
    rogue.send(DATA, frame(TEXT, b"that was all"))
    # So that all of it has been read.
    assert listener.read() == (TEXT, b"that was all")
    keeps_little(scene)
    speaker.send(BINARY, b"last")
    wanted = b"".join(map(from_server, [*said, b"last"]))
    heard = bytearray()
    while len(heard) < len(wanted):
        more = rogue.conn.read(max=1 << 14, min=1)
        assert more, f"it was ended after {len(heard)} of {len(wanted)} bytes"
        heard += more
        keeps_little(scene)
    assert heard == wanted, "it heard something else than was published"
    assert 1 <= rogue.updates_heard <= 2, f"{asked} requests for new keys were answered {rogue.updates_heard} times"
    for peer in [rogue, speaker, listener]:
        peer.close()
    return f"{asked} requests were answered by {rogue.updates_heard} key updates"


def pings_unread(scene, version):
    """A peer that reads nothing and pings: what waits for it is bounded, and beyond that it is closed."""
    rogue, speaker, listener, _ = stalled(scene, version)
    before = scene.daemon.metrics()
    ping = frame(PING, bytes(125))
    rogue.raw(b"".join(rogue.seal(DATA, ping) for _ in range(LANE_BYTES_MAX // 127 + 10)))
    counted(scene.daemon, before, "control_flood")
    keeps_little(scene)
    for peer in [rogue, speaker, listener]:
        peer.close()


def from_server(message):
    """The frame of a binary message as subscribers hear it."""
    length = len(message)
    head = bytes([length]) if length < 126 else struct.pack("!BH", 126, length)
    return bytes([0x80 | BINARY]) + head + message
