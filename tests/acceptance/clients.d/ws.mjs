// The `ws` library from npm. What it says and does is told in script.py.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { WebSocket } = createRequire(join(process.env.CLIENT_MODULES, "package.json"))("ws");

const [url, mode, ...files] = process.argv.slice(2);
const modes = {
  plain: false,
  deflate: { threshold: 0 },
  "small window": { threshold: 0, serverMaxWindowBits: 10, clientMaxWindowBits: 10 },
};
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const socket = new WebSocket(url, { perMessageDeflate: modes[mode], maxPayload: 0 });
const send = (file) => socket.send(readFileSync(file), { binary: !file.endsWith(".text") });
const waiting = [...files];
let left = 2 * files.length;

socket.on("open", () => {
  say(socket.extensions || null);
  send(waiting.shift());
});
socket.on("message", (data, binary) => {
  say([!binary, data.length, createHash("sha256").update(data).digest("hex")]);
  left -= 1;
  if (waiting.length > 0) {
    send(waiting.shift());
  }
  if (left === 0) {
    socket.close();
  }
});
socket.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
socket.on("close", () => process.exit(left === 0 ? 0 : 1));
