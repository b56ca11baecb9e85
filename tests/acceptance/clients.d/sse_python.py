"""`httpx-sse` from PyPI, coming back as its page tells one to."""

import json
import os
import sys
import threading
import time

import httpx
import httpx_sse

URL = sys.argv[1]


def say(value):
    print(json.dumps(value), flush=True)


def read():
    last, wait_ms = "", 1000
    with httpx.Client(timeout=None) as client:
        while True:
            headers = {"Last-Event-ID": last} if last else {}
            try:
                with httpx_sse.connect_sse(client, "GET", URL, headers=headers) as source:
                    source.response.raise_for_status()
                    say({"event": "open"})
                    for event in source.iter_sse():
                        last = event.id or last
                        wait_ms = event.retry or wait_ms
                        # A block with an id or a time alone comes as an event without data.
                        if event.data:
                            say({"event": "heard", "name": event.event, "data": event.data, "id": event.id})
            except httpx.TransportError:
                pass
            say({"event": "waits"})
            time.sleep(wait_ms / 1000)


threading.Thread(target=read, daemon=True).start()
sys.stdin.read()
os._exit(0)
