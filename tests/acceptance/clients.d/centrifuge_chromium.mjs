// `centrifuge` from npm in Chromium, in JSON or with its Protobuf build.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { session } from "./session.mjs";

const require = createRequire(join(process.env.CLIENT_MODULES, "package.json"));
const { chromium } = require("playwright-core");
const ARGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync";

const [url, encoding] = process.argv.slice(2);
const protobuf = encoding === "protobuf";
const build = protobuf ? "centrifuge.protobuf.js" : "centrifuge.js";

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ARGS.split(" ") });
const page = await browser.newPage();
// A page of the daemon's own host may connect; the built-in one is not wanted.
await page.goto(new URL("/healthz", url.replace("ws", "http")).href);
await page.addScriptTag({ path: join(process.env.CLIENT_MODULES, "node_modules/centrifuge/dist", build) });
await page.exposeFunction("say", (value) => process.stdout.write(`${JSON.stringify(value)}\n`));
await page.evaluate(
  ([text, options]) => {
    const session = new Function(`return ${text}`)();
    window.obey = session(window.Centrifuge, options, window.say);
  },
  [session.toString(), { url, protobuf, settings: {} }],
);
for await (const line of createInterface({ input: process.stdin })) {
  page.evaluate((command) => void window.obey(command), JSON.parse(line));
}
await browser.close();
process.exit(0);
