"""Clients over TLS that nobody here wrote, and a plain one, in one channel of one daemon.

All that can speak do, and all hear one another: short messages, one of 1 MiB of each, and a burst of 10,000 of each in
its order. Then `pusher-js` and `centrifuge-js` come in over TLS, and the daemon hands over to a newer process, which
nobody notices; at last it is killed and started anew, and all come back by themselves."""

import contextlib
import functools
import ssl
import threading
import time

import libraries
from channels import APP_KEY, APP_SECRET
from ears import NAMED, Ears, burst, large
from meeting import SECRET, sign
from peer import PONG, TEXT, Closed, Peer
from pipes import Pipe
from voices import Program, until
from world import EC, PATIENT

ROOM = "private-meeting"
SETTINGS = """
token_keys = ["HS256:{folder}/secret"]
retry_after_s = 1

[[apps]]
id = "1"
key = "{key}"
secret_files = "{folder}/app"
client_events = true
client_events_per_s_max = 100000
"""
MESSAGES = 5
LARGE_BYTES = 1 << 20
BURST = 10_000
AGAIN_S = 0.2


def token(user):
    lists = {action: [ROOM] for action in ["subscribe", "publish", "presence", "history"]}
    return sign(sub=user, exp=int(time.time()) + 3600, **lists)


class Voice:
    """One in this process; asked and heard as a `Program` is. It comes back by itself."""

    def __init__(self, name, connect):
        self.name, self.connect = name, connect
        self.heard, self.events, self.ended = [], [], False
        self.lock, self.wire = threading.Lock(), None
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        # Who comes back hears bursts anew.
        while not self.ended:
            try:
                self.wire = self.connect()
                self._note({"event": "open"})
                ears = Ears(self._note)
                for text in self._texts(self.wire):
                    ears.hear(text)
                self._note({"event": "waits", "why": "ended"})
            except (Closed, OSError, AssertionError, ssl.SSLError) as error:
                self._note({"event": "waits", "why": f"{type(error).__name__}: {error}"})
            except Exception as error:
                # As when its descriptor has been closed below it.
                self._note({"event": "waits", "why": repr(error)})
            time.sleep(AGAIN_S)

    def _note(self, told):
        (self.heard if told["event"] == "heard" else self.events).append(told)

    def _texts(self, peer):
        while True:
            opcode, payload = peer.read_frame()
            if opcode == TEXT:
                yield payload.decode()
            elif opcode == 9:
                self._send(PONG, payload)
            elif opcode == 8:
                raise Closed(payload)

    def _send(self, opcode, payload):
        with self.lock:
            self.wire.send(opcode, payload)

    def ask(self, verb, **what):
        texts = {"say": lambda name: [name], "large": lambda name, length: [large(name, length)], "burst": burst}[verb](**what)
        for text in texts:
            self._send(TEXT, text.encode())

    def told(self, event):
        return [told for told in self.events if told["event"] == event]

    def end(self):
        self.ended = True
        if self.wire:
            with contextlib.suppress(OSError):
                (self.wire.sock if isinstance(self.wire, Peer) else self.wire).shutdown(2)


class Stream(Voice):
    """A reader of Server-Sent Events, of the bytes of a pipe."""

    def _texts(self, pipe):
        rest = b""
        while more := pipe.recv(1 << 18):
            rest += more
            *blocks, rest = rest.split(b"\n\n")
            for block in blocks:
                for line in block.split(b"\n"):
                    if line.startswith(b"data: "):
                        yield line[6:].decode()


class Heeding(Pipe):
    """curl's: it has been told on its command line what to send, and only listens. Of an answer with 101 it hands out what
    follows, and tells its user of the head."""

    has_begun = False

    def sendall(self, data):
        pass

    def recv(self, count):
        if self.has_begun:
            return super().recv(count)
        self.has_begun = True
        until("curl is answered", lambda: "HTTP/1.1 101 " in self.said() or self.process.poll() is not None)
        return b"HTTP/1.1 101 \r\n\r\n" if self.process.poll() is None else b""


