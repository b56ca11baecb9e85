"""Many clients in one process, each with what it has heard of its topics.

They speak three ways: raw with offsets, Centrifugo in JSON, Centrifugo in Protobuf. They
wander between nodes, come back where they left off, and are asked in the end whether
what they have heard is what the stream holds.
"""

import array
import bisect
import json
import pickle
import random
import select
import socket
import struct
import time
import traceback
from collections import Counter

from peer import frame, request

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
PATIENCE_S = 120
PUBLISHERS_MAX = 16


def message_id(publisher, number):
    return number * PUBLISHERS_MAX + publisher


class Subscription:
    """What one client has heard of one topic."""

    __slots__ = ("topic", "epoch", "start", "last", "offsets", "ids", "gaps", "faults")

    def __init__(self, topic):
        self.topic, self.epoch, self.start, self.last = topic, None, None, 0
        self.offsets, self.ids = array.array("Q"), array.array("Q")
        self.gaps, self.faults = [], []

    def begin(self, epoch, next_offset):
        self.epoch, self.start, self.last = epoch, next_offset, next_offset - 1

    def hear(self, offset, data):
        self.offsets.append(offset)
        self.ids.append(message_id(data["p"], data["n"]))
        self.last = offset

    def miss(self, first, last):
        if last >= first:
            self.gaps.append((first, last))
            self.last = max(self.last, last)

    def check(self, truth):
        """What is wrong with it, by the topic's offsets and messages."""
        if self.start is None:
            return ["it never began"]
        offsets, ids = truth
        begin = bisect.bisect_left(offsets, self.start)
        if self.offsets == offsets[begin:] and self.ids == ids[begin:]:
            return self.faults
        faults = list(self.faults)
        backward = [(a, b) for a, b in zip(self.offsets, self.offsets[1:]) if a >= b]
        if backward:
            faults.append(f"a message was doubled or out of order: after {backward[0][0]} came {backward[0][1]}, {len(backward)} times such")
        known = dict(zip(offsets, ids))
        wrong = [o for o, i in zip(self.offsets, self.ids) if known.get(o) != i]
        if wrong:
            faults.append(f"at {wrong[:3]} it heard what the stream does not hold there")
        missing = set(offsets[begin:]) - set(self.offsets)
        silent = [o for o in sorted(missing) if not any(a <= o <= b for a, b in self.gaps)]
        if silent:
            faults.append(f"{len(silent)} were missed and not told, as {silent[:3]} (begun at {self.start}, at {self.last} now)")
        return faults


class Client:
    def __init__(self, crowd, topics):
        self.crowd, self.subs = crowd, {topic: Subscription(topic) for topic in topics}
        self.sock = self.node = None
        self.again = 0.0

    def open(self, node):
        self.node, self.is_open, self.data = node, False, b""
        try:
            self.sock = socket.create_connection(("127.0.0.1", self.crowd.ports[node]), timeout=10)
            self.sock.sendall(request(self.path(), *self.headers))
        except OSError:
            return self.lost()
        self.sock.setblocking(False)
        self.crowd.poll.register(self.sock.fileno(), select.EPOLLIN)
        self.crowd.by_fd[self.sock.fileno()] = self

    def lost(self, delay=None):
        """Its connection is gone; it comes back a little later."""
        if self.sock:
            self.crowd.by_fd.pop(self.sock.fileno(), None)
            self.sock.close()
        self.sock = None
        self.again = time.monotonic() + (random.uniform(0.05, 0.4) if delay is None else delay)
        self.crowd.away.append(self)

    def leave(self):
        if random.random() < 0.5:
            try:
                self.sock.send(frame(CLOSE, struct.pack("!H", 1000)))
            except OSError:
                pass
        self.lost(0)

    def send(self, opcode, payload):
        try:
            if self.sock:
                self.sock.send(frame(opcode, payload))
        except OSError:
            self.lost()

    def read(self):
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self.lost()
        data = self.data + data
        if not self.is_open:
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                self.data = data
                return
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                self.crowd.refusals[head.split(b"\r\n", 1)[0].decode()] += 1
                return self.lost()
            self.is_open, data = True, rest
            self.opened()
        at, size = 0, len(data)
        while size - at >= 2 and self.sock:
            length, body = data[at + 1], at + 2
            if length == 126:
                if size - at < 4:
                    break
                length, body = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                if size - at < 10:
                    break
                length, body = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if size - body < length:
                break
            opcode, payload = data[at] & 15, data[body : body + length]
            at = body + length
            if opcode in (TEXT, BINARY):
                self.handle(payload)
            elif opcode == PING:
                self.send(PONG, payload)
            elif opcode == CLOSE:
                code = int.from_bytes(payload[:2], "big")
                self.crowd.closes[f"node {self.node}: {code} {payload[2:].decode()}"] += 1
                return self.lost()
        if self.sock:
            self.data = data[at:]

    def opened(self):
        pass


