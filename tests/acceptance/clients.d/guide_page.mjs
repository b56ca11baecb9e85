// Opens a page of the guide in Chromium, and writes the lines of its list as they come.
// The page is one of the daemon's host; libraries come from npm, not from the network.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.CLIENT_MODULES, "package.json"));
const { chromium } = require("playwright-core");
const ARGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync";

const [file, host] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ARGS.split(" ") });
const page = await browser.newPage();
await page.exposeFunction("told", (text) => process.stdout.write(`${text}\n`));
await page.route(/^https:\/\/unpkg\.com\/([^@]+)@[\d.]+\//, (route) => {
  const [, name, rest] = /unpkg\.com\/([^@]+)@[\d.]+\/(.*)$/.exec(route.request().url());
  return route.fulfill({ path: join(process.env.CLIENT_MODULES, "node_modules", name, rest) });
});
page.on("pageerror", (error) => process.stdout.write(`${error}\n`));
// In a document that came from the daemon: an intercepted one is no part of the local network.
await page.goto(new URL("/healthz", host).href);
await page.setContent(readFileSync(file, "utf8"));
await page.evaluate(() => {
  const list = document.getElementById("scores");
  new MutationObserver(() => window.told(list.lastElementChild.textContent)).observe(list, { childList: true });
});
// Until it is ended from outside.
process.stdin.resume();
process.stdin.on("end", () => browser.close().then(() => process.exit(0)));
