"""A WebSocket client as plain as can be: no library, no compression, every byte
in the caller's hand. It speaks for the tests where a library would not do what
they need, and checks what it hears."""

import base64
import os
import socket
import struct
import time

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PATIENCE_S = 60
NO_MASK = bytes(4)


class Refused(Exception):
    """The server answered with another status than 101."""

    def __init__(self, status, headers):
        super().__init__(f"status {status}")
        self.status, self.headers = status, headers


def frame(opcode, payload=b"", fin=True, length=None):
    """A client's frame, its mask all zeros; `length` announces another one."""
    length = len(payload) if length is None else length
    first = opcode | (0x80 if fin else 0)
    if length < 126:
        head = struct.pack("!BB", first, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, length)
    return head + NO_MASK + payload


def request(path, *headers):
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers, "", ""]
    return "\r\n".join(lines).encode()


def dial(port, source=None, receive_bytes=None, host="127.0.0.1", tls=None, name="localhost"):
    """A TCP connection to the daemon, from `source` and with a receive buffer of
    about `receive_bytes` if given; over TLS if `tls`, an `ssl.SSLContext`, is, with who is
    called `name`."""
    sock = socket.socket()
    sock.settimeout(PATIENCE_S)
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    if source:
        # The port is chosen at connect, so that all of them serve every source.
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)
        sock.bind((source, 0))
    sock.connect((host, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls.wrap_socket(sock, server_hostname=name) if tls else sock


def read_head(sock):
    """Status, headers and what came behind an HTTP head."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        more = sock.recv(1 << 16)
        if not more:
            raise ConnectionError(f"the connection ended inside the answer: {bytes(data)!r}")
        data += more
    head, rest = bytes(data).split(b"\r\n\r\n", 1)
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, rest


class Peer:
    """An open WebSocket."""

    def __init__(self, port, path="/", headers=(), sock=None, **how):
        """Over `sock`, which may be anything that sends and receives as a socket does, if given."""
        self.sock = sock or dial(port, **how)
        self.sock.sendall(request(path, *headers))
        status, self.headers, rest = read_head(self.sock)
        if status != 101:
            self.sock.close()
            raise Refused(status, self.headers)
        self.data = bytearray(rest)

    def send(self, opcode, payload=b"", **how):
        self.sock.sendall(frame(opcode, payload, **how))

    def read_frame(self):
        """Opcode and payload of the next frame, which a server never masks and
        this one never splits."""
        head = self.take(2)
        assert head[0] & 0x80 and not head[0] & 0x70 and not head[1] & 0x80, f"a strange frame: {head.hex()}"
        length = head[1]
        if length == 126:
            (length,) = struct.unpack("!H", self.take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.take(8))
        return head[0] & 0x0F, self.take(length)

    def read(self):
        """The next message; pings are answered on the way, and a close ends it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            opcode, payload = self.read_frame()
            if opcode == PING:
                if time.monotonic() > deadline:
                    raise TimeoutError("no message, nothing but pings")
                self.send(PONG, payload)
            elif opcode == CLOSE:
                raise Closed(payload)
            elif opcode != PONG:
                return opcode, payload

    def read_close(self):
        """Code and words of the close frame, whatever comes before it."""
        while True:
            opcode, payload = self.read_frame()
            if opcode == CLOSE:
                return Closed(payload)

    def reset(self):
        """Leaves without a word: the kernel sends RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    def hang_up(self):
        """Ends both directions, also for a read that waits in another thread."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def take(self, count):
        """The next bytes, as they come."""
        while len(self.data) < count:
            more = self.sock.recv(max(1 << 16, min(count, 1 << 20)))
            if not more:
                raise ConnectionError("the connection ended without a close frame")
            self.data += more
        taken = bytes(self.data[:count])
        del self.data[:count]
        return taken


class Closed(Exception):
    def __init__(self, payload):
        self.code = struct.unpack("!H", payload[:2])[0] if payload else 0
        self.words = payload[2:].decode()
        super().__init__(f"closed with {self.code} {self.words}")
