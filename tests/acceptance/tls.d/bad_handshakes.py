"""Handshakes over TLS that are cut, changed, slow, too long, too many, or none."""

import socket
import ssl
import time

from certs import Authority
from peer import dial, read_head
from rogue import ALERT, BAD_MAC, CCS, DATA, DECODE, HANDSHAKE, ILLEGAL, INTERNAL, OVERFLOW, TAG_BYTES, UNEXPECTED
from world import since, until

ALERT_RECORD = b"\x15\x03"
PAGE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
VERSIONS = {"TLS 1.3": ssl.TLSVersion.TLSv1_3, "TLS 1.2": ssl.TLSVersion.TLSv1_2}


class Client:
    """OpenSSL's side of a handshake, in memory, over a socket that may be given other bytes."""

    def __init__(self, scene, version=None, sock=None):
        self.scene = scene
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = scene.world.context(version).wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.sock = sock or dial(scene.daemon.tls_port)

    def flight(self):
        """What it would send next."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def answer_to_hello(self):
        """Sends the first flight and takes the server's; the client's last one, which is not sent."""
        self.sock.sendall(self.flight())
        while True:
            more = self.sock.recv(1 << 16)
            assert more, "the server left"
            self.incoming.write(more)
            if last := self.flight():
                return last

    def page(self):
        """Asks over what is a connection by now."""
        self.tls.write(PAGE)
        self.sock.sendall(self.outgoing.read())
        answer = b""
        while True:
            try:
                answer += self.tls.read(1 << 14)
                if answer.endswith(b"ok\n"):
                    return
            except ssl.SSLWantReadError:
                more = self.sock.recv(1 << 16)
                assert more, f"it ended after {answer!r}"
                self.incoming.write(more)


def options(handshakes, ms):
    """So many handshakes at a time, each of which may take so long."""
    return f"--handshakes-max {handshakes} --connections-per-address-max 100000 --handshake-ms-max {ms}".split()


def rest_of(sock):
    """What comes until the end, which may be a reset."""
    data = b""
    try:
        while more := sock.recv(1 << 16):
            data += more
    except OSError:
        pass
    return data


def alert_of(sock):
    """The last alert that comes in the clear before the end; None if there is none."""
    data = rest_of(sock)
    found, at = None, 0
    while at + 5 <= len(data):
        length = int.from_bytes(data[at + 3 : at + 5], "big")
        if data[at : at + 2] == ALERT_RECORD and length == 2:
            found = data[at + 6]
        elif data[at : at + 2] == ALERT_RECORD or data[at] == DATA and length == 2 + 1 + TAG_BYTES:
            # Encrypted, as TLS 1.3 has it behind its ServerHello.
            found = "sealed"
        at += 5 + length
    return found


def failed(scene, before, *reasons):
    names = [f"tls_handshake_failures_total{{{reason}}}" for reason in reasons]
    until(scene.daemon, f"{' or '.join(reasons)} counted", lambda figures: any(figures.get(name, 0) > before.get(name, 0) for name in names))


def refuses(scene, data, alerts, *reasons):
    """These bytes in place of a handshake end with an alert of these, and are counted."""
    before = scene.daemon.metrics()
    with dial(scene.daemon.tls_port) as sock:
        try:
            sock.sendall(data)
        except OSError:
            pass
        alert = alert_of(sock)
    failed(scene, before, *reasons)
    assert alert in alerts, f"answered with {alert}, not {alerts}"


def record(content, kind=HANDSHAKE, version=b"\x03\x01"):
    return bytes([kind]) + version + len(content).to_bytes(2, "big") + content


def run(world, tally, scene_of):
    with scene_of(world, tally, *options(handshakes=20_000, ms=3000)) as scene:
        nothing_of_tls(scene)
        for version, number in VERSIONS.items():
            scene.check(f"a hello cut anywhere, {version}", cut, scene, number)
            scene.check(f"a hello changed anywhere, {version}", changed, scene, number)
            scene.check(f"a handshake of single bytes, {version}", byte_by_byte, scene, number)
            scene.check(f"a hello in many records, {version}", fragmented, scene, number)
            scene.check(f"a changed Finished, {version}", changed_finished, scene, number)
            scene.check(f"data before Finished, {version}", early_words, scene, number)
            scene.check(f"an alert in place of Finished, {version}", alert_in_handshake, scene, number)
            scene.check(f"a second hello in place of Finished, {version}", hello_again, scene, number)
        scene.check("early data that nobody has offered to take", early_data, scene)
        scene.check("handshakes a byte a time, too slow", slow, scene)
        scene.check("TLS on the plain port", on_the_plain_port, scene)
    with scene_of(world, tally, *options(handshakes=20_000, ms=600_000)) as scene:
        scene.check("10,000 half handshakes", many, scene, 10_000 if not world.short else 1000)
    with scene_of(world, tally, *options(handshakes=500, ms=600_000)) as scene:
        scene.check("more half handshakes than there may be", too_many, scene)
    strangers = Authority(world.folder, "nobody")
    with scene_of(world, tally) as scene:
        scene.check("a client that does not believe the certificate", unbelieving, scene, strangers)


def nothing_of_tls(scene):
    for what, data in {
        "zeros": bytes(64),
        "a hello of SSL 2": b"\x80\x2e\x01\x03\x01" + bytes(43),
        "a record of data": record(bytes(40), kind=DATA),
        "a record of change_cipher_spec": record(b"\x01", kind=CCS),
        "high bytes": bytes([0xFF] * 40),
    }.items():
        scene.check(f"{what} in place of a hello", refuses, scene, data, [UNEXPECTED], "not_tls")
    scene.check("an alert in place of a hello", refuses, scene, record(b"\x02\x28", kind=ALERT), [UNEXPECTED, None], "alert", "not_tls")
    scene.check("a hello longer than a record may be", refuses, scene, b"\x16\x03\x01\xff\xff\x01", [OVERFLOW], "too_long")
    scene.check("an empty record in place of a hello", refuses, scene, record(b"") * 40, [UNEXPECTED, DECODE], "misbehaved", "too_long")
    # One message in many records.
    long = record(b"\x01\x00\xff\x00" + bytes(16_380)) + record(bytes(16_384)) * 5
    scene.check("a hello of more than 64 KiB", refuses, scene, long, [OVERFLOW, UNEXPECTED, DECODE, ILLEGAL, None], "too_long", "misbehaved")
    endless = record(b"\x01\xff\xff\xff" + bytes(16_380)) + record(bytes(16_384)) * 100
    scene.check("a hello that announces 16 MiB", refuses, scene, endless, [OVERFLOW, UNEXPECTED, DECODE, ILLEGAL, None], "too_long", "misbehaved")
    scene.check("a hello that is none", refuses, scene, record(b"\x01\x00\x00\x04\x03\x03\x00\x00"), [DECODE, ILLEGAL, UNEXPECTED], "misbehaved")
    scene.check("another message in place of a hello", refuses, scene, record(b"\x10\x00\x00\x04abcd"), [UNEXPECTED], "misbehaved")
    for method in [b"GET", b"POST", b"OPTIONS"]:
        scene.check(f"{method.decode()} in the clear", in_the_clear, scene, method)
    scene.check("a request in the clear without an end", refuses_late, scene, b"GET / HT")


def in_the_clear(scene, method):
    before = scene.daemon.metrics()
    with dial(scene.daemon.tls_port) as sock:
        sock.sendall(method + b" / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        status, _, body = read_head(sock)
        body += rest_of(sock)
    assert status == 400 and b"https://" in body, (status, body)
    assert since(scene.daemon, before, "rejects_total{plain_http}") == 1, "rejects_total{plain_http} did not count it"


def refuses_late(scene, data):
    """What is begun and not gone on with ends when its time is up."""
    with dial(scene.daemon.tls_port) as sock:
        sock.sendall(data)
        rest_of(sock)
    at_rest(scene)


def at_rest(scene):
    until(scene.daemon, "no handshake under way", lambda figures: figures["handshakes_in_flight"] == 0)


def cut(scene, version):
    before = scene.daemon.metrics()
    hello = Client(scene, version).flight()
    lengths = range(1, len(hello), 7)
    for length in lengths:
        with dial(scene.daemon.tls_port) as sock:
            sock.sendall(hello[:length])
            sock.shutdown(socket.SHUT_WR)
            assert alert_of(sock) is None, f"an alert after {length} bytes"
    names = ["tls_handshake_failures_total{left}", "tls_handshake_failures_total{misbehaved}"]
    until(scene.daemon, "each is counted", lambda figures: sum(figures.get(name, 0) - before.get(name, 0) for name in names) >= len(lengths))
    at_rest(scene)
    return f"{len(lengths)} times"


def changed(scene, version):
    """No byte of a hello that is another one makes the daemon do anything but answer, refuse, or wait for more."""
    hello = bytearray(Client(scene, version).flight())
    outcomes = {}
    for at in range(0, len(hello), 3):
        other = hello.copy()
        other[at] ^= 0x55
        with dial(scene.daemon.tls_port) as sock:
            sock.sendall(other)
            sock.shutdown(socket.SHUT_WR)
            outcome = alert_of(sock)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    at_rest(scene)
    assert INTERNAL not in outcomes, f"the daemon blames itself: {outcomes}"
    return f"alerts {dict(sorted(outcomes.items(), key=str))}"


def byte_by_byte(scene, version):
    client = Client(scene, version)
    for flight in [client.flight(), None]:
        for byte in flight if flight is not None else client_last(client):
            client.sock.sendall(bytes([byte]))
            time.sleep(0.0005)
    finish(client)
    client.page()


def client_last(client):
    """The last flight, once the server's has come."""
    while True:
        more = client.sock.recv(1 << 16)
        assert more, "the server left"
        client.incoming.write(more)
        if last := client.flight():
            return last


