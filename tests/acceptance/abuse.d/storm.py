"""All subscribers of a live topic drop at once and come back at once."""

import errno
import select
import socket
import struct
import time

from peer import TEXT, Peer, request

SOURCES = 20
PUBLISH_EVERY_S = 0.02
PATIENCE_S = 120
# A frame with a message of eight digits.
FRAME_BYTES = 10


def reconnect_storm(daemon, scale):
    count = 10_000 // scale
    storm = Storm(daemon.port, count)
    storm.connect_all()
    storm.run_until_back()
    began = time.monotonic()
    storm.drop_all()
    storm.connect_all()
    storm.run_until_back()
    took_s = time.monotonic() - began
    refused, published = storm.refused, storm.published
    storm.drop_all()
    said = f"{count:,} came back in {took_s:.1f} s and heard all of {published} messages once, in order; 503 for {refused} tries"
    return said, "handshakes_total, rejects_total{handshakes_max}"


reconnect_storm.options = "--cores 2 --connections-per-address-max 2000 --handshakes-max 1000 --retain-messages-max 100000"


class Client:
    def __init__(self):
        self.sock = None
        self.heard = 0


class Storm:
    def __init__(self, port, count):
        self.port = port
        self.publisher = Peer(port, "/live")
        self.clients = [Client() for _ in range(count)]
        self.poll = select.epoll()
        self.by_fd = {}
        self.published = self.refused = 0
        self.next_s = 0

    def connect_all(self):
        for number, client in enumerate(self.clients):
            self.connect(client, number)
            if number % 100 == 0:
                self.step(0)

    def connect(self, client, number):
        client.sock = sock = socket.socket()
        client.number, client.data, client.state = number, b"", "connecting"
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)
        sock.bind((f"127.0.4.{1 + number % SOURCES}", 0))
        code = sock.connect_ex(("127.0.0.1", self.port))
        assert code in (0, errno.EINPROGRESS), errno.errorcode[code]
        self.by_fd[sock.fileno()] = client
        self.poll.register(sock.fileno(), select.EPOLLOUT)

    def drop(self, client):
        fd = client.sock.fileno()
        self.poll.unregister(fd)
        del self.by_fd[fd]
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sock.close()

    def drop_all(self):
        for client in self.clients:
            self.drop(client)

    def run_until_back(self):
        """Goes on until all are subscribed and have heard what was published by
        the time the last of them was."""
        deadline = time.monotonic() + PATIENCE_S
        last = None
        while last is None or any(client.heard < last for client in self.clients):
            assert time.monotonic() < deadline, "not all came back"
            self.step(0.01)
            if last is None and all(client.state == "open" for client in self.clients):
                last = self.published + 1

    def step(self, wait_s):
        if time.monotonic() >= self.next_s:
            self.published += 1
            self.publisher.send(TEXT, b"%08d" % self.published)
            self.next_s = time.monotonic() + PUBLISH_EVERY_S
        for fd, _ in self.poll.poll(wait_s):
            client = self.by_fd.get(fd)
            if client is None:
                continue
            if client.state == "connecting":
                self.ask(client)
            else:
                self.hear(client)

    def ask(self, client):
        code = client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        assert code == 0, errno.errorcode[code]
        # Message numbers are offsets: the topic is new, and this its publisher.
        client.sock.send(request(f"/live?since={client.heard + 1}"))
        client.state = "asking"
        self.poll.modify(client.sock.fileno(), select.EPOLLIN)

    def hear(self, client):
        try:
            data = client.sock.recv(1 << 16)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        client.data += data
        if client.state == "asking":
            head, end, rest = client.data.partition(b"\r\n\r\n")
            if end and head.startswith(b"HTTP/1.1 101 "):
                client.state, client.data = "open", rest
            elif not data or end:
                # Turned away for now, with or without a word: again.
                assert not end or head.startswith(b"HTTP/1.1 503 "), head
                self.refused += 1
                self.drop(client)
                return self.connect(client, client.number)
        if client.state == "open":
            assert data, "a subscriber was dropped"
            whole = len(client.data) // FRAME_BYTES * FRAME_BYTES
            for at in range(0, whole, FRAME_BYTES):
                client.heard += 1
                wanted = b"\x81\x08%08d" % client.heard
                assert client.data[at : at + FRAME_BYTES] == wanted, f"{client.data[at:at + FRAME_BYTES]}, not {wanted}"
            client.data = client.data[whole:]
