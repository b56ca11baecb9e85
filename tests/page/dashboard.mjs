// What an operator does with the dashboard, while a small crowd keeps the daemon busy.

import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Daemon, expect, fits, picture, tab, until } from "./world.mjs";

const CONNECTIONS_MAX = 48;
const MARKUP = `<img src=x onerror="document.title='broken'">`;
// Topic, its subscribers, and how many messages a second it has.
const TOPICS = [
  ["scores/football", 12, 50], ["prices.eur-usd", 9, 120], ["prices.eur-gbp", 6, 80], ["chat:lobby", 5, 4],
  ["sensors/roof", 3, 10], ["news", 4, 1], ["presence-office", 1, 0.5], [MARKUP, 1, 1],
];

export async function world(browser) {
  const daemon = await Daemon.withAdmin("--cores", "2", "--connections-max", String(CONNECTIONS_MAX), "--unsent-bytes-max", "64KiB");
  await daemon.start();
  const crowd = new Crowd(daemon);
  for (const [topic, subscribers, perSecond] of TOPICS) {
    for (let one = 0; one < subscribers; one += 1) {
      await crowd.subscribe(topic);
    }
    crowd.publish(topic, perSecond);
  }
  const board = await tab(browser, daemon.adminUrl, { viewport: { width: 1100, height: 760 } });
  return { browser, daemon, crowd, board };
}

export const tests = {
  "the dashboard shows rates, topics and connections by itself": async ({ board }) => {
    await board.page.waitForSelector("body[data-state=ready]");
    await shows(board, "#topics", "prices.eur-usd");
    await tile(board, "deliveries/s", (text) => Number(text.replace(",", "")) > 100);
    await tile(board, "connections", (text) => Number(text) === 41);
    await shows(board, "#cores", "core 1");
  },

  "topics are sorted as asked for, and filtered by name": async ({ board }) => {
    const first = () => board.page.locator("#topics tbody td").first().textContent();
    await until("the busiest is first", async () => (await first()) === "prices.eur-usd");
    await board.page.selectOption("#by", "subscribers");
    await until("the most followed is first", async () => (await first()) === "scores/football");
    await board.page.fill("#filter", "EUR-G");
    await until("one is left", async () => (await board.page.locator("#topics tbody tr").count()) === 1);
    expect(await first(), "prices.eur-gbp");
    await board.page.fill("#filter", "no such topic");
    await shows(board, "#topics", "No topic has such a name.");
    await board.page.fill("#filter", "");
    await board.page.selectOption("#by", "messages");
    await until("the busiest is first again", async () => (await first()) === "prices.eur-usd");
  },

  "a topic's name that looks like markup is text": async ({ board }) => {
    await shows(board, "#topics", MARKUP);
    expect(await board.page.locator("#topics img").count(), 0);
  },

  "who does not read is listed with address, dialect and topic": async ({ board, crowd }) => {
    const { address } = await crowd.stall("sensors/camera");
    await shows(board, "#slowest", address);
    const row = board.page.locator("#slowest tr", { hasText: address });
    expect(await row.locator("td").nth(1).textContent(), "raw");
    expect(await row.locator("td").nth(2).textContent(), "sensors/camera");
  },

  "who is refused or closed is told with the reason": async ({ board, crowd }) => {
    await crowd.misbehave("news");
    await shows(board, "#closes", "mask");
    await crowd.fill(CONNECTIONS_MAX);
    await shows(board, "#refused", "connections_max");
  },

  "beside a warning stands what to do, and the guide's words are in the page": async ({ board }) => {
    const warning = board.page.locator(".warning", { hasText: "connections_max" }).first();
    await warning.waitFor();
    expect((await warning.locator(".next").textContent()).length > 20, true);
    expect((await board.page.title()).startsWith("("), true);
    await warning.locator("button").click();
    await until("the guide's words are there", async () => (await board.page.locator("#words-text").textContent()).length > 100);
    expect((await board.page.textContent("#words-text")).includes("cannot be shown"), false);
    await board.page.click("#words-close");
    expect(await board.page.locator("dialog[open]").count(), 0);
  },

  "each limit says how far it is used, and a setting what it is": async ({ board }) => {
    const limit = board.page.locator("#limits li", { hasText: `of ${CONNECTIONS_MAX}` }).first();
    await limit.waitFor();
    await limit.locator("button").click();
    await shows(board, "#words-text", "Connections in total");
    await board.page.click("#words-close");
  },

  "every link from warnings and headings to the guide leads to words": async ({ board }) => {
    const places = new Set(["docs/operating.md#what-close-codes-mean", "docs/operating.md", "docs/configuration.md"]);
    const lost = [];
    // A set goes on with what is added meanwhile: where the links of these words lead, and so on.
    for (const place of places) {
      const [words, links] = await board.page.evaluate(async (place) => {
        await (await import("./guide.js")).openGuide(place);
        const text = document.getElementById("words-text");
        return [text.textContent, [...text.querySelectorAll("[data-doc]")].map((link) => link.dataset.doc)];
      }, place);
      if (words.length < 20 || words.includes(" cannot be shown: ")) {
        lost.push(`${place}: ${words}`);
      }
      links.forEach((link) => places.add(link));
    }
    await board.page.click("#words-close");
    expect(lost.join("\n"), "");
    expect(places.size > 50, true);
  },

  "in each width nothing is cut off, in light and in dark, and pictures are taken": async ({ board }) => {
    // The curves are about what has been for a while.
    await until("curves are drawn", async () => ((await board.page.locator(".tile .line").first().getAttribute("d")) ?? "").split("L").length > 8);
    await picture(board.page, "dashboard", true);
    for (const width of [360, 390, 768, 1100, 1600]) {
      await board.page.setViewportSize({ width, height: 760 });
      await fits(board.page);
    }
    await board.page.setViewportSize({ width: 1100, height: 760 });
  },

  "a pause holds everything still, until it goes on": async ({ board }) => {
    let asked = 0;
    board.page.on("request", (request) => (asked += request.url().includes("/overview") ? 1 : 0));
    await until("it asks", () => asked > 0);
    await board.page.click("#pause");
    await board.page.waitForSelector("body[data-state=paused]");
    const before = asked;
    // What could be asked would be asked by then.
    await board.page.evaluate(() => new Promise((done) => setTimeout(done, 1_500)));
    expect(asked, before);
    await board.page.click("#pause");
    await until("it asks again", () => asked > before);
  },

  "a daemon that is gone is told of, and found again": async ({ board, daemon, crowd }) => {
    crowd.leave();
    await daemon.kill();
    await board.page.waitForSelector("body[data-state=lost]");
    await shows(board, "#fault", "does not answer");
    await daemon.start();
    await board.page.waitForSelector("body[data-state=ready]");
    expect(await board.page.isHidden("#fault"), true);
  },

  "where there is a token the page asks for it, and it is never in an address": async ({ browser }) => {
    const folder = mkdtempSync(join(tmpdir(), "fanfare-board-"));
    writeFileSync(join(folder, "token"), "s3cret and more");
    const guarded = await Daemon.withAdmin("--admin-token-file", join(folder, "token"));
    await guarded.start();
    const visitor = await tab(browser, guarded.adminUrl);
    const addresses = [];
    visitor.page.on("request", (request) => addresses.push(request.url()));
    await visitor.page.waitForSelector("#token-form:not([hidden])");
    expect(await visitor.page.isHidden("#board"), true);
    await visitor.page.fill("#token", "wrong");
    await visitor.page.press("#token", "Enter");
    await shows(visitor, "#fault", "not the admin token");
    await visitor.page.fill("#token", "s3cret and more");
    await visitor.page.press("#token", "Enter");
    await visitor.page.waitForSelector("body[data-state=ready]");
    // The tab remembers it, another one does not.
    await visitor.page.reload();
    await visitor.page.waitForSelector("body[data-state=ready]");
    const other = await tab(browser, guarded.adminUrl);
    await other.page.waitForSelector("#token-form:not([hidden])");
    expect(addresses.some((url) => /s3cret|wrong/.test(url)), false);
    for (const { page, faults } of [visitor, other]) {
      await page.close();
      // The browser itself tells of each 401.
      expect(faults.filter((fault) => !fault.includes("401")).join("\n"), "");
    }
    await guarded.kill();
    rmSync(folder, { recursive: true });
  },

  "no script of the dashboard failed, and its policy blocked nothing": async ({ board }) => {
    const own = board.faults.filter((fault) => !fault.includes("ERR_CONNECTION_REFUSED"));
    expect(own.join("\n"), "");
  },
};