def finish(client):
    while True:
        try:
            return client.tls.do_handshake()
        except ssl.SSLWantReadError:
            more = client.sock.recv(1 << 16)
            assert more, "the server left"
            client.incoming.write(more)


def fragmented(scene, version):
    client = Client(scene, version)
    hello = client.flight()[5:]
    for at in range(0, len(hello), 20):
        client.sock.sendall(record(hello[at : at + 20]))
    client.sock.sendall(client_last(client))
    finish(client)
    client.page()


def changed_finished(scene, version):
    before = scene.daemon.metrics()
    client = Client(scene, version)
    last = bytearray(client.answer_to_hello())
    last[-1] ^= 1
    client.sock.sendall(last)
    alert = alert_of(client.sock)
    failed(scene, before, "misbehaved")
    assert alert in [BAD_MAC, "sealed"], f"answered with {alert}"


def early_words(scene, version):
    before = scene.daemon.metrics()
    client = Client(scene, version)
    client.answer_to_hello()
    client.sock.sendall(record(PAGE, kind=DATA, version=b"\x03\x03"))
    alert = alert_of(client.sock)
    failed(scene, before, "misbehaved")
    assert alert in [UNEXPECTED, BAD_MAC, "sealed"], f"answered with {alert}"


def alert_in_handshake(scene, version):
    before = scene.daemon.metrics()
    client = Client(scene, version)
    client.answer_to_hello()
    # bad_certificate, in the clear.
    client.sock.sendall(record(b"\x02\x2a", kind=ALERT, version=b"\x03\x03"))
    assert alert_of(client.sock) is None, "an alert was answered"
    failed(scene, before, "alert")