class Conversation:
    def __init__(self, world, daemon):
        self.world, self.daemon, self.number = world, daemon, 0
        self.faults = {}
        here, node, python = libraries.HERE.parent / "tls.d", "node", libraries.PYTHON
        spki = world.authority.spki("ec")
        port = daemon.tls_port
        socket_url = lambda name: f"{daemon.wss}{ROOM}?token={token(name)}"
        stream_url = lambda name: f"{daemon.https}{ROOM}?token={token(name)}"
        path = lambda name: f"/{ROOM}?token={token(name)}"

        def s_client(name, *words):
            place = ["-connect", f"127.0.0.1:{port}", "-CAfile", world.ca, "-verify_return_error", "-servername", EC]
            return Voice(name, lambda: Peer(None, path(name), sock=Pipe(["openssl", "s_client", "-quiet", *place, *words])))

        def gnutls(name, version):
            place = ["--port", port, "--sni-hostname", EC, "--verify-hostname", EC, "--x509cafile", world.ca]
            words = ["--logfile", "/dev/null", "--priority", f"NORMAL:-VERS-ALL:+VERS-TLS{version}", "127.0.0.1"]
            return Voice(name, lambda: Peer(None, path(name), sock=Pipe(["gnutls-cli", *place, *words])))

        def curl(name, url, *headers):
            words = [word for header in headers for word in ["--header", header]]
            return ["curl", "--silent", "--no-buffer", "--http1.1", "--cacert", world.ca, *words, url]

        upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        self.plain = Voice("plain", lambda: Peer(daemon.port, path("plain")))
        self.talkers = [
            self.plain,
            s_client("openssl-1.3", "-tls1_3"),
            s_client("openssl-1.2", "-tls1_2"),
            gnutls("gnutls-1.3", "1.3"),
            gnutls("gnutls-1.2", "1.2"),
            *(Program(f"node-{kind}", "talker", [node, here / "node.mjs", kind, socket_url(f"node-{kind}")]) for kind in ["ws", "tls"]),
            *(Program(kind, "talker", [python, here / "python.py", kind, socket_url(kind)]) for kind in ["websockets", "websocket-client", "aiohttp"]),
            Program("chromium", "talker", [node, here / "chromium.mjs", "websocket", socket_url("chromium"), spki]),
        ]
        self.readers = [
            Voice("curl-wss", lambda: Peer(None, "/", sock=Heeding([*curl("curl-wss", stream_url("curl-wss"), *upgrade), "--verbose"]))),
            Stream("curl-sse", lambda: Pipe(curl("curl-sse", stream_url("curl-sse"), "Accept: text/event-stream"))),
            Program("node-eventsource", "reader", [node, here / "node.mjs", "eventsource", stream_url("node-eventsource")]),
            Program("httpx-sse", "reader", [python, here / "python.py", "httpx-sse", stream_url("httpx-sse")]),
            Program("chromium-eventsource", "reader", [node, here / "chromium.mjs", "eventsource", stream_url("chromium-eventsource"), spki]),
        ]
        self.libraries = []

    def everybody(self):
        return [*self.talkers, *self.readers, *self.libraries]

    def opened(self, who):
        """How often it has come in."""
        return len(who.told("subscribed" if who in self.libraries else "open"))

    def come_in(self):
        for who in self.everybody():
            until(f"{who.name} has come in: {who.events[-3:]}", lambda who=who: self.opened(who))
        self.await_seats()

    def await_seats(self):
        """Until the daemon has everybody. What curl reads of a stream is told of when it is there, not when its head is."""
        wanted = len(self.everybody())
        until(f"{wanted} have a seat", lambda: self.daemon.metrics()["connections"] == wanted)

    def invite_libraries(self):
        """`pusher-js` and `centrifuge-js` over TLS."""
        here, port = libraries.HERE, self.daemon.tls_port
        pusher = Program("pusher-js", "member", ["node", here / "pusher_node.mjs", "localhost", port, APP_KEY, APP_SECRET, "pusher-js", "secure"])
        centrifuge = Program("centrifuge-js", "json", ["node", here / "centrifuge_node.mjs", f"{self.daemon.wss}connection/websocket", "json"])
        self.libraries = [pusher, centrifuge]
        pusher.ask("connect")
        centrifuge.ask("connect", token=token("centrifuge-js"), fresh=token("centrifuge-js"))
        for who in self.libraries:
            who.ask("subscribe", channel=ROOM)

    def name(self, who):
        self.number += 1
        return f"{who.name}#{self.number}"

    def say(self, who):
        name = self.name(who)
        if who not in self.libraries:
            who.ask("say", name=name)
        elif who.name == "pusher-js":
            who.ask("trigger", channel=ROOM, event="client-said", data={"text": name})
        else:
            who.ask("publish", channel=ROOM, data={"text": name})
        return name

    def speak(self, count):
        """Everybody who can says so many messages; who has said what."""
        return {self.say(who): who for _ in range(count) for who in [*self.talkers, *self.libraries]}

    def shout(self):
        """Everybody who can says something long."""
        sent = {}
        for who in self.talkers:
            name = self.name(who)
            who.ask("large", name=name, length=LARGE_BYTES)
            sent[name] = who
        return sent

    def heard_by(self, who, sent):
        found = [NAMED.search(str(told["data"])) for told in list(who.heard)]
        return sorted(one[0] for one in found if one and one[0] in sent)

    def missed_by(self, who, sent):
        """What is wrong with what it has heard of these, once it has heard as much as it should."""
        # Centrifugo's clients hear themselves, the others do not.
        wanted = sorted(name for name, by in sent.items() if by is not who or who.name == "centrifuge-js")
        try:
            until("all is heard", lambda: len(self.heard_by(who, sent)) >= len(wanted))
        except TimeoutError:
            pass
        heard = self.heard_by(who, sent)
        broken = [told["data"] for told in list(who.heard) if not told.get("whole", True)]
        if broken:
            return [f"changed on the way: {broken[:3]}"]
        if heard != wanted:
            missing = sorted(set(wanted) - set(heard))
            return [f"heard {len(heard)} of {len(wanted)}, without {missing[:3]}; {who.events[-3:]}"]
        return []

    def missed_of_burst(self, who, by, name):
        """What is wrong with what it has heard of a burst."""
        if who is by:
            return []
        so_far = lambda: [told for told in who.told("burst") if told["name"] == name]
        try:
            until("the burst is heard", so_far)
        except TimeoutError:
            return [f"has not heard the end of {by.name}'s; {who.events[-3:]}"]
        right = so_far()[0]["right"]
        return [] if right == BURST else [f"{right} of {BURST} of {by.name}'s came in their turn"]

    def hand_over(self):
        """Some speak while a newer process takes over, and nobody is to notice."""
        before = {who.name: self.opened(who) for who in self.everybody()}
        sent = self.speak(MESSAGES)
        failures = []

        def upgrade():
            try:
                self.daemon.upgrade()
            except Exception as error:
                failures.append(error)

        upgrading = threading.Thread(target=upgrade)
        upgrading.start()
        while upgrading.is_alive():
            sent |= self.speak(1)
        upgrading.join()
        if failures:
            raise failures[0]
        sent |= self.speak(MESSAGES)
        noticed = {who.name for who in self.everybody() if self.opened(who) != before[who.name]}
        return sent, noticed

    def kill(self):
        """The daemon is gone without a word, and another is there."""
        before = {who.name: self.opened(who) for who in self.everybody()}
        self.daemon.process.kill()
        self.daemon.process.wait()
        self.daemon = serve(self.world, port=self.daemon.port, tls_port=self.daemon.tls_port)
        back = {}
        for who in self.everybody():
            try:
                until(f"{who.name} comes back", lambda who=who: self.opened(who) > before[who.name])
                back[who.name] = []
            except TimeoutError:
                back[who.name] = [f"has not come back; {who.events[-3:]}"]
        if not any(back.values()):
            self.await_seats()
        return back

    def end(self):
        for who in self.everybody():
            with contextlib.suppress(OSError):
                who.end()


