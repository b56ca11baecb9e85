// `pusher-js` from npm in Node; over TLS if the last argument says `secure`.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { session } from "./pusher_session.mjs";

const require = createRequire(join(process.env.CLIENT_MODULES, "package.json"));
const Pusher = require("pusher-js");
const [host, port, key, secret, user, secure] = process.argv.slice(2);

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const obey = session(Pusher, { host, port: Number(port), key, secret, user, secure }, say);
for await (const line of createInterface({ input: process.stdin })) {
  obey(JSON.parse(line));
}
process.exit(0);