def hello_again(scene, version):
    before = scene.daemon.metrics()
    client = Client(scene, version)
    hello = client.flight()
    client.sock.sendall(hello)
    client_last(client)
    client.sock.sendall(hello)
    alert = alert_of(client.sock)
    failed(scene, before, "misbehaved")
    assert alert in [UNEXPECTED, "sealed"], f"answered with {alert}"


def early_data(scene):
    """A ticket of nobody's, and a request at once: it is never answered as one."""
    hello = hello_with_early_data()
    with dial(scene.daemon.tls_port) as sock:
        sock.sendall(record(hello) + record(PAGE, kind=DATA, version=b"\x03\x03"))
        sock.settimeout(8)
        data = rest_of(sock)
    assert b"HTTP/" not in data, "early data was answered in the clear"
    at_rest(scene)
    return "ended" if data else "ended without a word"


def hello_with_early_data():
    """A ClientHello of TLS 1.3 that offers a session which nobody knows, with early data (RFC 8446 section 4.2.10)."""
    part = lambda number, content: number.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content
    sized = lambda content: len(content).to_bytes(2, "big") + content
    share = b"\x00\x1d" + sized(b"\x09" + bytes(31))
    identity = sized(bytes(range(100)) + bytes(28)) + b"\x00\x00\x00\x01"
    extensions = b"".join(
        [
            part(0, sized(b"\x00" + sized(b"localhost"))),
            part(10, sized(b"\x00\x1d")),
            part(13, sized(b"\x04\x03\x08\x04")),
            part(43, b"\x02\x03\x04"),
            part(51, sized(share)),
            part(45, b"\x01\x01"),
            part(42, b""),
            part(41, sized(identity) + sized(b"\x20" + bytes(32))),
        ]
    )
    body = b"\x03\x03" + bytes(range(32)) + b"\x20" + bytes(32) + sized(b"\x13\x01") + b"\x01\x00" + sized(extensions)
    return b"\x01" + len(body).to_bytes(3, "big") + body


