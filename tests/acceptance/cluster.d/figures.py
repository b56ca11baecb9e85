"""Figures of a cluster: how long a message takes, how many there can be, how long coming back takes."""

import http.client
import json
import random
import select
import socket
import statistics
import threading
import time

from clients import Crowd, Raw
from nats import Plain
from peer import BINARY, Peer, frame

WINDOW = 2000
SIZE = 64


def post(port, topic, texts):
    """Publishes texts, which are JSON, and awaits that they are stored."""
    to = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for at in range(0, len(texts), 1000):
        lines = "".join(f'{{"topic":"{topic}","data":{text}}}\n' for text in texts[at : at + 1000])
        to.request("POST", "/messages", lines, {"Content-Type": "application/x-ndjson"})
        answer = to.getresponse()
        told = answer.read()
        assert answer.status == 200 and b"error" not in told, told[:300]


def latency(options):
    """1,000 messages a second, published on one node and heard on another."""
    world = options.world(options.replicas, options.seed, nodes=2)
    try:
        count, rate = (3000 if options.short else 20_000), 1000
        hearer, talker = Peer(world.ports[1], "/latency"), Peer(world.ports[0], "/latency")
        talker.send(BINARY, b"first")
        assert hearer.read()[1] == b"first"
        took, began, sent = [], time.perf_counter_ns(), 0
        hearer.sock.settimeout(None)
        while len(took) < count:
            now = time.perf_counter_ns()
            due = began + sent * 1_000_000_000 // rate
            if sent < count and now >= due:
                talker.send(BINARY, time.perf_counter_ns().to_bytes(8, "big") + bytes(SIZE - 8))
                sent += 1
                continue
            wait_s = max(0.0, (due - now) / 1e9) if sent < count else 60
            if hearer.data or select.select([hearer.sock], [], [], wait_s)[0]:
                payload = hearer.read()[1]
                took.append((time.perf_counter_ns() - int.from_bytes(payload[:8], "big")) / 1e6)
        took.sort()
        p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
        return f"{count} messages at {rate} a second from one node to the other: p50 {p50:.3f} ms, p99 {p99:.3f} ms"
    finally:
        world.remove()


def hear_frames(sock, count, heard):
    """Counts messages of SIZE bytes as they come."""
    size, rest = SIZE + 2, 0
    while heard[0] < count:
        rest += len(sock.recv(1 << 20))
        heard[0] += rest // size
        rest %= size


def through_nodes(ports, count):
    """One connection publishes as fast as another one, of another node, hears."""
    hearer, talker = Peer(ports[1], "/rates"), Peer(ports[0], "/rates")
    talker.send(BINARY, bytes(SIZE))
    assert len(hearer.read()[1]) == SIZE
    heard = [0]
    thread = threading.Thread(target=hear_frames, args=[hearer.sock, count, heard])
    began, sent, burst = time.monotonic(), 0, frame(BINARY, bytes(SIZE)) * 100
    thread.start()
    while sent < count:
        if sent - heard[0] < WINDOW:
            talker.sock.sendall(burst)
            sent += 100
        else:
            time.sleep(0.0005)
    thread.join()
    return count / (time.monotonic() - began)


