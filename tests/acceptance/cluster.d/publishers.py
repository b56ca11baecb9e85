"""Four publishers, each in a way of its own: one message over HTTP at a time, batches over HTTP,
commands of Centrifugo's protocol, and straight into NATS.

Each numbers its messages. What was acknowledged must be in the stream in the end; the first and
the last one send again, under the same key, what was not.
"""

import http.client
import json
import random
import threading
import time

from clients import message_id
from nats import Plain
from peer import Closed, Peer, Refused, TEXT

# Of a hundred messages.
SHARES = [8, 42, 30, 20]
WINDOW = 200
BATCH = 40
ANSWER_S = 60


class Publisher(threading.Thread):
    def __init__(self, number, world, count, rate):
        super().__init__(daemon=True)
        self.number, self.world, self.count, self.rate = number, world, count, rate
        self.next = 0
        # By message: topic and offset, 0 where the acknowledgement names none.
        self.acked = {}
        self.unknown = 0
        self.began = time.monotonic()
        self.failure = None

    def run(self):
        try:
            self.publish()
        except BaseException as failure:
            self.failure = failure

    def make(self):
        """The next message: its topic, its name, its text. Waits for its time."""
        ahead = self.next / self.rate - (time.monotonic() - self.began)
        if ahead > 0:
            time.sleep(ahead)
        self.next += 1
        topic = random.choice(self.world.topics)
        filler = "x" * random.randrange(60)
        text = f'{{"p":{self.number},"n":{self.next},"x":"{filler}"}}'
        return topic, message_id(self.number, self.next), text.encode()

    def port(self):
        return random.choice(self.world.ports)

    def rest(self):
        """What was under way through the other node is over by then."""
        time.sleep(0.5)

    def done(self):
        return len(self.acked) + self.unknown


class OneByOne(Publisher):
    """Sends again, through any node, until it is answered."""

    def publish(self):
        to = None
        for _ in range(self.count):
            topic, name, text = self.make()
            while True:
                try:
                    to = to or http.client.HTTPConnection("127.0.0.1", self.port(), timeout=ANSWER_S)
                    headers = {"Idempotency-Key": f"{self.world.seed}-{name}", "Content-Type": "text/plain"}
                    to.request("POST", f"/topics/{topic}/messages", text, headers)
                    answer = to.getresponse()
                    told = answer.read()
                    if answer.status == 200:
                        self.acked[name] = (topic, json.loads(told)["offset"])
                        break
                    self.world.errors[f"{answer.status} {told.decode().strip()}"] += 1
                except (OSError, http.client.HTTPException):
                    pass
                to = None
                time.sleep(0.1)


class Batches(Publisher):
    """What was not answered is left."""

    def publish(self):
        to = None
        while self.next < self.count:
            lines = [self.make() for _ in range(min(BATCH, self.count - self.next))]
            body = b"".join(b'{"topic":"%s","data":%s}\n' % (topic.encode(), text) for topic, _, text in lines)
            answers = []
            try:
                to = to or http.client.HTTPConnection("127.0.0.1", self.port(), timeout=ANSWER_S)
                to.request("POST", "/messages", body, {"Content-Type": "application/x-ndjson"})
                answer = to.getresponse()
                told = answer.read()
                if answer.status == 200:
                    answers = [json.loads(line) for line in told.splitlines()]
                else:
                    self.world.errors[f"{answer.status} {told.decode().strip()}"] += 1
            except (OSError, http.client.HTTPException, ValueError):
                to = None
                self.rest()
            for (topic, name, _), told in zip(lines, answers):
                if "offset" in told:
                    self.acked[name] = (topic, told["offset"])
                else:
                    self.world.errors[told["error"]] += 1
                    self.unknown += 1
            self.unknown += len(lines) - min(len(lines), len(answers))


class Commands(Publisher):
    """Many under way on one connection. What was not answered is left."""

    def publish(self):
        while self.next < self.count:
            under_way = {}
            try:
                self.converse(under_way)
            except (OSError, Closed, Refused):
                pass
            self.unknown += len(under_way)
            self.rest()

    def converse(self, under_way):
        peer = Peer(self.port(), "/connection/websocket")
        peer.send(TEXT, b'{"id":1,"connect":{}}')
        peer.read()
        while self.next < self.count or under_way:
            while len(under_way) < WINDOW and self.next < self.count:
                topic, name, text = self.make()
                under_way[self.next + 1] = (topic, name)
                command = b'{"id":%d,"publish":{"channel":"%s","data":%s}}' % (self.next + 1, topic.encode(), text)
                peer.send(TEXT, command)
                if len(under_way) % 20 == 0:
                    break
            for line in peer.read()[1].split(b"\n"):
                told = json.loads(line)
                if not told:
                    peer.send(TEXT, b"{}")
                elif told.get("id") in under_way:
                    topic, name = under_way.pop(told["id"])
                    if "publish" in told:
                        self.acked[name] = (topic, 0)
                    else:
                        self.world.errors[f"error {told['error']}"] += 1
                        self.unknown += 1
        peer.close()


class Straight(Publisher):
    """Another program, which sends again by the same id what was not acknowledged."""

    def publish(self):
        nats = Plain(self.world.servers)
        under_way = {}
        while self.next < self.count or under_way:
            try:
                nats.sock.settimeout(3)
                for name, (topic, text) in under_way.items():
                    self.send(nats, topic, name, text)
                while self.next < self.count or under_way:
                    while len(under_way) < WINDOW and self.next < self.count:
                        topic, name, text = self.make()
                        under_way[name] = (topic, text)
                        self.send(nats, topic, name, text)
                        if len(under_way) % 20 == 0:
                            break
                    for subject, _, payload in nats.messages():
                        told = json.loads(payload) if payload else {}
                        name = int(subject.rsplit(".", 1)[-1])
                        if "seq" in told and name in under_way:
                            topic, _ = under_way.pop(name)
                            self.acked[name] = (topic, told["seq"])
                        elif "seq" not in told:
                            self.world.errors[f"NATS: {told.get('error', {}).get('description', 'nobody is there')}"] += 1
                            raise ConnectionError("not stored")
            except OSError:
                time.sleep(0.3)
                nats.connect()

    def send(self, nats, topic, name, text):
        identity = f"straight-{self.world.seed}-{name}".encode()
        nats.publish(f"fanfare.in.{topic}", text, f"{nats.inbox}.{name}", [(b"Nats-Msg-Id", identity)])


def publishers(world, count, rate):
    kinds = [OneByOne, Batches, Commands, Straight]
    return [
        kind(number, world, count * share // 100, rate * share / 100)
        for number, (kind, share) in enumerate(zip(kinds, SHARES))
    ]
