"""A well-behaved publisher and its subscriber, in a process of their own, that talk
while others attack. Started with the port, and that of TLS and a file with the authority
if a second subscriber is to hear over TLS; ends when its input does, and says in JSON how many
messages went through, the longest any took in milliseconds, and what went wrong, if
anything did."""

import json
import pathlib
import ssl
import subprocess
import sys
import threading
import time

PAUSE_S = 0.005


class Witness:
    """The process, from outside."""

    def __init__(self, port, tls_port=None, ca=None):
        command = [sys.executable, __file__, *map(str, [port, tls_port, ca] if tls_port else [port])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n", "the witness could not connect"

    def testify(self):
        said, _ = self.process.communicate()
        return json.loads(said)


def talk(port, tls_port=None, ca=None):
    from peer import TEXT, Peer

    publisher, subscribers = Peer(int(port), "/witness"), [Peer(int(port), "/witness")]
    if tls_port:
        subscribers.append(Peer(int(tls_port), "/witness", tls=ssl.create_default_context(cafile=ca)))
    print("ready", flush=True)
    done = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    messages, worst_s, fault = 0, 0, None
    try:
        while not done.wait(PAUSE_S):
            message = f"message {messages}".encode()
            began = time.monotonic()
            publisher.send(TEXT, message)
            for subscriber in subscribers:
                heard = subscriber.read()
                worst_s = max(worst_s, time.monotonic() - began)
                assert heard == (TEXT, message), f"heard {heard}, not {message}"
            messages += 1
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    print(json.dumps({"messages": messages, "worst_ms": worst_s * 1e3, "fault": fault}))


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    talk(*sys.argv[1:])
