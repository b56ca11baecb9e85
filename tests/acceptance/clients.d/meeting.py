"""Clients of Centrifugo's protocol, and plain ones, meet in one topic of one daemon.

All of them publish and all hear each other, before, during and after a handover; then
those of the protocol are sent away by the server API, come back to another process, and
must have missed nothing and heard nothing twice. On the way each comes in with a token
that has expired, is kept out of what is not its own, and asks who is there and what was
said."""

import base64
import hashlib
import hmac
import json
import pathlib
import socket
import tempfile
import threading
import time
import urllib.request

import libraries
from daemon import Daemon
from table import report
from voices import BINARY, TEXT, Failed, Program, Socket, identity, is_right, until

ROOM = "room.meeting"
SECRET = "only-the-daemon-and-its-issuer-know-this"
KEY = "the-key-of-the-meeting"
SETTINGS = """
token_keys = ["HS256:{folder}/secret"]
api_key_file = "{folder}/key"
retain_messages_max = 100000
retain_bytes_max = "8MiB"

[[topics]]
match = "room.**"
subscribe = "token"
publish = "token"
presence = "token"
history = "token"
presence_list = true

[[topics]]
match = "private.*"
subscribe = "token"
publish = "nobody"
"""
MESSAGES = 10
# 3000 to 3499: its clients come back.
COME_BACK = 3100
ABILITIES = ["token", "denied", "own topic", "joins", "presence", "history", "heard", "handover", "recovered", "sent again"]


def sign(**claims):
    part = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
    message = part(b'{"alg":"HS256"}') + b"." + part(json.dumps(claims).encode())
    tag = hmac.new(SECRET.encode(), message, hashlib.sha256).digest()
    return (message + b"." + part(tag)).decode()


