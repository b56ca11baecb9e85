"""Clients of the Pusher Channels protocol meet server libraries, readers of Server-Sent Events, a
Mercure publisher, a client of Centrifugo's protocol and a plain WebSocket in one presence channel.

All that can speak do, and all hear the others, before, during and after a handover that nobody
notices; nobody hears itself. All are told who comes. Then they are sent away with a code for which they come back
at once, and go on."""

import pathlib
import tempfile
import time

import libraries
from daemon import Daemon
from hooked import Hooked
from meeting import KEY, SECRET, sign
from table import report
from voices import TEXT, NAMED, Program, Socket, until

ROOM = "presence-meeting"
APP_KEY = "the-key-of-the-app"
APP_SECRET = "only-the-app-and-its-server-know-this"
SETTINGS = """
token_keys = ["HS256:{folder}/secret"]
api_key_file = "{folder}/key"
retry_after_s = 1

[[apps]]
id = "1"
key = "the-key-of-the-app"
secret_files = "{folder}/app"
client_events = true
client_events_per_s_max = 1000
webhooks = [{{ url = "{hooked}" }}]
"""
MESSAGES = 10
# 4200 to 4299: its clients come back at once.
COME_BACK = 4250
ABILITIES = ["members", "heard", "not itself", "left out", "its own user", "handover", "came back", "webhooks"]


def token(user):
    lists = {action: [ROOM] for action in ["subscribe", "publish", "presence", "history"]}
    return sign(sub=user, info={"name": f"{user}!"}, exp=int(time.time()) + 3600, **lists)


