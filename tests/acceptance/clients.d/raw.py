"""Independent WebSocket clients talk with the real daemon, byte for byte.

Each client sends messages of every kind and size to a topic and hears them again
(`?echo=true`); a second, plain subscriber hears them too; then that one sends them
all, and the client hears them. So every message crosses from compressed to plain
and back. What is heard must be what was sent, to the byte."""

import hashlib
import json
import pathlib
import random
import subprocess
import tempfile
import threading

import libraries
from daemon import Daemon
from peer import BINARY, TEXT, Peer

SIZES = [0, 125, 126, 65_535, 65_536, 8 << 20]
# Nothing here measures speed: this only ends a run that would hang.
PATIENCE_S = 120

LIMITS = "--message-bytes-max 8MiB --log-bytes-max 128MiB --lag-bytes-max 64MiB --cores 2".split()

# Client, its mode, the daemon's `deflate`, and what the server must have agreed to.
DEFLATE = "permessage-deflate; server_no_context_takeover"
ALONE = f"{DEFLATE}; client_no_context_takeover"
RUNS = [
    ("websockets", "plain", "on", None),
    ("websockets", "deflate", "on", ALONE),
    ("websockets", "small window", "on", f"{ALONE}; server_max_window_bits=10"),
    ("websockets", "deflate", "takeover", DEFLATE),
    ("websocket-client", "plain", "on", None),
    ("ws", "plain", "on", None),
    ("ws", "deflate", "on", ALONE),
    ("ws", "small window", "on", f"{ALONE}; server_max_window_bits=10"),
    ("ws", "deflate", "takeover", DEFLATE),
    ("chromium", "plain", "off", None),
    ("chromium", "deflate", "on", ALONE),
    ("chromium", "deflate", "takeover", DEFLATE),
]


def run():
    """Right messages, one on one of the three ways, and those that were not."""
    here, python = libraries.HERE, libraries.PYTHON
    commands = {
        "websockets": [python, here / "websockets_client.py"],
        "websocket-client": [python, here / "websocket_client.py"],
        "ws": ["node", here / "ws.mjs"],
        "chromium": ["node", here / "chromium.mjs"],
    }
    passed = failed = 0
    print("| client | mode | daemon's deflate | agreed | heard by another | heard again | heard from another |")
    print("|---|---|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        messages = make_messages(pathlib.Path(folder))
        for client, mode, deflate, agreed in RUNS:
            daemon = Daemon("--deflate", deflate, *LIMITS)
            ways, said, faults = exchange(daemon, commands[client], mode, agreed, messages)
            status = daemon.stop()
            if status != 0:
                faults.append(f"the daemon ended with {status}")
            cells = "".join(f" {right}/{len(messages)} |" for right in ways)
            print(f"| {client} | {mode} | {deflate} | {said or 'no compression'} |{cells}", flush=True)
            for fault in faults:
                print(f"FAILED: {client}, {mode}, deflate {deflate}: {fault}")
            passed += sum(ways)
            # A run that went wrong otherwise, as in its handshake, fails as one more.
            wrong = 3 * len(messages) - sum(ways)
            failed += wrong or (1 if faults else 0)
    return passed, failed


def make_messages(folder):
    """Files with text and binary of every size, what shrinks and what does not."""
    dice = random.Random(7692)
    messages = []
    for size in SIZES:
        # All lengths of UTF-8 sequences, and filled up to the exact byte.
        phrase = "fanfare for the common crowd: größer, ♫ 日本語, 🎺. ".encode()
        text = (phrase * (size // len(phrase))).ljust(size, b".")
        kinds = {"text": text, "binary": dice.randbytes(size), "zeros.binary": bytes(size)}
        for kind, data in kinds.items():
            path = folder / f"{size}.{kind}"
            path.write_bytes(data)
            messages.append((path, TEXT if kind == "text" else BINARY, data))
    return messages


def exchange(daemon, command, mode, agreed, messages):
    """Right messages on each of the three ways, what was agreed, and the faults."""
    ways, said, faults = [0, 0, 0], None, []
    other = Peer(daemon.port, "/clients")
    files = [path for path, *_ in messages]
    client = subprocess.Popen(
        [*command, f"{daemon.ws}clients?echo=true", mode, *files], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    patience = threading.Timer(PATIENCE_S, client.kill)
    patience.start()
    # With the client gone there is nothing more to wait for.
    threading.Thread(target=lambda: (client.wait(), other.hang_up())).start()

    def line():
        said = client.stdout.readline()
        if not said:
            raise EOFError("the client ended early")
        return json.loads(said)

    def check(way, path, heard, wanted):
        ways[way] += heard == wanted
        if heard != wanted:
            faults.append(f"{path.name} came as {str(heard)[:100]}")

    try:
        said = line()
        # Libraries tell it as it came or put together anew; the parts count.
        if not agrees(said, agreed):
            faults.append(f"agreed to {said}, not to {agreed}")
        for path, opcode, data in messages:
            check(0, path, other.read() == (opcode, data), True)
            check(1, path, line(), expected(opcode, data))
        for path, opcode, data in messages:
            other.send(opcode, data)
            check(2, path, line(), expected(opcode, data))
        status = client.wait()
        if status != 0:
            faults.append(f"the client ended with {status}")
        if agreed and not daemon.metrics()["deflated_messages_total"]:
            faults.append("nothing went out compressed")
    except Exception as error:
        faults.append(f"{type(error).__name__}: {error}")
    finally:
        patience.cancel()
        client.kill()
        client.wait()
    return ways, said, faults


def expected(opcode, data):
    return [opcode == TEXT, len(data), hashlib.sha256(data).hexdigest()]


def agrees(said, agreed):
    if said == "permessage-deflate" and agreed:
        return True
    parts = lambda value: {part.strip() for part in (value or "").split(";")}
    return parts(said) == parts(agreed)
