#!/usr/bin/env python3
"""WebSocket clients for the systemd test, with nothing but the standard library.

client.py echo HOST PORT [SECONDS]   until a message comes back, or fails; prints
                                     the milliseconds that took
client.py wait HOST PORT             connects once, and waits to be answered
client.py stall HOST PORT            one subscriber that never reads, until it is ended
client.py hold HOST PORT COUNT       COUNT subscribers and one publisher; obeys
                                     lines on standard input:
                                       publish N   N messages, waits until all have all
                                       hammer P    P publishers send until told to rest
                                       rest        waits until all have all of that
                                       closed      waits until all are closed
                                     and answers each with who is open, who has heard
                                     exactly what was published, and how others ended
client.py fill HOST PORT COUNT BYTES publishes so many messages, and hears them all
client.py history HOST PORT COUNT BYTES  comes later, and still hears them all
client.py freeze TID                 stops one thread of a process for ever

With TRUST, a file of certificates, in the environment they speak TLS to
live.example.com and trust nothing else.
"""
import asyncio, base64, collections, ctypes, json, os, signal, socket, ssl, struct, sys, time

TLS = {}
if "TRUST" in os.environ:
    TLS = {"ssl": ssl.create_default_context(cafile=os.environ["TRUST"]), "server_hostname": "live.example.com"}


class Closed(Exception):
    pass


FAILURES = (Closed, OSError, asyncio.TimeoutError, asyncio.IncompleteReadError)


class Client:
    """One connection."""

    async def connect(self, host, port, path, patience=10, source=None, first=b"", headers=""):
        """From the address `source`, with `first` before the request and `headers` in it."""
        local = source and (source, 0)
        opening = asyncio.open_connection(host, port, local_addr=local, **TLS)
        self.reader, self.writer = await asyncio.wait_for(opening, patience)
        key = base64.b64encode(os.urandom(16)).decode()
        at = f"[{host}]" if ":" in host else host
        self.writer.write(
            first
            + f"GET {path} HTTP/1.1\r\nHost: {at}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{headers}\r\n".encode()
        )
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), patience)
        status = head.split(b"\r\n")[0]
        if b" 101 " not in status:
            raise Closed(status.decode())
        return self

    def send(self, payload, opcode=1):
        """A message of up to 65,535 bytes."""
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        short = len(payload) < 126
        size = bytes([0x80 | len(payload)]) if short else struct.pack(">BH", 0x80 | 126, len(payload))
        self.writer.write(bytes([0x80 | opcode]) + size + mask + masked)

    async def receive(self):
        """The next message; Closed with code and reason at the end."""
        while True:
            head = await self.reader.readexactly(2)
            opcode, size = head[0] & 15, head[1] & 127
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            payload = await self.reader.readexactly(size)
            if opcode == 9:
                self.send(payload, 10)
            elif opcode == 8:
                self.send(payload[:2], 8)
                code = struct.unpack(">H", payload[:2])[0] if size >= 2 else 1005
                raise Closed(f"{code} {payload[2:].decode()}")
            elif opcode in (1, 2):
                return payload


async def echo(host, port, seconds=10):
    began = time.monotonic()
    while True:
        try:
            client = await Client().connect(host, port, "/probe?echo=true", 2)
            client.send(b"ping")
            assert await asyncio.wait_for(client.receive(), 2) == b"ping"
            print(round((time.monotonic() - began) * 1000))
            return
        except FAILURES as error:
            if time.monotonic() - began > seconds:
                sys.exit(f"no answer: {error!r}")
            await asyncio.sleep(0.02)


async def wait(host, port):
    try:
        await Client().connect(host, port, "/waiting", 30)
    except FAILURES as error:
        sys.exit(f"not served: {error!r}")
    print("served")