class Raw(Client):
    headers = ()

    def __init__(self, crowd, topics):
        super().__init__(crowd, topics[:1])
        (self.sub,) = self.subs.values()

    def path(self):
        place = f"&since={self.sub.last + 1}&epoch={self.sub.epoch}" if self.sub.epoch else ""
        self.since = self.sub.last + 1
        return f"/{self.sub.topic}?hello=true&offsets=true{place}"

    def handle(self, payload):
        told, sub = json.loads(payload), self.sub
        if "offset" in told:
            sub.hear(told["offset"], told["data"])
        elif "hello" in told:
            hello = told["hello"]
            if sub.epoch is None:
                return sub.begin(hello["epoch"], hello["next"])
            if hello["epoch"] != sub.epoch:
                sub.faults.append(f"another epoch: {hello}")
            elif hello["resume"] == "expired":
                sub.miss(self.since, hello["next"] - 1)
            elif hello["resume"] != "exact":
                sub.faults.append(f"not resumed: {hello}, wanted {self.since}")
        elif "gap" in told:
            sub.miss(told["gap"]["from"], told["gap"]["to"])


class Centrifugo(Client):
    """What both forms have in common."""

    def path(self):
        return "/connection/websocket"

    def opened(self):
        self.asked = {}
        self.connect()
        for number, sub in enumerate(self.subs.values(), 2):
            self.ask(number, sub)

    def ask(self, number, sub):
        self.asked[number] = sub
        self.subscribe(number, sub)

    def subscribed(self, number, epoch, offset, recovered, publications):
        sub = self.asked[number]
        if sub.epoch is None:
            return sub.begin(epoch, offset + 1)
        if epoch != sub.epoch:
            sub.faults.append(f"another epoch: {epoch} for {sub.epoch}")
        if not recovered:
            sub.miss(sub.last + 1, offset)
        for offset, data in publications:
            sub.hear(offset, data)

    def ended(self, topic, code):
        self.crowd.closes[f"unsubscribed {code}"] += 1
        self.ask(max(self.asked) + 1, self.subs[topic])

    def refused(self, error):
        self.crowd.refusals[f"error {error}"] += 1
        self.lost()


