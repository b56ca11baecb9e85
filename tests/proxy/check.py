#!/usr/bin/env python3
"""check.py NAME PROXY_PORT FANFARE_PORT: what a client sees through a proxy."""
import asyncio, pathlib, re, sys, time, urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "systemd"))
from client import FAILURES, Client, Closed

name, proxy, direct = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
CHAT = "Sec-WebSocket-Protocol: chat\r\n"
LIE = "X-Forwarded-For: 6.6.6.6\r\n"


def check(what, holds):
    print(f"  {'ok     ' if holds else 'FAILED '} {name}: {what}")
    return bool(holds)


async def welcome(port, source, headers="", first=b""):
    client = await Client().connect("127.0.0.1", port, f"/{source}", source=source, headers=CHAT + headers, first=first)
    text = (await client.receive()).decode()
    return re.fullmatch(r"Welcome, (.*):\d+ !", text)[1]


async def main():
    deadline = time.monotonic() + 10
    while True:
        try:
            await Client().connect("127.0.0.1", proxy, "/up", 2)
            break
        except FAILURES:
            assert time.monotonic() < deadline, "the proxy does not come up"
            await asyncio.sleep(0.05)
    good = []
    good.append(check("the page is served", b"Fanfare" in urllib.request.urlopen(f"http://127.0.0.1:{proxy}/").read()))
    subscriber = await Client().connect("127.0.0.1", proxy, "/news")
    publisher = await Client().connect("127.0.0.1", proxy, "/news")
    publisher.send(b"hello")
    good.append(check("a message passes", await asyncio.wait_for(subscriber.receive(), 5) == b"hello"))
    good.append(check("a client keeps its address", await welcome(proxy, "127.0.0.7") == "127.0.0.7"))
    good.append(check("a client cannot lend itself another", await welcome(proxy, "127.0.0.8", LIE) == "127.0.0.8"))
    good.append(check("nor without the proxy", await welcome(direct, "127.0.0.9", LIE) == "127.0.0.9"))
    if name.startswith("haproxy"):
        line = b"PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\n"
        for what, source, first in [("who is no proxy cannot play one", "127.0.0.9", line), ("a proxy must tell", None, b"")]:
            try:
                await Client().connect("127.0.0.1", direct, "/x", source=source, first=first)
                good.append(check(what, False))
            except Closed as refused:
                good.append(check(what, " 4" in str(refused) or " 5" in str(refused)))
    sys.exit(not all(good))


asyncio.run(main())
