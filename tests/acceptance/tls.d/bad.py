"""Peers over TLS that break its protocol, or whose connections break: records after the handshake here, handshakes in
bad_handshakes.py, and what they do without reading in unread.py.

Each fault is tried in both versions, before the request and in a WebSocket on the topic of others who talk: the daemon
answers with the alert that fits, counts it under its name, and those others lose nothing."""

import socket
import struct
import time

import bad_handshakes
import unread
from peer import PING, Peer, TEXT, frame
from rogue import BAD_MAC, DECODE, ILLEGAL, NO_RENEGOTIATION, OVERFLOW, PROTOCOL_VERSION, UNEXPECTED
from rogue import ALERT, CCS, DATA, FATAL, FINISHED, HANDSHAKE, HEARTBEAT, HELLO, KEY_UPDATE, TICKET, TLS13, VERSIONS, WARNING, Rogue, load
from witness import Witness
from world import PATIENT, counted, since, until

__all__ = ["load", "run"]

PLAIN_BYTES_MAX = 1 << 14
PINGED = frame(PING, b"x")
WAYS = ["asking", "talking"]


def bad_tag(rogue):
    record = bytearray(rogue.seal(DATA, PINGED))
    record[-1] ^= 1
    rogue.raw(bytes(record))


def changed_header(rogue):
    """Longer than it was sealed, which the tag covers."""
    record = bytearray(rogue.seal(DATA, PINGED))
    record[4] += 1
    rogue.raw(bytes(record) + b"\0")


def replayed(rogue):
    # Nothing that could end it for another reason.
    record = rogue.seal(DATA, b"G" if rogue.asks else PINGED)
    rogue.raw(record + record)


def reordered(rogue):
    first, second = rogue.seal(DATA, b"G" if rogue.asks else PINGED), rogue.seal(DATA, b"E" if rogue.asks else PINGED)
    rogue.raw(second + first)


def skipped(rogue):
    rogue.send(DATA, PINGED, number=rogue.next_number() + 1)


def long_header(rogue):
    most = PLAIN_BYTES_MAX + (256 if rogue.is_newest else rogue.overhead())
    rogue.raw(bytes([DATA, 3, 3]) + (most + 1).to_bytes(2, "big"))


def longest_header(rogue):
    rogue.raw(bytes([DATA, 3, 3, 0xFF, 0xFF]))


def long_content(rogue):
    rogue.send(DATA, bytes(PLAIN_BYTES_MAX + 1))


def too_much_padding(rogue):
    rogue.send(DATA, b"x", padding=PLAIN_BYTES_MAX)


def no_room_for_tag(rogue):
    rogue.raw(bytes([DATA, 3, 3, 0, 15]) + bytes(15))


def empty_body(rogue):
    rogue.raw(bytes([DATA, 3, 3, 0, 0]))


def other_version(rogue):
    rogue.send(DATA, PINGED, version=b"\x03\x01")


def unknown_type(rogue):
    if rogue.is_newest:
        rogue.send(99, b"x")
    else:
        rogue.raw(bytes([99, 3, 3, 0, 30]) + bytes(30))


def heartbeat(rogue):
    rogue.send(HEARTBEAT, b"\x01\x00\x01x" + bytes(16))


def unencrypted(rogue):
    rogue.raw(bytes([HANDSHAKE, 3, 3, 0, 5, KEY_UPDATE, 0, 0, 1, 0]) + bytes(30))


def zeros_alone(rogue):
    rogue.send(None, bytes(20))


def change_cipher_spec(rogue):
    if rogue.is_newest:
        rogue.raw(bytes([CCS, 3, 3, 0, 1, 1]))
    else:
        rogue.send(CCS, b"\x01")


def empty_flood(rogue):
    rogue.raw(b"".join(rogue.seal(DATA) for _ in range(33)))


def empty_alert(rogue):
    rogue.send(ALERT)


def empty_handshake(rogue):
    rogue.send(HANDSHAKE)


def long_alert(rogue):
    rogue.send(ALERT, bytes([FATAL, 0, 0]))


def alert_without_level(rogue):
    rogue.send(ALERT, bytes([3, 10]))


