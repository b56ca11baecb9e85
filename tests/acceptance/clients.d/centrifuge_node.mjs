// `centrifuge` from npm in Node, in JSON or with its Protobuf build.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { session } from "./session.mjs";

const require = createRequire(join(process.env.CLIENT_MODULES, "package.json"));
const [url, encoding] = process.argv.slice(2);
const protobuf = encoding === "protobuf";
const { Centrifuge } = require(protobuf ? "centrifuge/build/protobuf" : "centrifuge");
const { WebSocket } = require("ws");

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const obey = session(Centrifuge, { url, protobuf, settings: { websocket: WebSocket } }, say);
for await (const line of createInterface({ input: process.stdin })) {
  obey(JSON.parse(line));
}
process.exit(0);
