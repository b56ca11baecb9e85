// `eventsource` from npm in Node.

import { createRequire } from "node:module";
import { join } from "node:path";

import { listen } from "./eventsource.mjs";

const require = createRequire(join(process.env.CLIENT_MODULES, "package.json"));
const { EventSource } = require("eventsource");

listen(EventSource, process.argv[2], (value) => process.stdout.write(`${JSON.stringify(value)}\n`));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