// ---- What the page shows ----------------------------------------------------

const shows = ({ page }, where, text) => page.locator(where, { hasText: text }).first().waitFor();

function tile({ page }, name, holds) {
  const value = page.locator(".tile", { hasText: name }).first().locator("b");
  return until(`${name} is right`, async () => holds(await value.textContent()));
}

// ---- The crowd --------------------------------------------------------------

class Crowd {
  sockets = [];
  timers = [];

  constructor(daemon) {
    this.daemon = daemon;
  }

  // A WebSocket that hears the topic, once it is open.
  async subscribe(topic) {
    const [host, port] = this.daemon.listen.split(":");
    const socket = connect({ host, port });
    this.sockets.push(socket);
    socket.on("error", () => {});
    const key = randomBytes(16).toString("base64");
    const head = ["Host: localhost", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", `Sec-WebSocket-Key: ${key}`];
    socket.write(`GET /?topic=${encodeURIComponent(topic)} HTTP/1.1\r\n${head.join("\r\n")}\r\n\r\n`);
    const [answer] = await once(socket, "data");
    socket.resume();
    return { socket, status: Number(answer.toString("latin1").split(" ")[1]) };
  }

  publish(topic, perSecond) {
    const message = JSON.stringify({ at: 0, value: "x".repeat(40) });
    const timer = setInterval(() => this.daemon.post(topic, message).catch(() => {}), 1_000 / perSecond);
    this.timers.push(timer);
  }

  // A subscriber that reads nothing, with more to read than its socket takes.
  async stall(topic) {
    const { socket } = await this.subscribe(topic);
    socket.pause();
    const address = `127.0.0.1:${socket.localPort}`;
    const picture = Buffer.alloc(256 << 10, 120);
    await until("it is behind", async () => {
      await this.daemon.post(topic, picture);
      const overview = await (await fetch(`${this.daemon.adminUrl}overview`)).json();
      return overview.slowest.some((one) => one.address === address && one.lag_bytes > 1 << 20);
    });
    return { address };
  }

  // A frame that is not masked, which no client may send (RFC 6455 section 5.1).
  async misbehave(topic) {
    const { socket } = await this.subscribe(topic);
    socket.write(Buffer.from([0x81, 0x01, 0x78]));
    await once(socket, "close");
  }

  // Comes in until nobody else may.
  async fill(most) {
    for (let one = 0; one < 2 * most; one += 1) {
      if ((await this.subscribe("queue")).status === 503) {
        return;
      }
    }
    throw new Error("nobody was refused");
  }

  leave() {
    this.timers.forEach(clearInterval);
    this.sockets.forEach((socket) => socket.destroy());
  }
}