def fatal_alert(rogue):
    rogue.send(ALERT, bytes([FATAL, 80]))


def warning_flood(rogue):
    # user_canceled.
    rogue.raw(b"".join(rogue.seal(ALERT, bytes([WARNING, 90])) for _ in range(5)))


def key_update_flood(rogue):
    for number in range(33):
        rogue.key_update(requested=number % 2)


def key_updates_at_once(rogue):
    """All in one piece, so that what answers them and the alert go out together."""
    many = []
    for number in range(33):
        many.append(rogue.seal(HANDSHAKE, bytes([KEY_UPDATE, 0, 0, 1, 1])))
        rogue.take_next_key()
    rogue.raw(b"".join(many))


def key_update_before_bad_tag(rogue):
    update = rogue.seal(HANDSHAKE, bytes([KEY_UPDATE, 0, 0, 1, 1]))
    rogue.take_next_key()
    rogue.raw(update + bytes([DATA, 3, 3, 0, 40]) + bytes(40))


def key_update_of_two(rogue):
    rogue.send(HANDSHAKE, bytes([KEY_UPDATE, 0, 0, 1, 2]))


def long_key_update(rogue):
    rogue.send(HANDSHAKE, bytes([KEY_UPDATE, 0, 0, 2, 0, 0]))


def more_behind_key_update(rogue):
    rogue.send(HANDSHAKE, bytes([KEY_UPDATE, 0, 0, 1, 0, KEY_UPDATE, 0, 0, 1, 0]))


def interleaved(rogue):
    rogue.send(HANDSHAKE, bytes([KEY_UPDATE, 0]))
    rogue.send(DATA, PINGED)


def old_key(rogue):
    old = rogue.seal(DATA, PINGED, number=rogue.next_number() + 1)
    rogue.send(HANDSHAKE, bytes([KEY_UPDATE, 0, 0, 1, 0]))
    rogue.raw(old)


def ticket(rogue):
    rogue.send(HANDSHAKE, bytes([TICKET, 0, 0, 4, 0, 0, 0, 0]))


def second_hello(rogue):
    rogue.send(HANDSHAKE, bytes([HELLO, 0, 0, 2, 3, 3]))


def second_finished(rogue):
    rogue.send(HANDSHAKE, bytes([FINISHED, 0, 0, 12]) + bytes(12))


def renegotiation_again(rogue):
    hello = bytes([HELLO, 0, 0, 40]) + bytes(40)
    rogue.raw(rogue.seal(HANDSHAKE, hello) + rogue.seal(HANDSHAKE, hello))


BOTH, NEW, OLD = [list(VERSIONS.values()), [TLS13], [VERSIONS["TLS 1.2"]]]
# What a peer does, in which versions, the alert that answers it, and its name in the figures.
FAULTS = [
    (bad_tag, BOTH, BAD_MAC, "bad_tag"),
    (changed_header, BOTH, BAD_MAC, "bad_tag"),
    (replayed, BOTH, BAD_MAC, "bad_tag"),
    (reordered, BOTH, BAD_MAC, "bad_tag"),
    (skipped, BOTH, BAD_MAC, "bad_tag"),
    (long_header, BOTH, OVERFLOW, "too_long"),
    (longest_header, BOTH, OVERFLOW, "too_long"),
    (long_content, BOTH, OVERFLOW, "too_long"),
    (too_much_padding, NEW, OVERFLOW, "too_long"),
    (no_room_for_tag, BOTH, BAD_MAC, "too_short"),
    (empty_body, BOTH, BAD_MAC, "too_short"),
    (other_version, BOTH, PROTOCOL_VERSION, "version"),
    (unknown_type, BOTH, UNEXPECTED, "content_type"),
    (heartbeat, BOTH, UNEXPECTED, "content_type"),
    (unencrypted, NEW, UNEXPECTED, "content_type"),
    (zeros_alone, NEW, UNEXPECTED, "no_content"),
    (change_cipher_spec, BOTH, UNEXPECTED, "change_cipher_spec"),
    (empty_flood, BOTH, UNEXPECTED, "empty_flood"),
    (empty_alert, BOTH, UNEXPECTED, "empty_message"),
    (empty_handshake, BOTH, UNEXPECTED, "empty_message"),
    (long_alert, BOTH, DECODE, "decode"),
    (alert_without_level, BOTH, ILLEGAL, "illegal"),
    (fatal_alert, BOTH, None, "peer_alert"),
    (warning_flood, BOTH, UNEXPECTED, "alert_flood"),
    (key_update_flood, NEW, UNEXPECTED, "key_update_flood"),
    (key_updates_at_once, NEW, UNEXPECTED, "key_update_flood"),
    (key_update_before_bad_tag, NEW, BAD_MAC, "bad_tag"),
    (key_update_of_two, NEW, ILLEGAL, "illegal"),
    (long_key_update, NEW, DECODE, "decode"),
    (more_behind_key_update, NEW, UNEXPECTED, "key_change"),
    (interleaved, NEW, UNEXPECTED, "interleaved"),
    (old_key, NEW, BAD_MAC, "bad_tag"),
    (ticket, NEW, UNEXPECTED, "handshake_message"),
    (second_hello, NEW, UNEXPECTED, "handshake_message"),
    (second_finished, OLD, UNEXPECTED, "handshake_message"),
    # The warning comes first, and a client may end at that.
    (renegotiation_again, OLD, NO_RENEGOTIATION, "renegotiation"),
]
OPTIONS = bad_handshakes.options(handshakes=20_000, ms=5000)


