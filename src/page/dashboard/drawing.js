// Puts one answer of the daemon into the page. Whatever it names goes in as text, never as
// HTML. What has not changed is left alone, so that it can be selected while figures move.

import { amount, bytes, count, duration, exactly, percent, rate } from "./figures.js";

const HISTORY_MS = 120_000; // what the small curves show
const HISTORY_MS_MIN = 20_000; // and at first, when little is known
const HISTORY_MAX = 300; // answers that are remembered for them
const LIMITS_FEW = 5;
const NEAR_SHARE = 0.8; // a limit that is used so far is coloured
const FULL_SHARE = 0.95;
const STALE_MS = 3_000; // figures that are older are drawn paler
const CURVE = { width: 120, height: 30 };

const at = (id) => document.getElementById(id);

export function draw(told) {
  setText(at("version"), `${told.version} · up ${duration(told.uptime_ms)}`);
  drawWarnings(told.warnings);
  drawTiles(told);
  drawTopics(told.topics);
  drawSlowest(told);
  drawCores(told.cores);
  drawLimits(told.limits);
  drawReasons(told);
  drawnAt = performance.now();
  document.title = told.warnings.length > 0 ? `(${told.warnings.length}) Fanfare dashboard` : "Fanfare dashboard";
}

// ---- How old it is ----------------------------------------------------------

let drawnAt = null;

export function showAge() {
  const paused = document.body.dataset.state === "paused";
  const stale = drawnAt !== null && !paused && performance.now() - drawnAt > STALE_MS;
  at("board").classList.toggle("stale", stale);
}

// ---- Warnings ---------------------------------------------------------------

let warned = "";

// Built anew only when they have changed: a screen reader reads what is new.
function drawWarnings(warnings) {
  const now = JSON.stringify(warnings);
  at("calm").hidden = warnings.length > 0;
  if (now === warned) {
    return;
  }
  warned = now;
  at("warnings").replaceChildren(...warnings.map((warning) => {
    const item = element("li", `warning ${warning.level === "critical" ? "critical" : "mild"}`);
    const says = element("p", "says");
    says.append(element("b", "level", warning.level === "critical" ? "Act now" : "Look at this"), " ", warning.says);
    const words = element("div");
    words.append(says, element("p", "next", warning.next));
    item.append(words);
    if (warning.doc) {
      const more = element("button", "quiet", "What the guide says");
      more.type = "button";
      more.dataset.doc = warning.doc;
      item.append(more);
    }
    return item;
  }));
}

// ---- Tiles ------------------------------------------------------------------

const TILES = [
  { name: "deliveries/s", of: (o) => o.traffic.deliveries.per_s, text: rate,
    below: (o) => `${count(o.traffic.deliveries.total)} so far, ${rate(merged(o))} in each send` },
  { name: "published/s", of: published, text: rate,
    below: (o) => `${count(o.traffic.messages_in.total)} by WebSocket, ${count(o.traffic.messages_posted.total)} over HTTP` },
  { name: "sent/s", of: (o) => o.traffic.bytes_out.per_s, text: bytes,
    below: (o) => `${bytes(o.traffic.bytes_in.per_s)} received` },
  { name: "connections", of: (o) => o.connections.open, text: count,
    below: (o) => `${rate(o.traffic.handshakes.per_s)} new per second, ${count(o.connections.handshakes)} opening` },
  { name: "furthest behind", of: (o) => o.lag.bytes, text: bytes,
    below: (o) => `${bytes(o.lag.bytes_max)} is the limit, ${count(o.connections.stalled)} stalled` },
  { name: "processors in use", of: (o) => o.process.load, text: rate,
    below: (o) => `${bytes(o.process.resident_bytes)} of memory, ${bytes(o.process.log_bytes)} of logs` },
];

function published(told) {
  const { messages_in: heard, messages_posted: posted } = told.traffic;
  return heard.per_s === null || posted.per_s === null ? null : heard.per_s + posted.per_s;
}

