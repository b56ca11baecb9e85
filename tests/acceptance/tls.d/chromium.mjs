// Chromium's own WebSocket and EventSource over TLS, on a page that came over TLS as well.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { talker } from "./talker.mjs";

const { chromium } = createRequire(join(process.env.CLIENT_MODULES, "package.json"))("playwright-core");
const ARGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync";

const [kind, url, spki] = process.argv.slice(2);
const args = [...ARGS.split(" "), `--ignore-certificate-errors-spki-list=${spki}`];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args });
const page = await browser.newPage();
// A page of the daemon's own host may connect; the built-in one is not wanted.
await page.goto(new URL("/healthz", url.replace(/^ws/, "http")).href);
await page.exposeFunction("say", (value) => process.stdout.write(`${JSON.stringify(value)}\n`));
await page.evaluate(
  ([text, kind, url]) => {
    const talker = new Function(`return ${text}`)();
    const kinds = {
      websocket(on) {
        const socket = new WebSocket(url);
        socket.onopen = on.opened;
        socket.onmessage = ({ data }) => on.heard(data);
        socket.onclose = on.closed;
        return (text) => socket.send(text);
      },
      eventsource(on) {
        const source = new EventSource(url);
        source.onopen = on.opened;
        source.onerror = on.waits;
        for (const name of ["message", "client-said"]) {
          source.addEventListener(name, ({ data }) => on.heard(data));
        }
      },
    };
    window.obey = talker(kinds[kind], window.say);
  },
  [talker.toString(), kind, url],
);
for await (const line of createInterface({ input: process.stdin })) {
  page.evaluate((command) => void window.obey(command), JSON.parse(line));
}
await browser.close();
process.exit(0);
