"""Python's `ssl` under the libraries `websockets`, `websocket-client`, `aiohttp` and `httpx-sse` from PyPI.

Which authority is believed stands in SSL_CERT_FILE."""

import asyncio
import json
import os
import ssl
import sys
import threading
import time

from ears import Ears, burst, large

LIBRARY, URL = sys.argv[1:]
AGAIN_S = 0.2
# Two threads tell what happens.
lock = threading.Lock()


def say(value):
    with lock:
        print(json.dumps(value), flush=True)


ears = Ears(say)


class Websockets:
    def connect(self):
        from websockets.sync.client import connect

        # The connection is to outlive a block.
        self.context = connect(URL, max_size=None, compression=None, proxy=None, ssl=ssl.create_default_context())
        self.socket = self.context.__enter__()

    def read(self):
        return self.socket.recv()

    def send(self, text):
        self.socket.send(text)


class WebsocketClient:
    def connect(self):
        from websocket import create_connection

        self.socket = create_connection(URL, sslopt={"ca_certs": os.environ["SSL_CERT_FILE"]}, enable_multithread=True)

    def read(self):
        text = self.socket.recv()
        if not text:
            raise ConnectionError("it has ended")
        return text

    def send(self, text):
        self.socket.send(text)


class Aiohttp:
    """Its loop runs in the thread that reads."""

    session = None

    def connect(self):
        import aiohttp

        self.loop = self.loop if self.session else asyncio.new_event_loop()

        async def connect():
            if self.session:
                await self.session.close()
            self.session = aiohttp.ClientSession()
            return await self.session.ws_connect(URL, max_msg_size=0, ssl=ssl.create_default_context())

        self.socket = self.loop.run_until_complete(connect())

    def read(self):
        return self.loop.run_until_complete(self.socket.receive_str())

    def send(self, text):
        asyncio.run_coroutine_threadsafe(self.socket.send_str(text), self.loop).result()


class HttpxSse:
    def connect(self):
        import httpx
        import httpx_sse

        self.client = httpx.Client(timeout=None, verify=ssl.create_default_context())
        self.events = httpx_sse.connect_sse(self.client, "GET", URL)
        source = self.events.__enter__()
        source.response.raise_for_status()
        self.iterator = source.iter_sse()

    def read(self):
        # A block with an id or a time alone comes as an event without data.
        while not (event := next(self.iterator)).data:
            pass
        return event.data


LIBRARIES = {"websockets": Websockets, "websocket-client": WebsocketClient, "aiohttp": Aiohttp, "httpx-sse": HttpxSse}
wire = LIBRARIES[LIBRARY]()


def listen():
    while True:
        try:
            wire.connect()
            say({"event": "open"})
            while True:
                ears.hear(wire.read())
        except Exception as error:
            say({"event": "waits", "why": f"{type(error).__name__}: {error}"})
            time.sleep(AGAIN_S)


VERBS = {
    "say": lambda name: [name],
    "large": lambda name, length: [large(name, length)],
    "burst": burst,
}
threading.Thread(target=listen, daemon=True).start()
for line in sys.stdin:
    command = json.loads(line)
    number, verb = command.pop("id"), command.pop("do")
    try:
        for text in VERBS[verb](**command):
            wire.send(text)
        say({"reply": number})
    except Exception as error:
        say({"reply": number, "error": f"{type(error).__name__}: {error}"})
os._exit(0)
