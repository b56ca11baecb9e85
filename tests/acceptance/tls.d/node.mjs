// Node over TLS: `ws` and `eventsource` from npm, and a WebSocket by hand over Node's own `tls`.

import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connect as dial } from "node:tls";

import { talker } from "./talker.mjs";

const require = createRequire(join(process.env.CLIENT_MODULES, "package.json"));
const [library, url] = process.argv.slice(2);

function ws(on) {
  const { WebSocket } = require("ws");
  const socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: 0 });
  socket.on("open", on.opened);
  socket.on("message", (data) => on.heard(data.toString()));
  // A close follows.
  socket.on("error", () => {});
  socket.on("close", on.closed);
  return (text) => socket.send(text);
}

function eventsource(on) {
  const { EventSource } = require("eventsource");
  const source = new EventSource(url);
  source.onopen = on.opened;
  source.onerror = on.waits;
  for (const name of ["message", "client-said"]) {
    source.addEventListener(name, ({ data }) => on.heard(data));
  }
}

function tls(on) {
  const { hostname, port, pathname, search } = new URL(url);
  const socket = dial({ host: hostname, port: Number(port), ALPNProtocols: ["http/1.1"] });
  const lines = [`GET ${pathname}${search} HTTP/1.1`, `Host: ${hostname}`, "Upgrade: websocket", "Connection: Upgrade"];
  lines.push(`Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`, "Sec-WebSocket-Version: 13", "", "");
  socket.on("secureConnect", () => socket.write(lines.join("\r\n")));
  const frame = (opcode, payload) => {
    const length = payload.length;
    const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
    head[0] = 0x80 | opcode;
    if (head.length === 2) {
      head[1] = 0x80 | length;
    } else if (head.length === 4) {
      head[1] = 0x80 | 126;
      head.writeUInt16BE(length, 2);
    } else {
      head[1] = 0x80 | 127;
      head.writeBigUInt64BE(BigInt(length), 2);
    }
    // A mask of zeros.
    socket.write(Buffer.concat([head, Buffer.alloc(4), payload]));
  };
  let [pieces, bytes, wanted, open] = [[], 0, 1, false];
  socket.on("data", (data) => {
    pieces.push(data);
    bytes += data.length;
    // What is not whole yet is not put together each time.
    if (bytes < wanted) {
      return;
    }
    let all = Buffer.concat(pieces);
    if (!open) {
      const end = all.indexOf("\r\n\r\n");
      if (end < 0) {
        pieces = [all];
        return;
      }
      if (!all.subarray(0, end).toString().startsWith("HTTP/1.1 101 ")) {
        socket.destroy();
        return;
      }
      open = true;
      all = all.subarray(end + 4);
      on.opened();
    }
    wanted = 1;
    while (all.length >= 2) {
      const short = all[1];
      const head = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (all.length < head) {
        break;
      }
      const length = short < 126 ? short : short === 126 ? all.readUInt16BE(2) : Number(all.readBigUInt64BE(2));
      if (all.length < head + length) {
        wanted = head + length;
        break;
      }
      const [opcode, payload] = [all[0] & 15, all.subarray(head, head + length)];
      all = all.subarray(head + length);
      if (opcode === 9) {
        frame(10, payload);
      } else if (opcode < 3) {
        on.heard(payload.toString());
      }
    }
    [pieces, bytes] = [[all], all.length];
  });
  socket.on("error", () => {});
  socket.on("close", on.closed);
  return (text) => frame(1, Buffer.from(text));
}

const obey = talker({ ws, eventsource, tls }[library], (value) => process.stdout.write(`${JSON.stringify(value)}\n`));
for await (const line of createInterface({ input: process.stdin })) {
  obey(JSON.parse(line));
}
process.exit(0);
