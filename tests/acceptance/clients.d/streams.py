"""Readers of Server-Sent Events meet those who publish: a Mercure publisher, a client of
Centrifugo's protocol, and a plain WebSocket.

All readers hear all that is said in one topic, before, during and after a handover that they do
not notice; then each is cut off while others speak, comes back of its own accord with the id
that it had last, and must have missed nothing. Those of one topic hear nothing twice."""

import pathlib
import tempfile
import time

import libraries
from daemon import Daemon
from meeting import KEY, SECRET, sign, token
from table import report
from voices import TEXT, NAMED, Program, Socket, until

ROOM = "room.streams"
SETTINGS = """
token_keys = ["HS256:{folder}/secret"]
api_key_file = "{folder}/key"
retain_messages_max = 100000
retry_after_s = 1

[[topics]]
match = "room.**"
subscribe = "token"
publish = "token"
history = "token"
"""
MESSAGES = 10
ABILITIES = ["heard", "handover", "came back"]


class Readers:
    def __init__(self, daemon):
        self.daemon, self.sent, self.results = daemon, [], {}
        here, node, python = libraries.HERE, "node", libraries.PYTHON
        one = lambda name: f"{daemon.http}{ROOM}?token={token(name)}"
        many = lambda name: f"{daemon.http}events?topic={ROOM}&topic=room.quiet&token={token(name)}"
        hub = lambda name: f"{daemon.http}.well-known/mercure?topic={ROOM}&authorization={mercure_token(name)}"
        self.readers = [
            Program(name, kind, [*command, url(name)])
            for name, kind, command, url in [
                ("eventsource", "one", [node, here / "eventsource_node.mjs"], one),
                ("eventsource-many", "many", [node, here / "eventsource_node.mjs"], many),
                ("eventsource-mercure", "one", [node, here / "eventsource_node.mjs"], hub),
                ("chromium", "one", [node, here / "eventsource_chromium.mjs"], one),
                ("chromium-many", "many", [node, here / "eventsource_chromium.mjs"], many),
                ("httpx-sse", "one", [python, here / "sse_python.py"], one),
            ]
        ]
        self.mercure = Program("mercure-publisher", "api", [python, here / "mercure_python.py", f"{daemon.http}.well-known/mercure", SECRET, ROOM])
        self.cent = Program("cent", "api", [python, here / "cent_python.py", f"{daemon.http}api", KEY])
        self.centrifuge = Program("centrifuge-node", "json", [node, here / "centrifuge_node.mjs", f"{daemon.ws}connection/websocket", "json"])
        self.raw = Socket("raw", "raw", daemon.port, f"/{ROOM}?token={token('raw')}&echo=true")
        self.centrifuge.ask("connect", token=token("centrifuge-node"), fresh=token("centrifuge-node"))
        self.centrifuge.ask("subscribe", channel=ROOM)
        for who in self.readers:
            until(f"{who.name} reads", lambda who=who: who.told("open"))

    def note(self, who, ability, fault=None):
        self.results.setdefault((who.name, ability), []).extend([fault] if fault else [])

    def speak(self, count):
        for number in range(count):
            for name, say in {
                "raw": lambda text: self.raw.peer.send(TEXT, text.encode()),
                "centrifuge-node": lambda text: self.centrifuge.ask("publish", channel=ROOM, data=text),
                "mercure-publisher": lambda text: self.mercure.ask("publish", topic=ROOM, data=text, type="said"),
            }.items():
                text = f"{name}#{len(self.sent)}"
                say(text)
                self.sent.append(text)

    def hear_all(self, ability):
        wanted = sorted(self.sent)
        for who in self.readers:
            # Ids of many topics follow a little later, so some may come once more.
            names = lambda who=who: [NAMED.search(str(told["data"]).encode())[0].decode() for told in list(who.heard)]
            told = lambda who=who: sorted(set(names()) if who.kind == "many" else names())
            try:
                until("all is heard", lambda: told() == wanted)
                self.note(who, ability)
            except TimeoutError:
                missing = sorted(set(wanted) - set(names()))
                self.note(who, ability, f"heard {len(names())} of {len(wanted)}, without {missing[:3]}")
        for who in self.readers:
            named = [told for told in who.heard if "mercure-publisher" in str(told["data"])]
            if not all(told["name"] == "said" for told in named):
                self.note(who, ability, "an event lost its name")
        plain = lambda: [payload.decode() for _, payload in list(self.raw.heard)]
        pushed = lambda: [told["data"] for told in list(self.centrifuge.heard)]
        for who, heard in [(self.raw, plain), (self.centrifuge, pushed)]:
            try:
                until("all is heard", lambda: sorted(NAMED.search(str(text).encode())[0].decode() for text in heard()) == wanted)
                self.note(who, ability)
            except TimeoutError:
                self.note(who, ability, f"heard {len(heard())} of {len(wanted)}")

    def hand_over(self):
        opened = {who.name: len(who.told("open")) for who in self.readers}
        self.speak(MESSAGES)
        self.daemon.upgrade()
        self.speak(MESSAGES)
        self.hear_all("handover")
        for who in self.readers:
            if len(who.told("open")) != opened[who.name]:
                self.note(who, "handover", "had to come back")

    def cut_off(self):
        # The ids of many topics are at most 250 ms behind.
        time.sleep(0.6)
        opened = {who.name: len(who.told("open")) for who in self.readers}
        for who in self.readers:
            self.cent.ask("disconnect", user=who.name, code=3100, reason="come back")
        self.speak(MESSAGES)
        for who in self.readers:
            until(f"{who.name} comes back", lambda who=who: len(who.told("open")) > opened[who.name])
        self.speak(MESSAGES)
        self.hear_all("came back")

    def end(self):
        for who in [*self.readers, self.mercure, self.cent, self.centrifuge, self.raw]:
            who.end()


def mercure_token(name):
    return sign(sub=name, mercure={"subscribe": [ROOM]}, exp=int(time.time()) + 3600)


def run():
    """How many abilities were shown, and how many not."""
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "secret").write_text(SECRET)
        (pathlib.Path(folder) / "key").write_text(KEY)
        settings = pathlib.Path(folder) / "fanfare.toml"
        settings.write_text(SETTINGS.format(folder=folder))
        with Daemon("--config", str(settings), "--api", "127.0.0.1:0", "--cores", "2") as daemon:
            readers = Readers(daemon)
            try:
                readers.speak(MESSAGES)
                readers.hear_all("heard")
                readers.hand_over()
                readers.cut_off()
            finally:
                readers.end()
            everybody = [*readers.readers, readers.centrifuge, readers.raw]
            return report(everybody, ABILITIES, readers.results, f"{len(readers.sent)} messages")