class CentrifugoJson(Centrifugo):
    headers = ()

    def connect(self):
        self.send(TEXT, b'{"id":1,"connect":{}}')

    def subscribe(self, number, sub):
        terms = {"channel": sub.topic}
        if sub.epoch is not None:
            terms |= {"recover": True, "epoch": sub.epoch, "offset": sub.last}
        self.send(TEXT, json.dumps({"id": number, "subscribe": terms}).encode())

    def handle(self, payload):
        for line in payload.split(b"\n"):
            told = json.loads(line)
            push = told.get("push")
            if push:
                if "pub" in push:
                    self.subs[push["channel"]].hear(push["pub"]["offset"], push["pub"]["data"])
                elif "unsubscribe" in push:
                    self.ended(push["channel"], push["unsubscribe"]["code"])
            elif "subscribe" in told:
                result = told["subscribe"]
                publications = [(pub["offset"], pub["data"]) for pub in result.get("publications", [])]
                recovered = result.get("recovered", False)
                self.subscribed(told["id"], result["epoch"], result.get("offset", 0), recovered, publications)
            elif "error" in told:
                return self.refused(told["error"]["code"])
            elif not told:
                self.send(TEXT, b"{}")


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def number_at(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7


def fields(data):
    """The fields of a Protobuf message, numbers and bytes."""
    at, end = 0, len(data)
    while at < end:
        tag, at = number_at(data, at)
        number, at = number_at(data, at)
        if tag & 7 == 0:
            yield tag >> 3, number
        else:
            yield tag >> 3, data[at : at + number]
            at += number


class CentrifugoProtobuf(Centrifugo):
    headers = ("Sec-WebSocket-Protocol: centrifuge-protobuf",)

    def command(self, body):
        self.send(BINARY, varint(len(body)) + body)

    def connect(self):
        self.command(field(1, 1) + field(4, b""))

    def subscribe(self, number, sub):
        terms = field(1, sub.topic.encode())
        if sub.epoch is not None:
            terms += field(3, 1) + field(6, sub.epoch.encode()) + field(7, sub.last)
        self.command(field(1, number) + field(5, terms))

    def publication(self, data):
        told = dict(fields(data))
        return told[6], json.loads(told[4])

    def handle(self, payload):
        at = 0
        while at < len(payload):
            size, at = number_at(payload, at)
            self.reply(payload[at : at + size])
            at += size

    def reply(self, data):
        told = dict(fields(data))
        if 4 in told:
            push = dict(fields(told[4]))
            topic = push[2].decode()
            if 4 in push:
                self.subs[topic].hear(*self.publication(push[4]))
            elif 7 in push:
                self.ended(topic, dict(fields(push[7])).get(2))
        elif 6 in told:
            parts = list(fields(told[6]))
            result = dict(parts)
            publications = [self.publication(part) for number, part in parts if number == 7]
            epoch = result[6].decode()
            self.subscribed(told[1], epoch, result.get(9, 0), bool(result.get(8)), publications)
        elif 2 in told:
            self.refused(dict(fields(told[2])).get(1))
        elif not told:
            self.command(b"")


KINDS = [Raw, CentrifugoJson, CentrifugoProtobuf]


class Crowd:
    """The clients of one process."""

    def __init__(self, ports, plan):
        self.ports, self.poll = ports, select.epoll()
        self.by_fd, self.away = {}, []
        self.closes, self.refusals = Counter(), Counter()
        self.clients = [KINDS[kind](self, topics) for kind, topics in plan]
        self.wanderings = 0

    def turn(self, wait_s):
        for fd, _ in self.poll.poll(wait_s):
            client = self.by_fd.get(fd)
            if client:
                client.read()
        if self.away:
            now = time.monotonic()
            back, self.away = [c for c in self.away if c.again <= now], [c for c in self.away if c.again > now]
            for client in back:
                client.open(random.randrange(len(self.ports)))

    def wander(self, count):
        for client in random.sample(self.clients, count):
            if client.sock and client.is_open:
                self.wanderings += 1
                client.leave()

    def subs(self):
        return (sub for client in self.clients for sub in client.subs.values())


def run(number, ports, plan, wander_per_s, pipe, seed):
    """A process of clients; `pipe` says when to end, and with what truth."""
    try:
        attend(number, ports, plan, wander_per_s, pipe, seed)
    except Exception:
        pipe.send(traceback.format_exc())


def attend(number, ports, plan, wander_per_s, pipe, seed):
    random.seed(seed * 100 + number)
    crowd = Crowd(ports, plan)
    for client in crowd.clients:
        client.open(random.randrange(len(ports)))
        crowd.turn(0)
    while any(sub.start is None for sub in crowd.subs()):
        crowd.turn(0.05)
    pipe.send("ready")
    due = 0.0
    before = time.monotonic()
    while not pipe.poll():
        crowd.turn(0.02)
        now = time.monotonic()
        due += (now - before) * wander_per_s
        before = now
        if due >= 1:
            crowd.wander(min(int(due), len(crowd.clients)))
            due -= int(due)
    with open(pipe.recv(), "rb") as file:
        truth = pickle.load(file)
    nothing = (array.array("Q"), array.array("Q"))
    deadline = time.monotonic() + PATIENCE_S
    newest = {topic: offsets[-1] for topic, (offsets, _) in truth.items()}
    while any(sub.last < newest.get(sub.topic, 0) for sub in crowd.subs()) and time.monotonic() < deadline:
        crowd.turn(0.05)
    faults = [
        f"{type(client).__name__} on {sub.topic}: {fault}"
        for client in crowd.clients
        for sub in client.subs.values()
        for fault in sub.check(truth.get(sub.topic, nothing))
    ]
    pipe.send({
        "faults": faults,
        "heard": sum(len(sub.offsets) for sub in crowd.subs()),
        "gaps": sum(len(sub.gaps) for sub in crowd.subs()),
        "closes": crowd.closes,
        "refusals": crowd.refusals,
        "wanderings": crowd.wanderings,
    })
