#!/usr/bin/env python3
"""check.py NAME WHAT PROXY_PORT FANFARE_PORT: what clients see through a proxy.

WHAT is `passes`: messages and addresses pass; `many`: 200 clients are served, which is
more than there are ports towards one address; `unix`: so they are through a Unix socket;
or `few`: they are not, as the proxy knows only one address.
"""
import asyncio, pathlib, re, sys, time, urllib.error, urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "systemd"))
from client import FAILURES, Client, Closed

name, what, proxy, direct = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
CLIENTS = 200
CHAT = "Sec-WebSocket-Protocol: chat\r\n"
LIE = "X-Forwarded-For: 6.6.6.6\r\n"


def check(what, holds):
    print(f"  {'ok     ' if holds else 'FAILED '} {name}: {what}")
    return bool(holds)


async def welcome(port, source, headers="", first=b""):
    client = await Client().connect("127.0.0.1", port, f"/{source}", source=source, headers=CHAT + headers, first=first)
    text = (await client.receive()).decode()
    return re.fullmatch(r"Welcome, (.*):\d+ !", text)[1]


def status(host):
    """Of the page, for who has called the proxy `host`."""
    request = urllib.request.Request(f"http://127.0.0.1:{proxy}/", headers={"Host": host})
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as refused:
        return refused.code


async def come_up():
    deadline = time.monotonic() + 10
    while True:
        try:
            await Client().connect("127.0.0.1", proxy, "/up", 2)
            break
        except FAILURES:
            assert time.monotonic() < deadline, "the proxy does not come up"
            await asyncio.sleep(0.05)


async def passes():
    good = []
    good.append(check("the page is served", b"Fanfare" in urllib.request.urlopen(f"http://127.0.0.1:{proxy}/").read()))
    good.append(check("a name in hosts is answered to", status("live.example") == 200))
    good.append(check("another name is not, so no page can get there by one", status("evil.example") == 403))
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
    return all(good)


async def client(place):
    """One of many. Towards eight addresses of the proxy their own ports suffice."""
    try:
        return await Client().connect(f"127.0.1.{1 + place % 8}", proxy, "/many", 20)
    except FAILURES:
        return None


async def served():
    """How many of the clients can connect, and hear a message."""
    clients = await asyncio.gather(*map(client, range(CLIENTS)))
    clients = [client for client in clients if client]
    # Its address, with a port, is bound before it connects; so it gets one in any case.
    publisher = await Client().connect("127.0.0.1", direct, "/many", source="127.0.0.9")
    publisher.send(b"hello")
    heard = await asyncio.gather(*(asyncio.wait_for(client.receive(), 10) for client in clients))
    return heard.count(b"hello")


async def main():
    await come_up()
    if what == "passes":
        good = await passes()
    elif what in ("many", "unix"):
        count = await served()
        how = {"many": "one address", "unix": "one address, by a Unix socket"}[what]
        good = check(f"more clients than ports towards {how}: {count} of {CLIENTS}", count == CLIENTS)
    else:
        count = await served()
        good = check(f"with one address alone: {count} of {CLIENTS}, as should be", 30 < count < 70)
    sys.exit(not good)


asyncio.run(main())