// How many deliveries go out together.
function merged(told) {
  const { deliveries, sends } = told.traffic;
  return sends.per_s > 0 ? deliveries.per_s / sends.per_s : null;
}

let history = []; // [time in ms, value of each tile]

export function remember(told) {
  const last = history[history.length - 1];
  // Not a sample that is known, nor times of another clock.
  if (last && told.unix_ms <= last[0]) {
    history = told.unix_ms < last[0] - 1_000 ? [] : history;
    return;
  }
  history.push([told.unix_ms, TILES.map(({ of }) => of(told))]);
  history = history.slice(-HISTORY_MAX).filter(([ms]) => told.unix_ms - ms <= HISTORY_MS);
}

function drawTiles(told) {
  const box = at("tiles");
  if (box.childElementCount === 0) {
    box.append(...TILES.map(makeTile));
  }
  TILES.forEach((tile, number) => {
    const card = box.children[number];
    setText(card.querySelector("b"), tile.text(tile.of(told)));
    setText(card.querySelector("small"), tile.below(told));
    const [line, area] = curve(number, told.unix_ms);
    card.querySelector(".line").setAttribute("d", line);
    card.querySelector(".area").setAttribute("d", area);
  });
}

function makeTile({ name }) {
  const card = element("div", "tile");
  const svg = drawing("svg", { viewBox: `0 0 ${CURVE.width} ${CURVE.height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(drawing("path", { class: "area" }), drawing("path", { class: "line" }));
  card.append(element("span", "", name), element("b"), svg, element("small"));
  return card;
}

// The path of a tile's curve, and of the area below it; empty without two known values.
function curve(number, now) {
  const known = history.filter(([, values]) => values[number] !== null);
  if (known.length < 2) {
    return ["", ""];
  }
  const most = Math.max(...known.map(([, values]) => values[number]), Number.MIN_VALUE);
  const span = Math.max(now - known[0][0], HISTORY_MS_MIN);
  const points = known.map(([ms, values]) => {
    const x = CURVE.width * (1 - (now - ms) / span);
    const y = CURVE.height - 1 - (CURVE.height - 3) * (values[number] / most);
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  const line = `M${points.join("L")}`;
  const [first] = points[0].split(" ");
  return [line, `${line}V${CURVE.height}H${first}Z`];
}

// ---- Tables -----------------------------------------------------------------

const TOPIC_COLUMNS = ["topic", "messages/s", "bytes/s", "subscribers", "lag", "log", "newest offset"];

function drawTopics({ count: all, shown }) {
  setText(at("topics-count"), count(all));
  const rows = shown.map((topic) => [
    topic.name, rate(topic.messages_per_s), bytes(topic.bytes_per_s), count(topic.subscribers),
    bytes(topic.lag_bytes), bytes(topic.log_bytes), exactly(topic.offset),
  ]);
  const none = all === 0 ? "There is no topic: the first subscriber or message makes one." : "No topic has such a name.";
  drawTable(at("topics"), TOPIC_COLUMNS, rows, none);
}

const SLOWEST_COLUMNS = ["address", "dialect", "topic", "user", "behind", "stalled for", "core"];

function drawSlowest({ slowest, connections }) {
  setText(at("stalled"), `${count(connections.stalled)} stalled`);
  const rows = slowest.map((one) => [
    one.address, one.dialect.replaceAll("_", " ") + (one.tls ? ", TLS" : ""),
    topicOf(one), one.user ?? "–", bytes(one.lag_bytes), duration(one.stalled_ms), String(one.core),
  ]);
  drawTable(at("slowest"), SLOWEST_COLUMNS, rows, "Every socket takes what it is sent.");
}

function topicOf({ topic, subscriptions }) {
  const further = subscriptions > 1 ? ` and ${count(subscriptions - 1)} more` : "";
  return topic === null ? "–" : topic + further;
}

function drawReasons(told) {
  const recent = told.recent_ms > 0 ? `last ${duration(told.recent_ms)}` : "lately";
  const columns = ["reason", recent, "in all", "words"];
  const rows = (list, kind) => list.map((one) => [kind + one.reason, count(one.recent), count(one.total), one.says || "–"]);
  drawTable(at("closes"), columns, rows(told.closes, ""), "None so far.");
  const refused = [
    ...told.rejects.map((one) => [one, ""]),
    ...told.denials.map((one) => [one, "not allowed: "]),
    ...told.post_refusals.map((one) => [one, "over HTTP: "]),
  ];
  refused.sort(([a], [b]) => b.recent - a.recent || b.total - a.total);
  drawTable(at("refused"), columns, refused.flatMap(([one, kind]) => rows([one], kind)), "None so far.");
}

// In a narrow window a row is a list, in which each cell bears its column's name.
function drawTable(table, columns, rows, none) {
  const head = table.tHead ?? table.createTHead();
  const body = table.tBodies[0] ?? table.createTBody();
  resize(head, 1, () => element("tr"));
  resize(head.rows[0], columns.length, () => element("th"));
  columns.forEach((name, number) => setText(head.rows[0].cells[number], name));
  head.hidden = rows.length === 0;
  table.classList.toggle("empty", rows.length === 0);
  const cells = rows.length > 0 ? rows : [[none]];
  resize(body, cells.length, () => element("tr"));
  cells.forEach((row, number) => {
    const line = body.rows[number];
    resize(line, row.length, () => element("td"));
    row.forEach((text, place) => {
      setText(line.cells[place], text);
      line.cells[place].dataset.name = rows.length > 0 ? columns[place] : "";
      line.cells[place].colSpan = rows.length > 0 ? 1 : columns.length;
    });
  });
}

// ---- Bars -------------------------------------------------------------------

function drawCores(cores) {
  drawBars(at("cores"), cores.map((core) => ({
    name: `core ${core.core}`,
    share: core.load,
    value: percent(core.load),
    below: `${count(core.connections)} connections, ${count(core.stalled)} stalled, furthest ${bytes(core.lag_bytes)} behind`
      + (core.turn_age_ms > 1_000 ? `, no turn for ${duration(core.turn_age_ms)}` : ""),
  })));
}

// All, or those that are nearest to their end.
function drawLimits(limits) {
  const few = at("all-limits").dataset.pressed ? limits : limits.slice(0, LIMITS_FEW);
  at("all-limits").hidden = few.length === limits.length;
  drawBars(at("limits"), few.map((limit) => ({
    name: limit.what,
    setting: limit.name,
    share: limit.used / limit.max,
    value: percent(limit.used / limit.max),
    below: `${amount(limit.used, limit.unit)} of ${amount(limit.max, limit.unit)}`,
  })));
}

function drawBars(list, bars) {
  resize(list, bars.length, makeBar);
  bars.forEach(({ name, setting, share, value, below }, number) => {
    const item = list.children[number];
    setText(item.querySelector(".name"), name);
    setText(item.querySelector(".value"), value);
    setText(item.querySelector(".below"), below);
    const button = item.querySelector("button");
    button.hidden = setting === undefined;
    if (setting !== undefined) {
      setText(button, setting);
      button.dataset.setting = setting;
    }
    const known = Math.min(Math.max(share ?? 0, 0), 1);
    const level = known >= FULL_SHARE ? "full" : known >= NEAR_SHARE ? "near" : "";
    item.className = level;
    item.querySelector("i").style.width = `${(known * 100).toFixed(1)}%`;
  });
}

function makeBar() {
  const item = element("li");
  const title = element("p");
  title.append(element("span", "name"), element("span", "value"));
  const track = element("div", "track");
  track.append(element("i"));
  const below = element("p", "small");
  const button = element("button", "quiet code");
  button.type = "button";
  below.append(element("span", "below"), button);
  item.append(title, track, below);
  return item;
}

// ---- The page's elements ----------------------------------------------------

function resize(parent, wanted, make) {
  while (parent.childElementCount > wanted) {
    parent.lastElementChild.remove();
  }
  while (parent.childElementCount < wanted) {
    parent.append(make());
  }
}

function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function drawing(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  return made;
}