class Channels:
    def __init__(self, daemon, hooked):
        self.daemon, self.hooked, self.results, self.number = daemon, hooked, {}, 0
        # What was said: who has said it, by its name.
        self.sent = {}
        here, node, python = libraries.HERE, "node", libraries.PYTHON
        place = ["127.0.0.1", daemon.port, APP_KEY, APP_SECRET]
        self.members = [
            Program(name, "member", [*command, *place, name])
            for name, command in {
                "pusher-js-node": [node, here / "pusher_node.mjs"],
                "pusher-js-chromium": [node, here / "pusher_chromium.mjs"],
                "laravel-echo": [node, here / "echo_node.mjs"],
                "pysher": [python, here / "pysher_python.py"],
            }.items()
        ]
        self.backends = [
            Program("pusher-npm", "api", [node, here / "pusher_npm.mjs", *place]),
            Program("pusher-pypi", "api", [python, here / "pusher_pypi.py", *place]),
        ]
        self.cent = Program("cent", "api", [python, here / "cent_python.py", f"{daemon.http}api", KEY])
        self.centrifuge = Program("centrifuge-node", "json", [node, here / "centrifuge_node.mjs", f"{daemon.ws}connection/websocket", "json"])
        self.raw = Socket("raw", "raw", daemon.port, f"/{ROOM}?token={token('raw')}")
        hub = f"{daemon.http}.well-known/mercure"
        self.mercure = Program("mercure-publisher", "api", [python, here / "mercure_python.py", hub, SECRET, ROOM])
        one = lambda name: f"{daemon.http}{ROOM}?token={token(name)}"
        claim = sign(sub="eventsource-mercure", mercure={"subscribe": [ROOM]}, exp=int(time.time()) + 3600)
        self.readers = [
            Program(name, "reader", [*command, url])
            for name, command, url in [
                ("eventsource", [node, here / "eventsource_node.mjs"], one("eventsource")),
                ("eventsource-mercure", [node, here / "eventsource_node.mjs"], f"{hub}?topic={ROOM}&authorization={claim}"),
                ("eventsource-chromium", [node, here / "eventsource_chromium.mjs"], one("eventsource-chromium")),
                ("httpx-sse", [python, here / "sse_python.py"], one("httpx-sse")),
            ]
        ]
        for who in self.readers:
            until(f"{who.name} reads", lambda who=who: who.told("open"))

    def note(self, who, ability, fault=None):
        self.results.setdefault((who.name, ability), []).extend([fault] if fault else [])

    def tries(self, who, ability, attempt):
        try:
            self.note(who, ability, attempt())
        except Exception as error:
            self.note(who, ability, f"{type(error).__name__}: {error}")

    def meet(self):
        there = set()
        for who in self.members:
            who.ask("connect")
            users = set(who.ask("subscribe", channel=ROOM)["users"])
            there.add(who.name)
            self.note(who, "members", None if users == there else f"was told of {sorted(users)}")
        # A name for whom Centrifugo's clients have one too.
        self.centrifuge.ask("connect", token=token("centrifuge-node"), fresh=token("centrifuge-node"))
        self.centrifuge.ask("subscribe", channel=ROOM)
        there.add("centrifuge-node")
        names = [who.name for who in self.members] + ["centrifuge-node"]
        for place, who in enumerate(self.members):
            later = names[place + 1 :]
            added = lambda who=who: [told["user"] for told in who.told("member_added")]
            try:
                until("all who come are told", lambda: sorted(added()) == sorted(later))
            except TimeoutError:
                self.note(who, "members", f"heard of {added()} and not of {later}")
        for who in self.backends:
            users = lambda who=who: sorted(who.ask("users", channel=ROOM)["users"])
            self.tries(who, "members", lambda who=who: None if users() == sorted(there) else f"was told of {users()}")
        listed = lambda: sorted(self.centrifuge.ask("presence", channel=ROOM)["users"])
        self.tries(self.centrifuge, "members", lambda: None if listed() == sorted(there) else f"was told of {listed()}")

    def say(self, who, name):
        if who is self.raw:
            who.peer.send(TEXT, name.encode())
        elif who is self.centrifuge:
            who.ask("publish", channel=ROOM, data={"text": name})
        elif who is self.mercure:
            who.ask("publish", topic=ROOM, data=name, type="said")
        elif who in self.members:
            who.ask("trigger", channel=ROOM, event="client-said", data={"text": name})
        else:
            who.ask("trigger", channel=ROOM, event="said", data={"text": name})

    def speak(self, count, ability):
        for _ in range(count):
            for who in [*self.members, *self.backends, self.mercure, self.centrifuge, self.raw]:
                self.number += 1
                name = f"{who.name}#{self.number}"
                self.sent[name] = who
                try:
                    self.say(who, name)
                except Exception as error:
                    self.note(who, ability, f"cannot speak: {error}")

    def heard_by(self, who):
        if who is self.raw:
            return [NAMED.search(payload)[0].decode() for _, payload in list(who.heard)]
        return [NAMED.search(str(told["data"]).encode())[0].decode() for told in list(who.heard)]

    def hear_all(self, ability):
        for who in [*self.members, self.centrifuge, self.raw, *self.readers]:
            # Centrifugo's clients hear themselves, the others do not.
            wanted = sorted(name for name, by in self.sent.items() if by is not who or who is self.centrifuge)
            try:
                until("all is heard", lambda: len(self.heard_by(who)) >= len(wanted))
            except TimeoutError:
                pass
            heard = sorted(self.heard_by(who))
            fault = None
            if heard != wanted:
                missing, more = sorted(set(wanted) - set(heard)), sorted(set(heard) - set(wanted))
                fault = f"heard {len(heard)} of {len(wanted)}, without {missing[:3]}, with {more[:3]}"
            self.note(who, ability, fault)
            if who in self.members:
                itself = [name for name in heard if self.sent.get(name) is who]
                self.note(who, "not itself", f"heard itself: {itself[:3]}" if itself else None)
            if who in self.members or who in self.readers:
                for told in list(who.heard):
                    by = self.sent[NAMED.search(str(told["data"]).encode())[0].decode()]
                    named = by in self.backends or by is self.mercure
                    event = "client-said" if by in self.members else "said" if named else "message"
                    if told["name"] not in (event, event.removeprefix("client-")):
                        self.note(who, ability, f"an event of {by.name} came as {told['name']}")

    def leave_out(self):
        """A server library publishes for all but one."""
        for who in self.members[:2]:
            socket = who.ask("socket")["socket"]
            for backend in self.backends:
                self.number += 1
                # For all but this one it is as if that had said it.
                self.sent[f"{backend.name}#{self.number}"] = who
                backend.ask("trigger", channel=ROOM, event="client-said", data={"text": f"{backend.name}#{self.number}"}, socket=socket)
        self.hear_all("left out")

    def sign_in(self):
        for who in self.members[:2]:
            def attempt(who=who):
                who.ask("signin")
                self.backends[0].ask("to_user", user=who.name, event="told", data={"for": who.name})
                until("it is told", lambda: who.told("told"))
                return None if who.told("told")[0]["data"] == {"for": who.name} else "was told something else"
            self.tries(who, "its own user", attempt)
        terminated = self.members[0]
        self.tries(self.backends[0], "its own user", lambda: self.backends[0].ask("terminate", user=terminated.name) and None)
        try:
            until("it is sent away", lambda: terminated.told("disconnected"))
        except TimeoutError:
            self.note(self.backends[0], "its own user", "its connection was not ended")

    def webhooks(self):
        """Server libraries believe what they are told of who has come and what was said, and
        nothing that somebody else has signed."""
        names = {who.name for who in self.members} | {"centrifuge-node"}
        said = sum(who in self.members for who in self.sent.values())

        def attempt(who):
            def told():
                requests = list(self.hooked.requests)
                return [event for headers, body in requests for event in who.ask("webhook", headers=headers, body=body)["events"]]

            def users(events):
                return {event["user_id"] for event in events if event["name"] == "member_added"}

            def client_events(events):
                return sum(event["name"] == "client_event" for event in events)

            until("all is told", lambda: users(told()) == names and client_events(told()) >= said)
            events = told()
            if [event["name"] for event in events if event["channel"] == ROOM].count("channel_occupied") != 1:
                return "it was not told once that the room is occupied"
            headers, body = self.hooked.requests[0]
            forged = who.ask("webhook", headers=headers, body=body.replace(":", ": ", 1))["events"]
            return "believed what was forged" if forged else None

        for who in self.backends:
            self.tries(who, "webhooks", lambda who=who: attempt(who))

    def hand_over(self):
        before = {who.name: len(who.told("connected")) for who in self.members}
        opened = {who.name: len(who.told("open")) for who in self.readers}
        self.speak(MESSAGES, "handover")
        self.daemon.upgrade()
        self.speak(MESSAGES, "handover")
        self.hear_all("handover")
        for who in self.members:
            if len(who.told("connected")) != before[who.name]:
                self.note(who, "handover", "had to come back")
        for who in self.readers:
            if len(who.told("open")) != opened[who.name]:
                self.note(who, "handover", "had to come back")

    def come_back(self):
        before = {who.name: len(who.told("subscribed")) for who in self.members}
        # None of them has a user of the connection.
        self.cent.ask("disconnect", user="", code=COME_BACK, reason="come back")
        # Readers have users, by their tokens.
        opened = {who.name: len(who.told("open")) for who in self.readers}
        for who in self.readers:
            self.cent.ask("disconnect", user=who.name, code=3100, reason="come back")
        for who in self.readers:
            until(f"{who.name} comes back", lambda who=who: len(who.told("open")) > opened[who.name])
        for who in self.members:
            try:
                until("it comes back", lambda who=who: len(who.told("subscribed")) > before[who.name])
            except TimeoutError:
                self.note(who, "came back", "did not come back")
        self.speak(MESSAGES, "came back")
        self.hear_all("came back")

    def end(self):
        for who in [*self.members, *self.backends, self.mercure, *self.readers, self.cent, self.centrifuge, self.raw]:
            who.end()


def run():
    """How many abilities were shown, and how many not."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in [("secret", SECRET), ("key", KEY), ("app", APP_SECRET)]:
            (pathlib.Path(folder) / name).write_text(text)
        settings = pathlib.Path(folder) / "fanfare.toml"
        hooked = Hooked()
        settings.write_text(SETTINGS.format(folder=folder, hooked=hooked.url))
        with Daemon("--config", str(settings), "--api", "127.0.0.1:0", "--cores", "2") as daemon:
            channels = Channels(daemon, hooked)
            try:
                channels.meet()
                channels.speak(MESSAGES, "heard")
                channels.hear_all("heard")
                channels.webhooks()
                channels.leave_out()
                channels.hand_over()
                channels.come_back()
                channels.sign_in()
            finally:
                channels.end()
                hooked.end()
            everybody = [*channels.members, *channels.backends, *channels.readers, channels.centrifuge, channels.raw]
            return report(everybody, ABILITIES, channels.results, f"{len(channels.sent)} messages")