def token(user, age_s=0):
    lists = {action: ["room.**"] for action in ["subscribe", "publish", "presence", "history"]}
    return sign(sub=user, exp=int(time.time()) + 3600 - age_s, **lists)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Meeting:
    """The daemon, those who meet, and what each of them can."""

    def __init__(self, daemon):
        # Backends ask where clients connect.
        self.daemon, self.api = daemon, f"{daemon.http}api"
        self.sent, self.numbers, self.results = {}, {}, {}
        self.lock = threading.Lock()
        here, node, python = libraries.HERE, "node", libraries.PYTHON
        crate = libraries.build_crate()
        url = f"{daemon.ws}connection/websocket"
        programs = {
            "centrifuge-node": [node, here / "centrifuge_node.mjs"],
            "centrifuge-chromium": [node, here / "centrifuge_chromium.mjs"],
            "centrifuge-python": [python, here / "centrifuge_python.py"],
            "centrifuge-rust": [crate],
        }
        # A chat announces who comes: it is there before anybody counts.
        self.chat = self.socket("chat", "chat", "", ["Sec-WebSocket-Protocol: chat"])
        until("the chat's welcome", lambda: self.chat.heard)
        self.members = [
            Program(f"{name}-{kind}", kind, [*command, url, kind])
            for name, command in programs.items()
            for kind in ["json", "protobuf"]
        ]
        self.backends = [
            Program("cent", "api", [python, here / "cent_python.py", self.api, KEY]),
            Program("cent-js", "api", [node, here / "cent_node.mjs", self.api, KEY]),
        ]
        self.raw = self.socket("raw", "raw", "&echo=true")
        self.offsets = self.socket("offsets", "offsets", "&offsets=true")
        self.all = [*self.members, *self.backends, self.raw, self.offsets, self.chat]

    def socket(self, name, kind, query, headers=()):
        return Socket(name, kind, self.daemon.port, f"/{ROOM}?token={token(name)}{query}", headers)

    def note(self, who, ability, fault=None):
        """Books that somebody can do something, or what went wrong."""
        self.results.setdefault((who.name, ability), []).extend([fault] if fault else [])

    def tries(self, who, ability, attempt):
        try:
            self.note(who, ability, attempt())
        except Exception as error:
            self.note(who, ability, f"{type(error).__name__}: {error}")

    # ---- What is said --------------------------------------------------------

    def compose(self, who, number):
        """A message as it is sent, and as (form, value) what is to be heard of it."""
        name = f"{who.name}#{number}"
        if who.kind == "chat":
            return f"größer ♫ {name}", ("said", f"größer ♫ {name}")
        if who.kind == "raw" and number % 3 == 1:
            return f"Kick-off! größer ♫ {name}", ("text", f"Kick-off! größer ♫ {name}")
        if who.kind == "raw" and number % 3 == 2:
            data = b"\x00\xff" + name.encode()
            return data, ("bytes", data)
        value = {"id": name, "text": 'größer "♫"\n🎺', "goals": [2, 1.5, None, True]}
        return value, ("value", value)

    def publish(self, who):
        with self.lock:
            number = self.numbers[who.name] = self.numbers.get(who.name, 0) + 1
            message, self.sent[f"{who.name}#{number}"] = self.compose(who, number)
        if who.kind in ("raw", "chat"):
            text = json.dumps(message, indent=1) if isinstance(message, dict) else message
            who.peer.send(BINARY, text) if isinstance(text, bytes) else who.peer.send(TEXT, text.encode())
            return
        try:
            who.ask("publish", channel=ROOM, data=message)
        except Failed:
            # While a newer daemon takes over the API refuses, and nothing was published.
            if who.kind != "api":
                raise
            until("the API is back", lambda: self.published(who, message))

    def published(self, who, message):
        try:
            who.ask("publish", channel=ROOM, data=message)
            return True
        except Failed:
            return False

    def talk(self, speakers, enough):
        """All speak at once, each until `enough(messages of its own)`; the faults by name."""
        faults = {}

        def speak(who):
            count = 0
            try:
                while not enough(count):
                    self.publish(who)
                    count += 1
                    time.sleep(0.002)
            except Exception as error:
                faults[who.name] = f"cannot publish: {type(error).__name__}: {error}"

        threads = [threading.Thread(target=speak, args=[who]) for who in speakers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return faults

    def speakers(self):
        return [who for who in self.all if who.kind != "offsets"]

    # ---- What was heard ------------------------------------------------------

    def history(self):
        """All that the daemon keeps of the meeting: (offset, data), by a client as plain as can be."""
        found, since = [], {"offset": 0, "epoch": ""}
        while True:
            body = json.dumps({"channel": ROOM, "limit": 500, "since": since}).encode()
            request = urllib.request.Request(f"{self.api}/history", body, {"X-API-Key": KEY})
            with urllib.request.urlopen(request) as answer:
                page = json.load(answer)["result"]
            if not page.get("publications"):
                return found
            found += [(said["offset"], said["data"]) for said in page["publications"]]
            since = {"offset": found[-1][0], "epoch": page["epoch"]}

    def hear_all(self, ability, faults=None):
        """Each has heard everything that was said so far, once, whole, and in the one order."""
        for name, fault in (faults or {}).items():
            self.results.setdefault((name, ability), []).append(fault)
        try:
            until("all is published", lambda: len(self.names("json", [{"data": d} for _, d in self.history()])) >= len(self.sent))
        except TimeoutError:
            pass
        order = self.names("json", [{"data": data} for _, data in self.history()])
        for who in self.speakers() + [self.offsets]:
            if who.kind != "api":
                self.tries(who, ability, lambda who=who: self.compare(who, order))

    def names(self, kind, heard):
        named = [identity(kind, message) for message in heard]
        return [name for name in named if name]

    def compare(self, who, order):
        if sorted(order) != sorted(self.sent):
            missing, extra = set(self.sent) - set(order), len(order) - len(set(order))
            return f"the daemon keeps {len(order)} of {len(self.sent)} messages: {sorted(missing)[:3]} are missing, {extra} doubled"
        try:
            until("all is heard", lambda: len(self.names(who.kind, list(who.heard))) >= len(order))
        except TimeoutError:
            pass
        heard = list(who.heard)
        names = self.names(who.kind, heard)
        if names != order:
            missing, extra = set(order) - set(names), len(names) - len(set(names))
            return f"heard {len(names)} of {len(order)}: {sorted(missing)[:3]} are missing, {extra} doubled, or in another order"
        for message in heard:
            name = identity(who.kind, message)
            if name and not is_right(who.kind, message, self.sent[name]):
                return f"{name} came as {str(message)[:120]}"
        return None

    # ---- The meeting ---------------------------------------------------------

    def come_in(self):
        for who in self.members:
            stale, fresh = token(who.name, age_s=7200), token(who.name)
            self.tries(who, "token", lambda who=who: who.ask("connect", token=stale, fresh=fresh) and None)
            for verb, more in {"subscribe": {}, "publish": {"data": {}}, "presence": {}, "history": {}}.items():
                self.tries(who, "denied", lambda who=who, verb=verb, more=more: self.refused(who, verb, more))
            self.tries(who, "own topic", lambda who=who: self.visit_own(who))
        for who in self.members:
            self.tries(who, "joins", lambda who=who: who.ask("subscribe", channel=ROOM) and None)
        for place, who in enumerate(self.members):
            # The newcomer hears of itself, and everybody of who comes later.
            wanted = [other.name for other in self.members[place:]]
            self.tries(who, "joins", lambda who=who, wanted=wanted: self.joined(who, wanted))

    def refused(self, who, verb, more):
        channel = "private.nobodys" if verb == "subscribe" else "other.topic"
        try:
            who.ask(verb, channel=channel, **more)
        except Failed as error:
            return None if error.args == (103,) else f"{verb} was answered with {error}"
        return f"{verb} was allowed"

    def visit_own(self, who):
        channel = f"private.{who.name}"
        own = sign(sub=who.name, channel=channel, exp=int(time.time()) + 3600)
        who.ask("subscribe", channel=channel, token=own)
        who.ask("unsubscribe", channel=channel)

    def joined(self, who, wanted):
        joins = lambda: [told["user"] for told in who.told("join") if told["channel"] == ROOM]
        until(f"joins of {len(wanted)}", lambda: len(joins()) >= len(wanted))
        return None if joins() == wanted else f"heard of {joins()}, not of {wanted}"

    def ask_around(self):
        users = sorted(who.name for who in self.members)
        for who in [*self.members, *self.backends]:
            self.tries(who, "presence", lambda who=who: self.is_told(who, users))
            self.tries(who, "history", lambda who=who: self.is_reminded(who))
        for who in self.backends:
            self.tries(who, "sent again", lambda who=who: self.sends_again(who))

    def sends_again(self, who):
        """A message with the key of an earlier one is answered as that, and not published."""
        channel = f"private.{who.name}"
        offsets = [who.ask("publish", channel=channel, data=said, key="k")["offset"] for said in [1, 2]]
        kept = who.ask("history", channel=channel)["publications"]
        return None if offsets == [1, 1] and kept == [[1, 1]] else f"answered with {offsets}, and {kept} is kept"

    def is_told(self, who, users):
        told = sorted(who.ask("presence", channel=ROOM)["users"])
        if told != users:
            return f"told of {told}"
        stats = who.ask("presence_stats", channel=ROOM)
        counted = (stats["clients"], stats["users"])
        return None if counted == (len(users), len(users)) else f"counted {counted}"

    def is_reminded(self, who):
        wanted = self.history()
        page = who.ask("history", channel=ROOM)
        kind = "protobuf" if who.kind == "protobuf" else "json"
        told = [(offset, identity(kind, {"data": data})) for offset, data in page["publications"]]
        if told != [(offset, identity("json", {"data": data})) for offset, data in wanted]:
            return f"was told {len(told)} publications of {len(wanted)}, or others"
        return None if page["offset"] == wanted[-1][0] and page["epoch"] else f"the position was {page['offset']}"

    def hand_over(self):
        """A newer process takes over while all speak, and nobody is disconnected."""
        before = {who.name: len(who.told("connecting")) for who in self.members}
        done, faults = threading.Event(), {}
        after = {}

        def enough(count):
            if not done.is_set():
                return False
            # Some are to be published to the newer process too.
            start = after.setdefault(threading.get_ident(), count)
            return count >= start + MESSAGES

        talking = threading.Thread(target=lambda: faults.update(self.talk(self.speakers(), enough)))
        talking.start()
        try:
            self.daemon.upgrade()
        finally:
            done.set()
            talking.join()
        self.hear_all("handover", faults)
        for who in self.members:
            moved = len(who.told("connecting")) - before[who.name] + len(who.told("disconnected"))
            self.note(who, "handover", f"was disconnected {moved} times" if moved else None)

    def send_away(self):
        """All of the protocol, and a raw one, are away while others speak and another process takes over."""
        faults = {}
        hello = json.loads(self.offsets.heard[-1][1])
        self.offsets.end()
        for place, who in enumerate(self.members):
            left = len(who.told("connecting"))
            sender = self.backends[place % len(self.backends)]
            sender.ask("disconnect", user=who.name, code=COME_BACK, reason="come back")
            until(f"{who.name} notices", lambda: len(who.told("connecting")) > left)
        others = [*self.backends, self.raw, self.chat]
        faults |= self.talk(others, lambda count: count >= MESSAGES)
        self.daemon.upgrade()
        faults |= self.talk(others, lambda count: count >= MESSAGES)
        self.offsets.open(f"/{ROOM}?token={token('offsets')}&offsets=true&since={hello['offset'] + 1}&epoch={self.epoch()}")
        for who in self.members:
            self.tries(who, "recovered", lambda who=who: self.came_back(who))
        faults |= self.talk(self.speakers(), lambda count: count >= MESSAGES)
        self.hear_all("recovered", faults)

    def epoch(self):
        body = json.dumps({"channel": ROOM}).encode()
        request = urllib.request.Request(f"{self.api}/history", body, {"X-API-Key": KEY})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["result"]["epoch"]

    def came_back(self, who):
        back = lambda: [told for told in who.told("subscribed") if told["channel"] == ROOM][1:]
        until(f"{who.name} is back", back)
        told = back()
        return None if all(one["was_recovering"] and one["recovered"] for one in told) else f"came back as {told}"

    def end(self):
        for who in self.all:
            who.end()


def run():
    """How many abilities were shown, and how many not."""
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "secret").write_text(SECRET)
        (pathlib.Path(folder) / "key").write_text(KEY)
        settings = pathlib.Path(folder) / "fanfare.toml"
        settings.write_text(SETTINGS.format(folder=folder))
        api = ["--config", str(settings), "--api", "127.0.0.1:0"]
        with Daemon(*api, "--cores", "2") as daemon:
            meeting = Meeting(daemon)
            try:
                meeting.come_in()
                faults = meeting.talk(meeting.speakers(), lambda count: count >= MESSAGES)
                meeting.hear_all("heard", faults)
                meeting.ask_around()
                meeting.hand_over()
                meeting.send_away()
            finally:
                meeting.end()
            listeners = len(meeting.all) - len(meeting.backends)
            line = f"{len(meeting.sent)} messages, each heard by {listeners}"
            return report(meeting.all, ABILITIES, meeting.results, line)
