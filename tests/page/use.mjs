// The panel "Use it from …" of the built-in page: each of its lines is run as it stands there.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";

import { Daemon, expect, fits, live, modules, picture, proxyBelow, reads, tab, until } from "./world.mjs";

const ALL = ["curl", "Shell", "WebSocket", "Centrifugo's client", "pusher-js", "Laravel Echo", "EventSource"];
// Quotes, what ends a script, what proxies change, and what is no letter of ASCII.
const ODD = `it's "a"/b </script> 100% grün`;

export async function world(browser) {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-use-"));
  writeFileSync(join(folder, "secret"), "app-secret");
  symlinkSync(join(modules, "node_modules"), join(folder, "node_modules"));
  const apps = ["", "shop/"].map((prefix, at) => `id = "${at}", key = "key-${at}", secret_files = "${folder}/secret", prefix = "${prefix}"`);
  // With an app the others may do what they may without settings only if that is said.
  const daemon = await Daemon.withAdmin(...apps.flatMap((app) => ["--apps", app]), "--anonymous", 'match = "**", publish = true');
  await daemon.start();
  return { browser, daemon, folder, knocks: 0 };
}

export const tests = {
  "the panel has what the server offers, and no more": async ({ browser, daemon }) => {
    const visitor = await open(browser, daemon, "scores");
    expect(await names(visitor), ALL.join());
    await visitor.page.close();
    const bare = await new Daemon("--centrifugo", "off", "--event-streams", "off").start();
    const other = await open(browser, bare, "scores");
    expect(await names(other), "Shell,WebSocket");
    await other.page.close();
    await bare.kill();
  },

  "each way that the panel shows hears what is published": async (world) => {
    const visitor = await open(world.browser, world.daemon, "scores");
    for (const name of ALL) {
      await hears(world, "scores", name, await lines(visitor, name));
    }
    await visitor.page.close();
  },

  "a topic with an odd name is heard too": async (world) => {
    const visitor = await open(world.browser, world.daemon, ODD);
    // No channel of the Pusher Channels protocol has such a name.
    expect(await names(visitor), ALL.filter((name) => !["pusher-js", "Laravel Echo"].includes(name)).join());
    for (const name of ["curl", "Shell", "WebSocket", "Centrifugo's client", "EventSource"]) {
      await hears(world, ODD, name, await lines(visitor, name));
    }
    await visitor.page.close();
  },

  "a topic of an app's prefix is a channel of that app": async (world) => {
    const visitor = await open(world.browser, world.daemon, "shop/orders");
    for (const name of ["pusher-js", "Laravel Echo"]) {
      const code = await lines(visitor, name);
      expect(code.includes('"key-1"') && code.includes('"orders"'), true);
      await hears(world, "shop/orders", name, code);
    }
    await visitor.page.close();
  },

  "each way that the panel shows for publishing is heard": async (world) => {
    const visitor = await open(world.browser, world.daemon, "said");
    const heard = () => visitor.page.locator("#log li", { hasText: "hello" }).count();
    for (const [name, publish] of [
      ["curl", (code) => ended(world, commands(code)[1])],
      ["Shell", (code) => ended(world, commands(code)[1])],
      ["WebSocket", (code) => inBrowser(world, code)],
    ]) {
      const before = await heard();
      const end = await publish(await lines(visitor, name));
      await until(`the page hears what ${name} publishes`, async () => (await heard()) > before);
      await end?.();
    }
    await visitor.page.close();
  },

  "below a path of a proxy the lines lead there": async (world) => {
    const proxy = await proxyBelow("/live", world.daemon);
    const visitor = await open(world.browser, { url: `${proxy.url}/live/` }, "scores");
    for (const name of ["WebSocket", "Centrifugo's client", "EventSource"]) {
      const code = await lines(visitor, name);
      expect(code.includes(`${new URL(proxy.url).host}/live/`), true);
    }
    expect((await lines(visitor, "pusher-js")).includes('wsPath: "/live"'), true);
    await hears(world, "scores", "pusher-js", await lines(visitor, "pusher-js"));
    await visitor.page.close();
    proxy.close();
  },

  "the button copies the lines": async ({ browser, daemon }) => {
    const visitor = await open(browser, daemon, "scores");
    await visitor.page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    const code = await lines(visitor, "EventSource");
    await visitor.page.click("#use-copy");
    await visitor.page.waitForFunction(() => document.getElementById("use-copy").textContent === "Copied");
    expect(await visitor.page.evaluate(() => navigator.clipboard.readText()), code);
    await visitor.page.close();
  },

  "on a phone the panel fits, and leaves room for what is said": async ({ browser, daemon }) => {
    const visitor = await open(browser, daemon, "scores");
    await daemon.post("scores", '{"home":1,"guest":0}');
    await reads(visitor, '"guest":0');
    await lines(visitor, "WebSocket");
    await picture(visitor.page, "use-it-from");
    await visitor.page.setViewportSize({ width: 360, height: 640 });
    for (const name of ALL) {
      await lines(visitor, name);
      await fits(visitor.page);
      const { height } = await visitor.page.locator("#log").boundingBox();
      expect(height > 60, true);
    }
    await visitor.page.close();
    expect(visitor.faults.join("\n"), "");
  },

  "what was made for this is taken away": async ({ folder }) => rmSync(folder, { recursive: true }),
};