def run(world, tally):
    load()
    with Scene(world, tally, *OPTIONS) as scene:
        for version, number in VERSIONS.items():
            for fault, versions, alert, name in FAULTS:
                for way in WAYS if number in versions else []:
                    what = f"{fault.__name__.replace('_', ' ')}, {version}, {way}"
                    scene.check(what, broken, scene, fault, number, way, alert, f"tls_{name}")
            scene.check(f"what TLS allows is taken, {version}", allowed, scene, number)
            for attempt in [ends_without_goodbye, ends_inside_a_record, resets, says_goodbye, goes_on_behind_goodbye]:
                for way in WAYS:
                    scene.check(f"{attempt.__name__.replace('_', ' ')}, {version}, {way}", attempt, scene, number, way)
    with Scene(world, tally, *OPTIONS, *unread.OPTIONS) as scene:
        unread.run(scene)
    bad_handshakes.run(world, tally, Scene)


class Scene:
    """A daemon with somebody who talks on it, in the clear and over TLS."""

    def __init__(self, world, tally, *options):
        self.world, self.tally, self.options = world, tally, options

    def __enter__(self):
        self.daemon = self.world.serve(*PATIENT, *self.options)
        self.witness = Witness(self.daemon.port, self.daemon.tls_port, self.world.ca)
        self.publisher = Peer(self.daemon.port, "/bystanders")
        self.bystanders = [Peer(self.daemon.port, "/bystanders"), Peer(self.daemon.tls_port, "/bystanders", tls=self.world.context())]
        self.said = 0
        return self

    def check(self, what, attempt, *arguments):
        """Tries something, and that those who stand by hear each other afterwards."""
        def both():
            said = attempt(*arguments)
            self.pass_on()
            return said

        self.tally.check(what, both)

    def pass_on(self):
        self.said += 1
        message = b"bystander %d" % self.said
        self.publisher.send(TEXT, message)
        for bystander in self.bystanders:
            heard = bystander.read()
            assert heard == (TEXT, message), f"a bystander heard {heard}, not {message}"

    def __exit__(self, *_):
        seen = self.witness.testify()
        faults = [f"an innocent connection suffered: {seen['fault']}"] if seen["fault"] else []
        faults += [] if seen["messages"] else ["nobody else got a word in"]
        self.tally.book(f"others talked meanwhile: {seen['messages']} messages, the longest took {seen['worst_ms']:.1f} ms", faults)
        for peer in [self.publisher, *self.bystanders]:
            peer.close()
        status = self.daemon.stop()
        self.tally.book("the daemon ends as it should", [] if status == 0 else [f"it ended with {status}"])

    def rogue(self, version, way, **how):
        rogue = Rogue(self.daemon.tls_port, version, **how)
        rogue.asks = way == "asking"
        if not rogue.asks:
            rogue.talk()
        return rogue