def slow(scene):
    """Whoever takes too long is cut, wherever in the handshake that is."""
    before, count = scene.daemon.metrics(), 300
    hello = Client(scene).flight()
    socks = [dial(scene.daemon.tls_port) for _ in range(count)]
    began = time.monotonic()
    # Some 60 bytes in 6 seconds: a third never gets beyond its first record's header.
    for number in range(60):
        for place, sock in enumerate(socks):
            try:
                sock.send(hello[number : number + 1] if place % 3 or number < 4 else b"")
            except OSError:
                pass
        time.sleep(0.1)
    for sock in socks:
        alert_of(sock)
        sock.close()
    name = "tls_handshake_failures_total{timeout}"
    until(scene.daemon, "all were cut", lambda figures: figures.get(name, 0) - before.get(name, 0) >= count)
    at_rest(scene)
    return f"{count} cut, the last after {time.monotonic() - began:.1f} s"


def on_the_plain_port(scene):
    before = scene.daemon.metrics()
    with dial(scene.daemon.port) as sock:
        sock.sendall(Client(scene).flight())
        answer = rest_of(sock)
    grown = [name for name, number in scene.daemon.metrics().items() if name.startswith("rejects_total{") and number > before.get(name, 0)]
    assert grown, f"nothing counted it; answered with {answer[:80]!r}"
    return f"{answer[:24]!r}, {', '.join(grown)}"


def many(scene, count):
    """So many half handshakes at once, in parts: half of them have sent a half hello, the others all but the last flight."""
    hello = Client(scene).flight()
    rss = scene.daemon.rss_bytes()
    part = 1000
    held = []
    for first in range(0, count, part):
        for number in range(first, first + part):
            sock = dial(scene.daemon.tls_port, source=f"127.0.5.{1 + number % 50}")
            sock.sendall(hello if number % 2 else hello[: len(hello) // 2])
            held.append(sock)
        # Others get a word in meanwhile.
        scene.pass_on()
    until(scene.daemon, "all of them under way", lambda figures: figures["handshakes_in_flight"] == count)
    grown = scene.daemon.rss_bytes() - rss
    scene.pass_on()
    client = Client(scene)
    client.sock.sendall(client.flight())
    client.sock.sendall(client_last(client))
    finish(client)
    client.page()
    for sock in held:
        sock.close()
    at_rest(scene)
    return f"{grown / count:.0f} bytes each"


def too_many(scene):
    most, more = 500, 200
    hello = Client(scene).flight()
    held = [dial(scene.daemon.tls_port) for _ in range(most)]
    for sock in held:
        sock.sendall(hello[:50])
    until(scene.daemon, "all of them under way", lambda figures: figures["handshakes_in_flight"] == most)
    before, alerts = scene.daemon.metrics(), {}
    for _ in range(more):
        with dial(scene.daemon.tls_port) as sock:
            try:
                sock.sendall(hello)
            except OSError:
                pass
            alert = alert_of(sock)
            alerts[alert] = alerts.get(alert, 0) + 1
    assert since(scene.daemon, before, "rejects_total{handshakes_max}") == more, "not all were counted"
    for sock in held:
        sock.close()
    at_rest(scene)
    assert set(alerts) == {INTERNAL}, f"answered with {alerts}"
    return f"alert {INTERNAL} for {more} beyond the limit"


def unbelieving(scene, strangers):
    before = scene.daemon.metrics()
    for version in VERSIONS.values():
        try:
            with dial(scene.daemon.tls_port) as sock:
                strangers.context(version).wrap_socket(sock, server_hostname="localhost")
        except ssl.SSLCertVerificationError:
            continue
        raise AssertionError("the client believed it")
    name = "tls_handshake_failures_total{alert}"
    until(scene.daemon, "both are counted", lambda figures: figures.get(name, 0) - before.get(name, 0) == len(VERSIONS))
