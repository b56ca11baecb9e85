// Chromium's own WebSocket. What it says and does is told in script.py.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.CLIENT_MODULES, "package.json"))("playwright-core");
const ARGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync";

const [url, , ...files] = process.argv.slice(2);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ARGS.split(" ") });
const page = await browser.newPage();
// A page of the daemon's own host may connect; the built-in one is not wanted.
await page.goto(new URL("/healthz", url.replace("ws", "http")).href);
await page.exposeFunction("say", say);
await page.evaluate(async (url) => {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  const heard = [];
  let wake = () => {};
  socket.onmessage = ({ data }) => {
    heard.push(data);
    wake();
  };
  const failed = new Promise((_, fail) => (socket.onclose = () => fail(new Error("closed"))));
  await Promise.race([failed, new Promise((done) => (socket.onopen = done))]);

  window.extensions = socket.extensions || null;
  window.hear = async () => {
    while (heard.length === 0) {
      await Promise.race([failed, new Promise((done) => (wake = done))]);
    }
    const data = heard.shift();
    const text = typeof data === "string";
    const bytes = text ? new TextEncoder().encode(data) : new Uint8Array(data);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    await window.say([text, bytes.length, Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("")]);
  };
  window.send = (text, base64) => {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    socket.send(text ? new TextDecoder().decode(bytes) : bytes);
  };
}, url);
say(await page.evaluate(() => window.extensions));
for (const file of files) {
  const [text, base64] = [file.endsWith(".text"), readFileSync(file).toString("base64")];
  await page.evaluate(([text, base64]) => (window.send(text, base64), window.hear()), [text, base64]);
}
for (const _ of files) {
  await page.evaluate(() => window.hear());
}
await browser.close();