// ---- The panel --------------------------------------------------------------

async function open(browser, { url }, topic) {
  const visitor = await tab(browser, `${url}#${encodeURIComponent(topic)}`);
  await live(visitor);
  const [offer] = await Promise.all([
    visitor.page.waitForResponse((answer) => answer.url().endsWith("/fanfare.json")),
    visitor.page.click("#use summary"),
  ]);
  await offer.finished();
  // Until the page has read it, too.
  await visitor.page.evaluate(() => fetch("./fanfare.json").then((answer) => answer.json()));
  return visitor;
}

const names = async ({ page }) => (await page.locator("#use-from label").allTextContents()).join();

async function lines({ page }, name) {
  await page.locator("#use-from label", { hasText: name }).click();
  return page.textContent("#use-code");
}

// ---- Running what it shows --------------------------------------------------

// Runs the lines, and publishes until they show it.
async function hears(world, topic, name, code) {
  const heard = [];
  const show = (text) => heard.push(text);
  const end = await listen(world, name, code, show);
  try {
    await until(`${name} shows what is published`, async () => {
      world.knocks += 1;
      await world.daemon.post(topic, `knock ${world.knocks}`);
      return heard.join("").includes("knock ");
    });
  } catch (error) {
    throw new Error(`${error.message}; it showed: ${heard.join("")}`);
  } finally {
    await end();
  }
}

function listen(world, name, code, show) {
  switch (name) {
    case "curl":
    case "Shell":
      return started(world, "sh", ["-euc", `exec ${commands(code)[0]}`], show);
    case "WebSocket":
    case "EventSource":
      return inBrowser(world, code, show);
    default: {
      const file = join(world.folder, "lines.mjs");
      writeFileSync(file, code);
      // Browsers and Node from 22 on have a WebSocket of their own.
      return started(world, "node", ["--experimental-websocket", "--no-warnings", file], show);
    }
  }
}

const commands = (code) => code.split("\n").filter((line) => !line.startsWith("#"));

function start({ folder }, program, words) {
  const path = [dirname(resolve(process.env.FANFARE_BIN)), process.env.PATH].join(delimiter);
  return spawn(program, words, { cwd: folder, env: { ...process.env, PATH: path }, stdio: ["ignore", "pipe", "pipe"] });
}

function started(world, program, words, show) {
  const child = start(world, program, words);
  child.stdout.on("data", show);
  child.stderr.on("data", show);
  return async () => {
    const exit = child.exitCode === null && child.signalCode === null ? once(child, "exit") : null;
    child.kill("SIGKILL");
    await exit;
  };
}

async function ended(world, command) {
  const child = start(world, "sh", ["-euc", command]);
  const said = [];
  child.stdout.on("data", (text) => said.push(text));
  child.stderr.on("data", (text) => said.push(text));
  const [code] = await once(child, "exit");
  if (code !== 0) {
    throw new Error(`${command} ended with ${code}: ${said.join("")}`);
  }
}

// In a page of the daemon's host that is not the built-in one, whose policy lets in no script.
async function inBrowser({ browser, daemon }, code, show = () => {}) {
  const page = await browser.newPage();
  page.on("console", (message) => show(message.text()));
  page.on("pageerror", (error) => show(error.message));
  await page.goto(`${daemon.url}healthz`);
  await page.addScriptTag({ content: code });
  return () => page.close();
}