def broken(scene, fault, version, way, alert, name):
    before = scene.daemon.metrics()
    rogue = scene.rogue(version, way)
    fault(rogue)
    outcome, _ = rogue.outcome()
    rogue.close()
    counted(scene.daemon, before, name)
    if alert is None:
        assert not outcome.startswith("alert"), f"an alert was answered with {outcome}"
    else:
        assert outcome == f"alert {alert}", f"answered with {outcome}, not alert {alert}"


def allowed(scene, version):
    """Padding, empty records, a warning, a record in one-byte pieces, 32 key updates with one in pieces: no fault."""
    rogue = scene.rogue(version, "talking")
    for _ in range(32):
        rogue.send(DATA)
    if version == TLS13:
        rogue.send(DATA, PINGED, padding=1000)
        for number in range(32):
            rogue.key_update(requested=number % 2)
        rogue.send(DATA, PINGED)
        for byte in [KEY_UPDATE, 0, 0, 1, 0]:
            rogue.send(HANDSHAKE, bytes([byte]))
        rogue.take_next_key()
    else:
        rogue.send(DATA, PINGED * 2)
    rogue.send(ALERT, bytes([WARNING, 90]))
    for byte in rogue.seal(DATA, PINGED):
        rogue.raw(bytes([byte]))
        time.sleep(0.001)
    heard = b""
    while len(heard) < 9:
        more = bytes(rogue.conn.read(max=100, min=1))
        assert more, "it was ended"
        heard += pongs_of(more)
    assert heard == b"\x8a\x01x" * 3, heard
    rogue.close()


def pongs_of(data):
    """Without what others say on the topic."""
    pongs, at = b"", 0
    while at < len(data):
        length = 2 + data[at + 1]
        pongs += data[at : at + length] if data[at] == 0x8A else b""
        at += length
    return pongs


def truncated(scene, before):
    until(scene.daemon, "tls_truncated_total once more", lambda figures: figures.get("tls_truncated_total", 0) > before.get("tls_truncated_total", 0))


def ends_without_goodbye(scene, version, way):
    before = scene.daemon.metrics()
    rogue = scene.rogue(version, way)
    rogue.sock.shutdown(socket.SHUT_WR)
    rogue.outcome()
    rogue.close()
    truncated(scene, before)


def ends_inside_a_record(scene, version, way):
    before = scene.daemon.metrics()
    rogue = scene.rogue(version, way)
    rogue.raw(rogue.seal(DATA, PINGED)[:-3])
    rogue.sock.shutdown(socket.SHUT_WR)
    rogue.outcome()
    rogue.close()
    truncated(scene, before)


def resets(scene, version, way):
    rogue = scene.rogue(version, way)
    rogue.raw(rogue.seal(DATA, PINGED)[:-3])
    rogue.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    rogue.close()


def says_goodbye(scene, version, way):
    before = scene.daemon.metrics()
    rogue = scene.rogue(version, way)
    rogue.send(ALERT, bytes([WARNING, 0]))
    outcome, _ = rogue.outcome()
    rogue.close()
    assert outcome == "close_notify", f"answered with {outcome}"
    assert since(scene.daemon, before, "tls_truncated_total") == 0, "it was counted as truncated"


def goes_on_behind_goodbye(scene, version, way):
    before = scene.daemon.metrics()
    rogue = scene.rogue(version, way)
    rogue.raw(rogue.seal(ALERT, bytes([WARNING, 0])) + rogue.seal(DATA, frame(TEXT, b"nobody hears this")) + b"\xff" * 40)
    outcome, _ = rogue.outcome()
    rogue.close()
    assert outcome == "close_notify" or outcome.startswith("cut"), f"answered with {outcome}"
    grown = [name for name, number in scene.daemon.metrics().items() if name.startswith(("closes_total{tls_", "tls_faults_total{")) and number > before.get(name, 0)]
    assert not grown, f"counted as {grown}"
