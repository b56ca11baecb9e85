"""A client over TLS that keeps to the protocol only as long as it wants to: tlslite-ng shakes hands, then each record can be
sealed by hand."""

import subprocess
import sys

from daemon import CACHE
from peer import dial, request

TLS12, TLS13 = (3, 3), (3, 4)
VERSIONS = {"TLS 1.3": TLS13, "TLS 1.2": TLS12}
# Content types and messages.
CCS, ALERT, HANDSHAKE, DATA, HEARTBEAT = 20, 21, 22, 23, 24
HELLO, TICKET, FINISHED, KEY_UPDATE = 1, 4, 20, 24
WARNING, FATAL = 1, 2
# Alerts (RFC 8446 section 6).
UNEXPECTED, BAD_MAC, OVERFLOW, ILLEGAL, DECODE, PROTOCOL_VERSION, INTERNAL, NO_RENEGOTIATION = 10, 20, 22, 47, 50, 70, 80, 100
TAG_BYTES = 16
PACKAGE = "tlslite-ng==0.8.2"


def load():
    folder = CACHE / PACKAGE.replace("==", "-")
    if not folder.exists():
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", folder, PACKAGE], check=True)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


class Rogue:
    """One whose hands have been shaken."""

    def __init__(self, port, version, cipher="aes128gcm", receive_bytes=None):
        from tlslite.api import HandshakeSettings, TLSConnection

        self.sock = dial(port, receive_bytes=receive_bytes)
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = self.version = version
        settings.cipherNames = [cipher]
        settings.keyShares = ["x25519"]
        self.conn = TLSConnection(self.sock)
        self.conn.handshakeClientCert(settings=settings, serverName="localhost")
        self.is_newest = version == TLS13
        # How often the daemon has taken new keys.
        self.updates_heard = 0
        self.count_updates()

    def count_updates(self):
        layer = self.conn._recordLayer
        follow = layer.calcTLS1_3KeyUpdate_sender

        def counted(*secrets):
            self.updates_heard += 1
            return follow(*secrets)

        layer.calcTLS1_3KeyUpdate_sender = counted

    def talk(self, path="/witness"):
        """Opens a WebSocket."""
        self.send(DATA, request(path))
        head = bytearray()
        while b"\r\n\r\n" not in head:
            more = self.conn.read(max=1 << 14, min=1)
            assert more, f"it ended in its answer: {bytes(head)!r}"
            head += more
        assert head.startswith(b"HTTP/1.1 101 "), bytes(head)

    def seal(self, kind, content=b"", padding=0, number=None, version=b"\x03\x03"):
        """A record of the next number, or of another one, which counts nothing."""
        state = self.conn._recordLayer._writeState
        sequence = (state.seqnum if number is None else number).to_bytes(8, "big")
        state.seqnum += number is None
        cipher, fixed = state.encContext, bytes(state.fixedNonce)
        if self.is_newest:
            # A kind of None stands for zeros alone.
            content = content + (b"" if kind is None else bytes([kind])) + bytes(padding)
            head = bytes([DATA]) + version + (len(content) + TAG_BYTES).to_bytes(2, "big")
            return head + bytes(cipher.seal(bytearray(crossed(fixed, sequence)), bytearray(content), bytearray(head)))
        bound = sequence + bytes([kind]) + version + len(content).to_bytes(2, "big")
        if "aes" in cipher.name:
            body = sequence + bytes(cipher.seal(bytearray(fixed + sequence), bytearray(content), bytearray(bound)))
        else:
            body = bytes(cipher.seal(bytearray(crossed(fixed, sequence)), bytearray(content), bytearray(bound)))
        return bytes([kind]) + version + len(body).to_bytes(2, "big") + body

    def send(self, kind, content=b"", **how):
        self.raw(self.seal(kind, content, **how))

    def raw(self, data):
        """As it is. That the daemon has hung up by then is told when its answer is read."""
        try:
            self.sock.sendall(data)
        except OSError:
            pass

    def next_number(self):
        return self.conn._recordLayer._writeState.seqnum

    def key_update(self, requested=0):
        """One that is right; from then on the next key is used."""
        self.send(HANDSHAKE, bytes([KEY_UPDATE, 0, 0, 1, requested]))
        self.take_next_key()

    def take_next_key(self):
        session, layer = self.conn.session, self.conn._recordLayer
        secrets = session.cl_app_secret, session.sr_app_secret
        session.cl_app_secret, session.sr_app_secret = layer.calcTLS1_3KeyUpdate_reciever(session.cipherSuite, *secrets)

    def overhead(self):
        """What a record of TLS 1.2 has beyond its content, its header apart."""
        return 24 if "aes" in self.conn._recordLayer._writeState.encContext.name else TAG_BYTES

    def outcome(self):
        """What the daemon says in the end: `alert N`, `close_notify`, or `cut` if it only hangs up; and what came before."""
        from tlslite.errors import TLSAbruptCloseError, TLSRemoteAlert

        heard = bytearray()
        try:
            while more := self.conn.read(max=1 << 14, min=1):
                heard += more
        except TLSRemoteAlert as alert:
            return f"alert {alert.description}", bytes(heard)
        except (TLSAbruptCloseError, OSError) as error:
            return f"cut ({type(error).__name__})", bytes(heard)
        return "close_notify", bytes(heard)

    def close(self):
        self.sock.close()


def crossed(fixed, sequence):
    """The nonce of a record where nothing of it is sent."""
    return bytes(one ^ other for one, other in zip(fixed, bytes(len(fixed) - len(sequence)) + sequence))