def stall(host, port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((host, port))
    sock.sendall(
        f"GET /held HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n\r\n".encode()
    )
    assert b" 101 " in sock.recv(64)
    print("stalled", flush=True)
    signal.pause()


def numbered(count, size):
    return [b"%d" % n + b"." * size for n in range(count)]


async def fill(host, port, count, size):
    client = await Client().connect(host, port, "/history?echo=true")
    for message in numbered(count, size):
        client.send(message)
        assert await asyncio.wait_for(client.receive(), 10) == message
    print(count)


async def history(host, port, count, size):
    client = await Client().connect(host, port, "/history?since=1")
    for message in numbered(count, size):
        assert await asyncio.wait_for(client.receive(), 10) == message, message[:10]
    print(count)


async def hold(host, port, count):
    ends, heard, fresh = collections.Counter(), [[] for _ in range(count)], asyncio.Event()

    async def listen(place, client):
        try:
            while True:
                heard[place].append(await client.receive())
                fresh.set()
        except FAILURES as end:
            ends[str(end) if isinstance(end, Closed) else "lost"] += 1
            fresh.set()

    clients = [await Client().connect(host, port, "/held") for _ in range(count)]
    listening = [asyncio.create_task(listen(*pair)) for pair in enumerate(clients)]
    heard.append([])

    async def join():
        client = await Client().connect(host, port, "/held")
        return client, asyncio.create_task(listen(count, client))

    publisher, publishing = await join()
    print("ready", flush=True)
    loop, sent = asyncio.get_running_loop(), []
    hammering, numbers = [], []

    async def hammer(place):
        client = await Client().connect(host, port, "/held")
        while True:
            client.send(b"%d:%d" % (place, numbers[place]))
            numbers[place] += 1
            await asyncio.sleep(0.02)

    async def all_have(wanted):
        deadline = time.monotonic() + 20
        missing = lambda place: len(heard[place]) < wanted and not listening[place].done()
        while any(missing(place) for place in range(count)):
            fresh.clear()
            try:
                await asyncio.wait_for(fresh.wait(), deadline - time.monotonic())
            except asyncio.TimeoutError:
                break

    while line := await loop.run_in_executor(None, sys.stdin.readline):
        word, *rest = line.split()
        if word == "publish":
            if publishing.done():
                publisher, publishing = await join()
            for _ in range(int(rest[0])):
                sent.append(b"%d" % len(sent))
                publisher.send(sent[-1])
            await all_have(len(sent))
        elif word == "hammer":
            numbers[:] = [0] * int(rest[0])
            hammering = [asyncio.create_task(hammer(place)) for place in range(len(numbers))]
        elif word == "rest":
            for task in hammering:
                task.cancel()
            await asyncio.gather(*hammering, return_exceptions=True)
            await all_have(len(sent) + sum(numbers))
            # In one order, each publisher's own kept, nothing lost or doubled.
            news = [message.split(b":") for message in heard[0][len(sent):]]
            for place, number in enumerate(numbers):
                assert [int(n) for p, n in news if int(p) == place] == list(range(number)), place
            sent = heard[0][:]
        elif word == "closed":
            await asyncio.wait([*listening, publishing], timeout=60)
        exact = sum(messages == sent for messages in heard[:count])
        gone = sum(task.done() for task in listening)
        print(json.dumps({"open": count - gone, "exact": exact, "ends": ends}), flush=True)


def freeze(tid):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    PTRACE_SEIZE, PTRACE_INTERRUPT, __WALL = 0x4206, 0x4207, 0x40000000
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if libc.ptrace(request, tid, None, None) != 0:
            sys.exit(f"ptrace: {os.strerror(ctypes.get_errno())}")
    print("frozen", flush=True)
    # Its end, too, has to be taken from us, or the process would linger.
    while os.WIFSTOPPED(os.waitpid(tid, __WALL)[1]):
        pass


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    if command == "freeze":
        freeze(int(words[0]))
    elif command == "stall":
        stall(words[0], int(words[1]))
    else:
        host, port, *numbers = words
        run = {"echo": echo, "hold": hold, "wait": wait, "fill": fill, "history": history}[command]
        asyncio.run(run(host, int(port), *map(int, numbers)))
