"""The `websocket-client` library from PyPI, which speaks no compression."""

from script import Script
from websocket import ABNF, create_connection

script = Script()
socket = create_connection(script.url, timeout=60)
script.opened(socket.getheaders().get("sec-websocket-extensions"))


def hear():
    opcode, data = socket.recv_data()
    return opcode == ABNF.OPCODE_TEXT, data


script.run(lambda text, data: socket.send(data, ABNF.OPCODE_TEXT if text else ABNF.OPCODE_BINARY), hear)
socket.close()
