// `pusher-js` from npm in Chromium.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { session } from "./pusher_session.mjs";

const require = createRequire(join(process.env.CLIENT_MODULES, "package.json"));
const { chromium } = require("playwright-core");
const ARGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync";

const [host, port, key, secret, user] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ARGS.split(" ") });
const page = await browser.newPage();
// A page of the daemon's own host may connect; the built-in one is not wanted.
await page.goto(`http://${host}:${port}/healthz`);
await page.addScriptTag({ path: join(process.env.CLIENT_MODULES, "node_modules/pusher-js/dist/web/pusher.js") });
await page.exposeFunction("say", (value) => process.stdout.write(`${JSON.stringify(value)}\n`));
await page.evaluate(
  ([text, options]) => {
    const session = new Function(`return ${text}`)();
    window.obey = session(window.Pusher, options, window.say);
  },
  [session.toString(), { host, port: Number(port), key, secret, user }],
);
for await (const line of createInterface({ input: process.stdin })) {
  page.evaluate((command) => void window.obey(command), JSON.parse(line));
}
await browser.close();
process.exit(0);
