"""Programs that carry bytes between their pipes and a connection over TLS, as a socket would.

So a WebSocket can be spoken over the TLS of whoever has such a program."""

import os
import select
import subprocess
import tempfile


class Pipe:
    """The process, with as much of a socket as `Peer` uses. What comes before `begins` is the program's own talk, and
    so is `noise` later on."""

    def __init__(self, command, begins=None, noise=()):
        self.words = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.words, bufsize=0
        )
        self.begins, self.noise = begins, noise
        self.timeout_s, self.before = 60, b""

    def settimeout(self, timeout_s):
        self.timeout_s = timeout_s

    def sendall(self, data):
        view = memoryview(data)
        while view:
            try:
                view = view[self.process.stdin.write(view) :]
            except (BrokenPipeError, ValueError) as error:
                raise ConnectionError("the program has ended") from error

    def recv(self, count):
        while True:
            data = self._read(count)
            if not data:
                return data
            if self.begins:
                self.before += data
                at = self.before.find(self.begins)
                if at < 0:
                    continue
                data, self.begins = self.before[at:], None
            for noise in self.noise:
                data = data.replace(noise, b"")
            if data:
                return data

    def _read(self, count):
        if not select.select([self.process.stdout], [], [], self.timeout_s)[0]:
            raise TimeoutError("nothing came")
        return os.read(self.process.stdout.fileno(), count)

    def said(self):
        """What it told its user."""
        self.words.seek(0)
        return self.words.read().decode(errors="replace")

    def shutdown(self, _=None):
        self.close()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def wait(self, patience_s=10):
        """Until the other side has ended the connection; the exit status."""
        self.timeout_s = patience_s
        while self._read(1 << 16):
            pass
        return self.process.wait(patience_s)