def serve(world, **how):
    folder = world.folder
    (folder / "secret").write_text(SECRET)
    (folder / "app").write_text(APP_SECRET)
    settings = folder / "conversation.toml"
    settings.write_text(SETTINGS.format(folder=folder, key=APP_KEY))
    return world.serve("--config", str(settings), *PATIENT, "--cores", "2", **how)


def run(world, tally):
    daemon = serve(world)
    # What others are told of the authority.
    conversation = Conversation(world, daemon)
    try:
        conversation.come_in()
        report = functools.partial(tell, conversation, tally)
        report("all are heard", conversation.speak(MESSAGES))
        report("1 MiB each", conversation.shout())
        bursts(conversation, tally)
        conversation.invite_libraries()
        report("with pusher-js and centrifuge-js", conversation.speak(MESSAGES))
        sent, noticed = conversation.hand_over()
        report("through a handover", sent, {name: ["had to come back"] for name in noticed})
        back = conversation.kill()
        report("back after a kill", conversation.speak(MESSAGES), back)
    finally:
        conversation.end()
        conversation.daemon.stop()


def tell(conversation, tally, what, sent, faults=None):
    for who in conversation.everybody():
        tally.book(f"{who.name}: {what}", (faults or {}).get(who.name, []) + conversation.missed_by(who, sent))


def bursts(conversation, tally):
    faults = {}
    for by in conversation.talkers:
        name = conversation.name(by)
        try:
            by.ask("burst", name=name, count=BURST)
        except Exception as error:
            faults.setdefault(by.name, []).append(f"cannot speak: {error}")
            continue
        for who in conversation.everybody():
            faults.setdefault(who.name, []).extend(conversation.missed_of_burst(who, by, name))
    for who in conversation.everybody():
        tally.book(f"{who.name}: bursts of {BURST:,} of each in their order", faults[who.name])
