// The daemon under test, and those who visit it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { createServer as createListener } from "node:net";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const modules = process.env.PAGE_TEST_MODULES;
const { chromium } = createRequire(join(modules, "package.json"))("playwright-core");

// Nothing here is a measure of speed: this only ends a test that would hang.
export const PATIENCE_MS = 30_000;
const ARGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync";

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM, args: ARGS.split(" ") });

export class Daemon {
  listen = "127.0.0.1:0";
  admin = "off";

  constructor(...options) {
    this.options = options;
  }

  // With an address of its own for everything that is not public.
  static async withAdmin(...options) {
    const daemon = new Daemon(...options);
    daemon.admin = `127.0.0.1:${await freePort()}`;
    daemon.adminUrl = `http://${daemon.admin}/`;
    return daemon;
  }

  // The daemon says where it listens; the next start takes the same port.
  async start() {
    const where = ["--listen", this.listen, "--admin", this.admin, "--log", "warn"];
    this.process = spawn(process.env.FANFARE_BIN, ["serve", ...where, ...this.options], { stdio: ["ignore", "pipe", "inherit"] });
    this.exit = once(this.process, "exit");
    const lines = createInterface({ input: this.process.stdout });
    const said = once(lines, "line").then(([line]) => line);
    const line = await Promise.race([said, this.exit.then(() => "")]);
    const found = /^listening on (http:\/\/(127\.0\.0\.1:\d+)\/)$/.exec(line);
    if (!found) {
      throw new Error(`the daemon did not say where it listens, but: ${line || "nothing, it ended"}`);
    }
    [, this.url, this.listen] = found;
    return this;
  }

  // Publishes over HTTP.
  async post(topic, message, headers = {}) {
    const url = `${this.adminUrl}topics/${encodeURIComponent(topic)}/messages`;
    const answer = await fetch(url, { method: "POST", body: message, headers });
    expect(answer.status, 200);
    await answer.arrayBuffer();
  }

  async kill() {
    this.process.kill("SIGKILL");
    await this.exit;
  }
}

async function freePort() {
  const listener = createListener().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  await once(listener, "close");
  return port;
}

// Tries until it is so.
export async function until(what, holds) {
  const end = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (performance.now() > end) {
      throw new Error(`never: ${what}`);
    }
    await new Promise((done) => setTimeout(done, 50));
  }
}

// A proxy that takes `path` away, as the guide says.
export async function proxyBelow(path, daemon) {
  const [host, port] = daemon.listen.split(":");
  const pass = (asked) => request({ host, port, method: asked.method, path: asked.url.slice(path.length), headers: asked.headers });
  const server = createServer((asked, answer) => {
    if (!asked.url.startsWith(`${path}/`)) {
      answer.writeHead(404).end();
      return;
    }
    const passed = pass(asked);
    passed.on("response", (got) => got.pipe(answer.writeHead(got.statusCode, got.headers)));
    asked.pipe(passed);
  });
  const sockets = new Set();
  server.on("upgrade", (asked, socket) => {
    sockets.add(socket);
    const passed = pass(asked);
    passed.on("upgrade", (got, upstream, first) => {
      const fields = got.rawHeaders.map((word, at) => word + (at % 2 === 0 ? ": " : "\r\n")).join("");
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n`);
      socket.write(first);
      upstream.pipe(socket).pipe(upstream);
      // Who is killed breaks its connection off.
      socket.on("error", () => upstream.destroy());
      upstream.on("error", () => socket.destroy());
    });
    passed.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    // Breaks all WebSockets off, without a word.
    cut: () => sockets.forEach((socket) => socket.destroy()),
    close: () => server.closeAllConnections() ?? server.close(),
  };
}

export async function tab(browser, url, options = { viewport: { width: 960, height: 600 } }) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const faults = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    // While the daemon is away, the browser itself complains of each attempt.
    if (message.type() === "error" && !message.text().startsWith("WebSocket connection to")) {
      faults.push(message.text());
    }
  });
  await page.goto(url);
  return { browser, page, faults };
}

export const live = ({ page }) => page.waitForSelector("body[data-state=live]");

export async function address({ page }) {
  await page.waitForFunction(() => document.getElementById("me").textContent !== "");
  return (await page.textContent("#me")).replace("you are ", "");
}

export async function say({ page }, text) {
  await page.fill("#say", text);
  await page.press("#say", "Enter");
}

export async function reads({ page }, text) {
  const line = page.locator("#log li", { hasText: text }).last();
  await line.waitFor();
  return line;
}

export const publish = ({ page }, url, messages) =>
  page.evaluate(
    ([url, messages]) =>
      new Promise((done, failed) => {
        const socket = new WebSocket(url);
        socket.onerror = failed;
        socket.onclose = done;
        socket.onopen = () => {
          messages.forEach((message) => socket.send(message));
          socket.close();
        };
      }),
    [url, messages],
  );

export function expect(seen, wanted) {
  if (seen !== wanted) {
    throw new Error(`expected ${JSON.stringify(wanted)}, saw ${JSON.stringify(seen)}`);
  }
}

// ---- Pictures ---------------------------------------------------------------

const WIDTHS = { 390: 844, 1100: 760 };

// A picture in each width, light and dark, if a folder for them is named; `whole`: all of the
// page, however long.
export async function picture(page, name, whole = false) {
  const folder = process.env.PICTURES;
  const before = page.viewportSize();
  for (const [width, height] of folder ? Object.entries(WIDTHS) : []) {
    await page.setViewportSize({ width: Number(width), height });
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: join(folder, `${name}-${width}-${colorScheme}.png`), fullPage: whole });
    }
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize(before);
}

// Nothing is wider than the window.
export async function fits(page) {
  const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  expect(wide <= room, true);
}
