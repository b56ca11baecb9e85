"""What every client program does, for those in Python.

Arguments: the URL, the mode, and the files with the messages, `*.text` or
`*.binary`. It says on standard output, a JSON value a line: the extensions that
were agreed; then, for each message that it sent and heard again, and after that
for each that somebody else sent, `[text or not, length, SHA-256]`."""

import hashlib
import json
import pathlib
import sys


class Script:
    def __init__(self):
        self.url, self.mode, *files = sys.argv[1:]
        self.messages = [(name.endswith(".text"), pathlib.Path(name).read_bytes()) for name in files]

    def opened(self, extensions):
        say(extensions)

    def run(self, send, hear):
        for text, data in self.messages:
            send(text, data)
            tell(*hear())
        for _ in self.messages:
            tell(*hear())


def tell(text, data):
    say([text, len(data), hashlib.sha256(data).hexdigest()])


def say(value):
    print(json.dumps(value), flush=True)
