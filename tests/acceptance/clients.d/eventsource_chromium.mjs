// Chromium's own EventSource.

import { createRequire } from "node:module";
import { join } from "node:path";

import { listen } from "./eventsource.mjs";

const { chromium } = createRequire(join(process.env.CLIENT_MODULES, "package.json"))("playwright-core");
const ARGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync";

const url = process.argv[2];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ARGS.split(" ") });
const page = await browser.newPage();
// A page of the daemon's own host may read; the built-in one is not wanted.
await page.goto(new URL("/healthz", url).href);
await page.exposeFunction("say", (value) => process.stdout.write(`${JSON.stringify(value)}\n`));
await page.evaluate(
  ([text, url]) => {
    const listen = new Function(`return ${text}`)();
    window.source = listen(window.EventSource, url, window.say);
  },
  [listen.toString(), url],
);
process.stdin.resume();
process.stdin.on("end", async () => {
  await browser.close();
  process.exit(0);
});