def through_nats(servers, count, size=SIZE):
    """Plain clients of NATS on two connections: both hear, as two nodes do, and one publishes and awaits
    acknowledgements."""
    talker, hearer = Plain(servers), Plain(servers)
    for plain in (talker, hearer):
        plain.sock.sendall(b"SUB fanfare.out.*.plain 2\r\nPING\r\n")
        while b"PONG" not in plain.buffer:
            plain.fill()

    def counting(plain, words, counts):
        tail, longest = b"", max(map(len, words))
        while min(counts) < count:
            data = tail + plain.sock.recv(1 << 20)
            for at, word in enumerate(words):
                # What was counted with the last piece is not counted again.
                counts[at] += data.count(word) - tail.count(word)
            tail = data[-longest + 1 :]

    # Acknowledged and heard.
    acked = [0, 0]
    threads = [
        threading.Thread(target=counting, args=[talker, [b'"seq":', b"\r\nNats-Sequence:"], acked]),
        threading.Thread(target=counting, args=[hearer, [b"\r\nNats-Sequence:"], [0]]),
    ]
    line = f"PUB fanfare.in.plain {talker.inbox}.a {size}\r\n".encode() + bytes(size) + b"\r\n"
    began, sent = time.monotonic(), 0
    for thread in threads:
        thread.start()
    while sent < count:
        if sent - acked[0] < 1000:
            talker.sock.sendall(line * 100)
            sent += 100
        else:
            time.sleep(0.0005)
    for thread in threads:
        thread.join()
    return count / (time.monotonic() - began)


def rates(options):
    """The two in turn, some times; the medians."""
    world = options.world(options.replicas, options.seed, nodes=2)
    try:
        count = 20_000 if options.short else 100_000
        nodes, plain = [], []
        for _ in range(3):
            plain.append(through_nats(world.servers, count))
            nodes.append(through_nodes(world.ports, count))
        nodes, plain = statistics.median(nodes), statistics.median(plain)
        return f"{nodes:,.0f} messages a second from node to node, {plain:,.0f} by plain clients of NATS: {nodes / plain:.2f} times"
    finally:
        world.remove()


def come_back(ports, at, count, places, newest):
    """Clients that come to one node, each from its place; the time until the last has heard the newest message."""
    crowd = Crowd(ports, [])
    epoch, offsets = places
    crowd.clients = [Raw(crowd, [f"back{number % len(offsets)}"]) for number in range(count)]
    for number, client in enumerate(crowd.clients):
        since = offsets[number % len(offsets)]
        client.sub.begin(epoch, since[random.randrange(len(since) - 10, len(since) - 1)] + 1)
    began = time.monotonic()
    waiting = set(crowd.clients)
    for client in crowd.clients:
        client.open(at)
        crowd.turn(0)
    while waiting:
        crowd.turn(0.02)
        waiting = {client for client in waiting if client.sub.last < newest[client.sub.topic]}
        assert time.monotonic() - began < 120, f"{len(waiting)} have not come back"
    took = time.monotonic() - began
    faults = [fault for client in crowd.clients for fault in client.sub.faults] + list(crowd.refusals)
    assert not faults, faults[:3]
    for client in crowd.clients:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        client.sock.close()
    return took


def resume(options):
    """Many come back with some messages missed: to the node that they were on, and to one that has never heard of their topics."""
    count, topics = (1000, 10) if options.short else (10_000, 100)
    same, other = [], []
    world = options.world(options.replicas, options.seed, nodes=2)
    try:
        for number in range(topics):
            # The first node has readers.
            keep = Peer(world.ports[0], f"/back{number}")
            world.errors[keep] += 1
            post(world.ports[0], f"back{number}", [f'{{"p":0,"n":{n}}}' for n in range(1, 51)])
        found = Plain(world.servers).read_all()
        offsets = [[offset for topic, offset, _ in found if topic == f"back{number}"] for number in range(topics)]
        newest = {f"back{number}": of_topic[-1] for number, of_topic in enumerate(offsets)}
        peer = Peer(world.ports[0], "/back0?hello=true")
        epoch = json.loads(peer.read()[1])["hello"]["epoch"]
        places = (epoch, offsets)
        for _ in range(3):
            same.append(come_back(world.ports, 0, count, places, newest))
            other.append(come_back(world.ports, 1, count, places, newest))
        ratio = other[0] / statistics.median(same)
        shown = [" / ".join(f"{took:.2f}" for took in all_of) for all_of in (same, other)]
        return f"{count} clients on {topics} topics: {shown[0]} s on the same node, {shown[1]} s on another one; the first time there {ratio:.2f} times"
    finally:
        world.remove()
