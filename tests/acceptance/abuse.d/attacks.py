"""The attacks. Each is a function that is given the daemon, attacks it, checks what
it is answered and what is counted, and returns that in words. Its options are the
limits it runs into, small ones so that it is soon over."""

import select
import time
import zlib

from peer import BINARY, CONTINUATION, PING, Peer, Refused, dial, frame, read_head, request

MIB = 1 << 20
PATIENCE_S = 60


def until(daemon, what, reached):
    """Waits until the figures are as they should be in the end."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        figures = daemon.metrics()
        if reached(figures):
            return figures
        assert time.monotonic() < deadline, f"never seen: {what}"
        time.sleep(0.05)


def closed(daemon, reason, count):
    name = f"closes_total{{{reason}}}"
    until(daemon, f"{name} at {count}", lambda figures: figures[name] >= count)
    return f"{name} {count}"


def rejected(daemon, reason, count):
    name = f"rejects_total{{{reason}}}"
    until(daemon, f"{name} at {count}", lambda figures: figures[name] >= count)
    return f"{name} {count}"


def close_code(peer):
    """The code of the close frame; None if the connection just ended."""
    try:
        return peer.read_close().code
    except (ConnectionError, TimeoutError):
        return None


def slow_heads(daemon, scale):
    count = 500
    socks = [dial(daemon.port) for _ in range(count)]
    head = request("/slow")
    answered = {}
    for byte in head * 10:
        for sock in select.select(socks, [], [], 0.05)[0] if socks else ():
            status, _, _ = read_head(sock)
            answered[status] = answered.get(status, 0) + 1
            socks.remove(sock)
            sock.close()
        if not socks:
            break
        for sock in socks:
            try:
                sock.send(bytes([byte]))
            except OSError:
                pass
    assert answered == {408: count}, f"answers {answered}, {len(socks)} never answered"
    return f"408 for {count}", rejected(daemon, "timeout", count)


slow_heads.options = "--handshake-ms-max 2000"


def silent_handshakes(daemon, scale):
    most, more = 1000, 500
    held = [dial(daemon.port) for _ in range(most)]
    until(daemon, "all of them waiting", lambda figures: figures["handshakes_in_flight"] == most)
    for _ in range(more):
        sock = dial(daemon.port)
        # Who says nothing is told as well, a little later.
        sock.sendall(b"GET / HTTP/1.1\r\n")
        status, headers, _ = read_head(sock)
        assert status == 503 and "retry-after" in headers, f"{status} {headers}"
        sock.close()
    metric = rejected(daemon, "handshakes_max", more)
    for sock in held:
        sock.close()
    return f"503 for {more} beyond the limit", metric


silent_handshakes.options = "--handshakes-max 1000 --handshake-ms-max 600000"


def silence(daemon, opening, count=100):
    peers = [Peer(daemon.port, "/silence") for _ in range(count)]
    for peer in peers:
        peer.sock.sendall(opening)
    held = until(daemon, "memory held for them", lambda figures: figures["partial_bytes"] > count * 1000)["partial_bytes"]
    # Only silence ends it: who stays silent does not answer the pings either.
    codes = {close_code(peer) for peer in peers}
    assert codes == {1008}, f"closed with {codes}"
    return f"1008 for {count}, which held {held / count:.0f} bytes each", closed(daemon, "idle", count)


def silence_inside_a_frame(daemon, scale):
    return silence(daemon, frame(BINARY, bytes(1000), length=MIB))


def silence_between_fragments(daemon, scale):
    return silence(daemon, frame(BINARY, bytes(1000), fin=False))


silence_inside_a_frame.options = silence_between_fragments.options = "--idle-ms-max 10000 --ping-interval-ms 3000"


def messages_a_byte_at_a_time(daemon, scale):
    count = 100
    peers = [Peer(daemon.port, "/slow") for _ in range(count)]
    for peer in peers:
        peer.sock.sendall(frame(BINARY, b"begin", fin=False))
    codes, open_ = {}, peers
    deadline = time.monotonic() + PATIENCE_S
    while open_:
        assert time.monotonic() < deadline, f"{len(open_)} go on for ever"
        for peer in open_:
            # Never silent, and always with something new.
            try:
                peer.sock.sendall(frame(CONTINUATION, b".", fin=False))
            except OSError:
                pass
        for sock in select.select([peer.sock for peer in open_], [], [], 0.1)[0]:
            peer = next(peer for peer in open_ if peer.sock is sock)
            code = close_code(peer)
            codes[code] = codes.get(code, 0) + 1
            open_.remove(peer)
            peer.close()
    # One that goes on for longer than it is waited for is reset.
    assert set(codes) <= {1008, None}, f"closed with {codes}"
    return f"1008 for {count}, seen by {codes.get(1008, 0)}", closed(daemon, "slow_message", count)


messages_a_byte_at_a_time.options = "--message-ms-max 3000"


def hoarding_half_messages(daemon, scale):
    count, limit = 40, 16 * MIB
    peers = [Peer(daemon.port, "/hoard") for _ in range(count)]
    for peer in peers:
        try:
            peer.sock.sendall(frame(BINARY, bytes(900_000), length=MIB))
        except OSError:
            pass
    fits = limit // MIB
    figures = until(daemon, "the limit reached", lambda figures: figures["closes_total{partial_bytes}"] > 0)
    assert figures["partial_bytes"] <= limit, f"{figures['partial_bytes']:.0f} bytes held"
    surplus = until(daemon, "quiet", lambda figures: figures["connections"] <= 2 + fits + 2)["closes_total{partial_bytes}"]
    for peer in peers:
        peer.close()
    return f"1013 for {surplus:.0f} of {count}", f"closes_total{{partial_bytes}} {surplus:.0f}, partial_bytes"


hoarding_half_messages.options = "--partial-bytes-max 16MiB"


def pings_with_pongs_unread(daemon, scale):
    count, seen = 20, 0
    for done in range(count):
        peer = Peer(daemon.port, "/pings", receive_bytes=4096)
        many = frame(PING, bytes(125)) * 2000
        peer.sock.settimeout(5)
        for _ in range(200):
            try:
                peer.sock.sendall(many)
            except OSError:
                break
            if daemon.metrics()["closes_total{control_flood}"] > done:
                break
        closed(daemon, "control_flood", done + 1)
        try:
            seen += close_code(peer) == 1008
        except OSError:
            pass
        peer.close()
    return f"1008 for {count}, seen by {seen}", closed(daemon, "control_flood", count)


pings_with_pongs_unread.options = ""


def pings_with_pongs_read(daemon, scale):
    # Not more at once than answers wait for, 64 KiB.
    count, lot = 1_000_000 // scale, 20_000
    peer = Peer(daemon.port, "/pings")
    for _ in range(count // lot):
        peer.sock.sendall(frame(PING) * lot)
        assert peer.take(2 * lot) == b"\x8a\x00" * lot, "not all were answered"
    peer.close()
    return f"{count:,} pongs", "sent_bytes_total"


pings_with_pongs_read.options = ""


def a_million_fragments(daemon, scale):
    subscriber, publisher = Peer(daemon.port, "/fragments"), Peer(daemon.port, "/fragments")
    count = 1_000_000
    publisher.sock.sendall(frame(BINARY, b"f", fin=False) + frame(CONTINUATION, b"f", fin=False) * (count - 2))
    publisher.send(CONTINUATION, b"f")
    assert subscriber.read() == (BINARY, b"f" * count)
    # Those without a byte hold no memory, however many they are.
    publisher.sock.sendall(frame(BINARY, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * count)
    publisher.send(CONTINUATION, b"end")
    assert subscriber.read() == (BINARY, b"end")
    # One byte above the limit, in single bytes.
    try:
        publisher.sock.sendall(frame(BINARY, b"f", fin=False) + frame(CONTINUATION, b"f", fin=False) * MIB)
    except OSError:
        pass
    code = close_code(publisher)
    assert code in (1009, None), f"closed with {code}"
    subscriber.close()
    return "one message; above the limit 1009", closed(daemon, "too_big", 1)


a_million_fragments.options = ""


def topic_names(daemon, scale):
    most, more = 5000, 1000
    peers = []
    for number in range(most - 1):
        name = f"{number:08}".ljust(255, "n")
        peers.append(Peer(daemon.port, f"/{name}"))
    for number in range(more):
        try:
            Peer(daemon.port, f"/beyond-{number}")
            raise AssertionError("a topic beyond the limit was made")
        except Refused as refused:
            assert refused.status == 503 and "retry-after" in refused.headers
    # Who knows a topic that exists is welcome all the same.
    Peer(daemon.port, "/witness").close()
    for peer in peers:
        peer.close()
    until(daemon, "the topics gone", lambda figures: figures["topics"] == 1)
    Peer(daemon.port, "/beyond-0").close()
    return f"503 for {more}, topics gone after", rejected(daemon, "topics_max", more)


topic_names.options = "--topics-max 5000 --retain-ms-max 1000"


def a_compression_bomb(daemon, scale):
    zip_, size = zlib.compressobj(9, zlib.DEFLATED, -15), 512 * MIB
    bomb = b"".join(zip_.compress(bytes(MIB)) for _ in range(size // MIB)) + zip_.flush(zlib.Z_SYNC_FLUSH)[:-4]
    count = 20
    for _ in range(count):
        peer = Peer(daemon.port, "/bomb", ["Sec-WebSocket-Extensions: permessage-deflate"])
        assert "permessage-deflate" in peer.headers["sec-websocket-extensions"]
        sent = bytearray(frame(BINARY, bomb))
        sent[0] |= 0x40
        peer.sock.sendall(sent)
        code = close_code(peer)
        assert code == 1009, f"closed with {code}"
        peer.close()
    return f"1009 for {count} of {len(bomb) // 1024} KiB that stand for 512 MiB", closed(daemon, "too_big", count)


a_compression_bomb.options = ""


def subscribers_that_never_read(daemon, scale):
    count, size, messages = 200, 64 << 10, 400
    idle = [Peer(daemon.port, "/unread", receive_bytes=4096) for _ in range(count)]
    reader, publisher = Peer(daemon.port, "/unread"), Peer(daemon.port, "/unread")
    highest = 0
    for number in range(messages):
        message = bytes([number % 256]) * size
        publisher.send(BINARY, message)
        assert reader.read() == (BINARY, message)
        if number % 20 == 0:
            highest = max(highest, daemon.metrics()["log_bytes"])
    metric = closed(daemon, "lag", count)
    for peer in [*idle, reader, publisher]:
        peer.close()
    return f"cut off, all {count}, while another read all {messages}; logs at most {highest / MIB:.1f} MiB", metric


subscribers_that_never_read.options = "--cores 1 --lag-bytes-max 1MiB --log-bytes-max 4MiB"

def stored_history_unread(daemon, scale):
    """Many ask for history that only the disk has, each for other pages of it, and read nothing."""
    count, size, messages = 60, 16_000, 1000
    publisher = Peer(daemon.port, "/stored?echo=true")
    for number in range(messages):
        publisher.send(BINARY, number.to_bytes(2, "big") * (size // 2))
        publisher.read()
    publisher.close()
    hungry = [
        Peer(daemon.port, f"/stored?since={1 + number * (messages // count)}", receive_bytes=4096)
        for number in range(count)
    ]  # fmt: skip
    # One that reads has all of it meanwhile.
    reader, held, most = Peer(daemon.port, "/stored?since=1"), 0, 4 * MIB
    for number in range(messages):
        assert reader.read() == (BINARY, number.to_bytes(2, "big") * (size // 2))
        if number % 50 == 0:
            held = max(held, daemon.metrics()["store_read_bytes"])
    # A page more may be under way for whom nothing is held yet.
    assert held <= most + MIB, f"{held} bytes are held"
    metric = closed(daemon, "stall", 1)
    for peer in [*hungry, reader]:
        peer.close()
    return f"some of {count} cut off, while another read all {messages}; held at most {held / MIB:.1f} MiB", metric


stored_history_unread.options = (
    "--store {folder}/store --keep disk --store-read-bytes-max 4MiB --log-bytes-max 256KiB --lag-bytes-max 128KiB"
    " --message-bytes-max 16KiB --retain-messages-max 100000 --retain-bytes-max 64MiB"
)

ATTACKS = [
    slow_heads,
    silent_handshakes,
    silence_inside_a_frame,
    silence_between_fragments,
    messages_a_byte_at_a_time,
    hoarding_half_messages,
    pings_with_pongs_unread,
    pings_with_pongs_read,
    a_million_fragments,
    topic_names,
    a_compression_bomb,
    subscribers_that_never_read,
    stored_history_unread,
]
