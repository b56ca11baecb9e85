"""Those who speak and listen at the meeting: client programs, and plain WebSockets.

A client program reads commands and tells what happens, a JSON value a line:
`{"id": 1, "do": "publish", …}` is answered by `{"reply": 1, …}`, with `error` if it
failed; `{"event": "heard", …}` and its like come by themselves."""

import base64
import json
import re
import subprocess
import threading
import time

from peer import BINARY, TEXT, Closed, Peer

# Nothing here measures speed: this only ends a run that would hang.
PATIENCE_S = 90
NAMED = re.compile(rb"[a-z-]+#\d+")


class Failed(Exception):
    """A client program answered with an error."""


def until(what, reached):
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.005)


class Program:
    """A client program."""

    def __init__(self, name, kind, command):
        self.name, self.kind = name, kind
        # What it has heard of the meeting, and everything else that it told by itself.
        self.heard, self.events = [], []
        self._replies, self._number, self._news = {}, 0, threading.Condition()
        self._process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self._process.stdout:
            told = json.loads(line)
            with self._news:
                if "reply" in told:
                    self._replies[told["reply"]] = told
                elif told["event"] == "heard":
                    self.heard.append(told)
                else:
                    self.events.append(told)
                self._news.notify_all()
        with self._news:
            self._replies = None
            self._news.notify_all()

    def ask(self, verb, **what):
        with self._news:
            self._number += 1
            number = self._number
        self._process.stdin.write(json.dumps({"id": number, "do": verb, **what}) + "\n")
        self._process.stdin.flush()
        with self._news:
            self._news.wait_for(lambda: self._replies is None or number in self._replies, PATIENCE_S)
            if self._replies is None:
                raise EOFError(f"{self.name} has ended")
            if number not in self._replies:
                raise TimeoutError(f"{self.name} does not answer to {verb}")
            answer = self._replies.pop(number)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def told(self, event):
        return [told for told in self.events if told["event"] == event]

    def end(self):
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Socket:
    """A WebSocket without Centrifugo's protocol: raw, with offsets, or a chat."""

    def __init__(self, name, kind, port, path, headers=()):
        self.name, self.kind, self.heard = name, kind, []
        self.port, self.headers = port, headers
        self.open(path)

    def open(self, path):
        self.ended = None
        self.peer = Peer(self.port, path, self.headers)
        # A reader of its own end: a silent meeting is no fault.
        self.peer.sock.settimeout(None)
        threading.Thread(target=self._listen, args=[self.peer], daemon=True).start()

    def _listen(self, peer):
        try:
            while True:
                self.heard.append(peer.read())
        except (Closed, OSError) as error:
            self.ended = error

    def end(self):
        self.peer.hang_up()


def identity(kind, heard):
    """Which message this is, by the name and number in it; None for what is no member's."""
    data = content(kind, heard)
    if isinstance(data, str) and kind == "json":
        # Bytes come to readers of JSON in base64.
        try:
            data = base64.b64decode(data, validate=True)
        except ValueError:
            pass
    if not isinstance(data, bytes):
        data = json.dumps(data, ensure_ascii=False).encode()
    found = NAMED.search(data)
    return found[0].decode() if found else None


def content(kind, heard):
    """The payload as it came: a JSON value, text, or bytes."""
    if kind in ("json", "protobuf"):
        data = heard["data"]
        return base64.b64decode(data["bytes"]) if isinstance(data, dict) and "bytes" in data else data
    opcode, payload = heard
    if kind == "offsets":
        message = json.loads(payload)
        return base64.b64decode(message["b64data"]) if "b64data" in message else message.get("data", message)
    return payload.decode() if opcode == TEXT else payload


def is_right(kind, heard, sent):
    """Whether a message came as docs/centrifugo.md says; `sent` as `Meeting.compose` gives it."""
    form, value = sent
    data = content(kind, heard)
    if form == "bytes":
        return data == (base64.b64encode(value).decode() if kind == "json" else value)
    if form == "said":
        return isinstance(data, str) and re.fullmatch(r"\d\d:\d\d:\d\d \S+ say: (.*)", data)[1] == value
    if kind == "chat" and data.startswith("[raw] "):
        data = data.removeprefix("[raw] ")
    elif kind == "chat":
        return False
    if kind in ("raw", "chat") and form == "value":
        data = json.loads(data)
    return data == value


__all__ = ["BINARY", "TEXT", "Failed", "Program", "Socket", "identity", "is_right", "until"]
