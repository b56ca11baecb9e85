"""The `websockets` library from PyPI."""

import sys

from script import Script
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

script = Script()
extensions = {
    "plain": [],
    "deflate": [ClientPerMessageDeflateFactory(client_max_window_bits=True)],
    "small window": [ClientPerMessageDeflateFactory(server_max_window_bits=10, client_max_window_bits=10)],
}
with connect(script.url, max_size=None, compression=None, extensions=extensions[script.mode], proxy=None) as socket:
    script.opened(socket.response.headers.get("Sec-WebSocket-Extensions"))

    def hear():
        message = socket.recv()
        return (True, message.encode()) if isinstance(message, str) else (False, message)

    script.run(lambda text, data: socket.send(data.decode() if text else data), hear)
sys.exit(0)
