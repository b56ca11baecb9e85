"""Attacks by those who speak the Pusher Channels protocol or read Server-Sent Events, and by the servers
that are told of what happens. Each is a function like those of `attacks`."""

import hashlib
import hmac
import json
import socket
import struct

from attacks import MIB, closed, until
from peer import BINARY, CLOSE, TEXT, Peer, dial, frame, read_head

PATH = "/app/k?protocol=7"
# The witness may talk where nobody has a signature.
APP = '--apps id="1",key="k",secret_files="{folder}/secret"MORE --anonymous match="**",publish=true'
SECRET = "app-secret"
# Connections to it are made, and nobody ever answers on them.
SILENT = socket.create_server(("127.0.0.1", 0))


def app(more=""):
    return APP.replace("MORE", more)


class Client(Peer):
    """A client of the Pusher Channels protocol."""

    def __init__(self, port, **how):
        super().__init__(port, PATH, **how)
        established = self.hear()
        self.id = json.loads(established["data"])["socket_id"]

    def say(self, event, **more):
        self.send(TEXT, json.dumps({"event": event, **more}).encode())

    def hear(self):
        return json.loads(self.read()[1])

    def subscribe(self, channel):
        signed = hmac.new(SECRET.encode(), f"{self.id}:{channel}".encode(), hashlib.sha256).hexdigest()
        self.say("pusher:subscribe", data={"channel": channel, "auth": f"k:{signed}"})
        assert self.hear()["event"] == "pusher_internal:subscription_succeeded"


def event_streams_never_read(daemon, scale):
    count, size, messages = 200, 64 << 10, 400
    lines = "Host: localhost\r\nAccept: text/event-stream"
    idle = []
    for number in range(count):
        sock = dial(daemon.port, receive_bytes=4096)
        # Half of them read two topics each, which takes an encoding of its own.
        path = "/unread" if number % 2 else f"/events?topic=unread&topic=other-{number}"
        sock.sendall(f"GET {path} HTTP/1.1\r\n{lines}\r\n\r\n".encode())
        status, _, _ = read_head(sock)
        assert status == 200, f"status {status}"
        idle.append(sock)
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


event_streams_never_read.options = "--cores 1 --lag-bytes-max 1MiB --log-bytes-max 8MiB"


def words_behind_a_request_for_events(daemon, scale):
    """They are passed over, up to a rate."""
    count = 20
    for done in range(count):
        sock = dial(daemon.port)
        sock.sendall(b"GET /words HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        assert read_head(sock)[0] == 200
        try:
            for _ in range(64):
                sock.sendall(bytes(MIB))
        except OSError:
            pass
        metric = closed(daemon, "rate", done + 1)
        sock.close()
    return f"cut off, all {count}", metric


words_behind_a_request_for_events.options = "--inbound-bytes-per-s-max 4MiB"


def pusher_pings_with_pongs_unread(daemon, scale):
    count, codes = 20, {}
    for done in range(count):
        client = Client(daemon.port, receive_bytes=4096)
        client.sock.settimeout(5)
        ping = json.dumps({"event": "pusher:ping", "data": {}}).encode()
        many = frame(TEXT, ping) * 2000
        for _ in range(400):
            try:
                client.sock.sendall(many)
            except OSError:
                break
            if daemon.metrics()["closes_total{control_flood}"] > done:
                break
        metric = closed(daemon, "control_flood", done + 1)
        code = last_code(client)
        codes[code] = codes.get(code, 0) + 1
        client.close()
    assert set(codes) <= {4200, None}, f"closed with {codes}"
    return f"4200 for {count}, seen by {codes.get(4200, 0)}", metric


def last_code(client):
    """The code of the close frame, whatever comes before it; None if the connection just ended."""
    try:
        while True:
            opcode, payload = client.read_frame()
            if opcode == CLOSE:
                return struct.unpack("!H", payload[:2])[0]
    except (ConnectionError, TimeoutError):
        return None


def channels_without_end(daemon, scale):
    count, most = 10_000, 128
    client = Client(daemon.port)
    taken = refused = 0
    for start in range(0, count, 100):
        for number in range(start, start + 100):
            client.say("pusher:subscribe", data={"channel": f"c{number}"})
        for _ in range(100):
            heard = client.hear()
            if heard["event"] == "pusher_internal:subscription_succeeded":
                taken += 1
            else:
                assert heard["event"] == "pusher:subscription_error" and heard["data"]["status"] == 429, heard
                refused += 1
    assert taken == most, f"{taken} were taken"
    client.close()
    until(daemon, "the topics gone", lambda figures: figures["topics"] == 1)
    return f"429 for {refused:,} of {count:,}", "topics"


def forged_signatures(daemon, scale):
    """Nothing of a body is waited for that nobody has signed, and no other request."""
    count = 1000
    query = "auth_key=k&auth_timestamp=1&auth_version=1.0&body_md5=0&auth_signature=" + "0" * 64
    before = daemon.metrics().get("post_refusals_total{denied}", 0)
    for start in range(0, count, 100):
        socks = [dial(daemon.port) for _ in range(100)]
        for sock in socks:
            sock.sendall(f"POST /apps/1/events?{query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n".encode())
        for sock in socks:
            status, headers, _ = read_head(sock)
            assert (status, headers["connection"]) == (401, "close"), f"{status} {headers}"
            while sock.recv(1 << 16):
                pass
            sock.close()
    counted = lambda figures: figures.get("post_refusals_total{denied}", 0) - before
    figures = until(daemon, "all counted", lambda figures: counted(figures) >= count)
    return f"401 for {count:,}, their bodies unread", f"post_refusals_total{{denied}} {counted(figures):.0f}"


def a_hook_that_never_answers(daemon, scale):
    """It costs what waits for it, up to a bound."""
    count, most = 20_000, 16_384
    client, other = Client(daemon.port), Client(daemon.port)
    client.subscribe("private-room")
    other.subscribe("private-room")
    lot = 500
    for start in range(0, count, lot):
        for number in range(start, start + lot):
            client.say("client-said", channel="private-room", data={"number": number})
        for number in range(start, start + lot):
            heard = other.hear()
            assert heard["event"] == "client-said" and json.loads(heard["data"]) == {"number": number}, heard
    dropped = lambda figures: figures.get("webhook_drops_total{full}", 0) + figures.get("webhook_drops_total{busy}", 0)
    figures = until(daemon, "all looked at", lambda figures: figures["webhook_waiting"] + dropped(figures) >= count)
    waiting = figures["webhook_waiting"]
    assert waiting <= most, f"{waiting} wait"
    client.close()
    other.close()
    return f"another client heard all {count:,}; {waiting:,.0f} wait for it", f"webhook_drops_total {dropped(figures):,.0f}"


pusher_pings_with_pongs_unread.options = app()
channels_without_end.options = app() + " --retain-ms-max 1000"
forged_signatures.options = app() + " --api 127.0.0.1:{port}"
HOOK = ',client_events=true,client_events_per_s_max=0,webhooks=[{{url="http://127.0.0.1:%d/"}}]' % SILENT.getsockname()[1]
a_hook_that_never_answers.options = app(HOOK)

DIALECTS = [
    event_streams_never_read,
    words_behind_a_request_for_events,
    pusher_pings_with_pongs_unread,
    channels_without_end,
    forged_signatures,
    a_hook_that_never_answers,
]
