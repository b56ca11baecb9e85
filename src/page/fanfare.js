// The built-in page: one topic, its messages as they come, and a line to speak.
// Whatever comes from the network goes into the page as text, never as HTML.

import { useTopic } from "./fanfare-use.js";

const LINES_MAX = 1000; // the oldest line goes when one more comes
const LINE_CHARS_MAX = 4000; // the rest of a longer message is only counted
const TOPIC_BYTES_MAX = 255;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 30_000;
const STABLE_MS = 5_000; // a connection that lived this long starts the backoff anew
const CALM_PER_S = 5; // faster than this, a screen reader is not read every line
const NOTES_FEW = 5; // more lines than this would run under the advice for an empty topic
const HUES = 6; // .hue-N in the style sheet

const at = (id) => document.getElementById(id);
const ui = {
  state: at("state"), countdown: at("countdown"), empty: at("empty"), log: at("log"), latest: at("latest"),
  topicForm: at("topic-form"), topic: at("topic"), join: at("join"), leave: at("leave"),
  sayForm: at("say-form"), say: at("say"), send: at("send"),
  rate: at("rate"), total: at("total"), me: at("me"),
};

// ---- The connection -------------------------------------------------------

let socket = null;
let topic = "lobby";
let attempts = 0;
let liveSince = 0;
let retryTimer = 0;
let retryAt = 0;
let me = null; // our own address, as the server sees it
let unheard = []; // what we have said and not heard back yet
let readOnly = false; // the topic is not for talking
let place = null; // where we are in the topic: its epoch, and the offset of what comes next
let newest = 0; // offset of the newest message when we came
let past = true; // asked for, until we are refused before we ever got in

function connect() {
  clearTimeout(retryTimer);
  show("connecting");
  me = null;
  unheard = [];
  // Beside the page, wherever a proxy has put that; as a query, because proxies change paths.
  const query = new URLSearchParams({ page: true, hello: true, topic });
  if (place) {
    query.set("since", place.next);
    query.set("epoch", place.epoch);
  } else if (past) {
    query.set("since", 0);
  }
  const url = new URL(`./?${query}`, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const opened = new WebSocket(url, "chat");
  opened.binaryType = "arraybuffer";
  socket = opened;
  // A socket that was let go may still speak: only the current one is heard.
  opened.onopen = () => opened === socket && handleOpen();
  opened.onmessage = (event) => opened === socket && handleMessage(event.data);
  opened.onclose = (event) => opened === socket && handleClose(event);
}

function handleOpen() {
  liveSince = performance.now();
  show("live");
  // Not where that would bring up a keyboard, or take the cursor from another field.
  if (matchMedia("(pointer: fine)").matches && document.activeElement === document.body) {
    ui.say.focus({ preventScroll: true });
  }
}

function handleClose({ code, reason }) {
  if (liveSince === 0 && !place) {
    // A browser is not told why. What was said before may be for others only.
    past = !past;
  }
  const stable = liveSince > 0 && performance.now() - liveSince > STABLE_MS;
  if (liveSince > 0) {
    addNote(`Connection ${why(code)}${reason ? `: ${reason}` : ""}`);
  }
  readOnly ||= code === 1008 && reason.startsWith("read only");
  useTopic(topic, readOnly);
  attempts = stable ? 0 : attempts;
  liveSince = 0;
  socket = null;
  const wait = hinted(reason) ?? backoff();
  retryAt = performance.now() + wait;
  retryTimer = setTimeout(connect, wait);
  show("waiting");
}

// A server that stops gives each of its clients another time to come back.
function hinted(reason) {
  const hint = /\bretry in (\d{1,7}) ms$/.exec(reason);
  return hint ? Number(hint[1]) : null;
}

function backoff() {
  const ceiling = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** attempts);
  attempts += 1;
  // Half of the wait is chance, so that a crowd does not come back all at once.
  return ceiling / 2 + (Math.random() * ceiling) / 2;
}

function why(code) {
  const known = { 1000: "closed", 1001: "closed", 1008: "refused", 1009: "closed, a message was too big", 1013: "closed, this page fell too far behind" };
  return known[code] ?? `lost (${code})`;
}

function join(name) {
  ui.topic.value = name;
  const fault = topicFault(name);
  ui.topic.setCustomValidity(fault);
  if (fault) {
    ui.topic.reportValidity();
    return;
  }
  part();
  if (name !== topic) {
    clearLog();
    readOnly = false;
    place = null;
    past = true;
  }
  topic = name;
  useTopic(topic, readOnly);
  document.title = `${topic} · Fanfare`;
  history.replaceState(null, "", `#${encodeURIComponent(topic)}`);
  attempts = 0;
  connect();
}

// Says goodbye and stays away until asked to come back.
function part() {
  clearTimeout(retryTimer);
  const leaving = socket;
  socket = null;
  liveSince = 0;
  if (leaving?.readyState === WebSocket.OPEN) {
    leaving.send("quit");
  }
  leaving?.close(1000);
  show("closed");
}

function say() {
  const text = ui.say.value.trim();
  if (!text || socket?.readyState !== WebSocket.OPEN) {
    return;
  }
  ui.say.value = "";
  if (text === "quit") {
    part();
    return;
  }
  socket.send(text);
  unheard.push(asShown(text));
  unheard.splice(0, unheard.length - 1000);
}

// The server makes one line of whatever is said.
function asShown(text) {
  return text.replace(/[\t-\r\u0085\u2028\u2029]/g, " ").replace(/\p{Cc}/gu, "?");
}

// Empty if the name will do, else what is wrong with it.
function topicFault(name) {
  if (name.isWellFormed?.() === false) {
    return "A topic is plain Unicode text.";
  }
  const bytes = new TextEncoder().encode(name).length;
  if (bytes < 1 || bytes > TOPIC_BYTES_MAX) {
    return `A topic has 1 to ${TOPIC_BYTES_MAX} bytes; this has ${bytes}.`;
  }
  if (/\p{Cc}/u.test(name)) {
    return "A topic has no control characters.";
  }
  return "";
}

function topicFromLink() {
  try {
    return decodeURIComponent(location.hash.slice(1)) || "lobby";
  } catch {
    return "lobby";
  }
}

// ---- What is shown of it --------------------------------------------------

const WORDS = { connecting: "Connecting…", live: "Live", waiting: "Reconnecting", closed: "Closed" };

function show(state) {
  document.body.dataset.state = state;
  ui.state.textContent = WORDS[state];
  const live = state === "live";
  ui.say.disabled = !live || readOnly;
  ui.send.disabled = !live || readOnly;
  ui.leave.hidden = state === "closed";
  ui.me.textContent = "";
  tick();
  showTopicButton();
}

// Join is there when it would do something: after leaving, or for another topic.
function showTopicButton() {
  const closed = document.body.dataset.state === "closed";
  const other = ui.topic.value.trim() !== topic;
  ui.join.hidden = !closed && !other;
}

// ---- Messages -------------------------------------------------------------

// The server marks what was published past the chat.
const MARK = "[raw] ";
const SAY = /^(\d\d:\d\d:\d\d) ([\d.a-f:[\]]+:\d+) say: ([^]*)$/;
const WELCOME = /^Welcome, ([\d.a-f:[\]]+:\d+) !$/;
const LOGOUT = /^([\d.a-f:[\]]+:\d+) Logout$/;

let waiting = []; // read, not drawn yet
let frame = 0;
let total = 0;
let unseen = 0;
let pinned = true; // the reader is at the bottom and wants to stay there
const arrivals = []; // [time in ms, messages] of the last second

function handleMessage(data) {
  const told = typeof data === "string" && data.startsWith("{") ? JSON.parse(data) : {};
  if (told.hello) {
    begin(told.hello);
    return;
  }
  if (told.gap) {
    addNote(missed(told.gap.missed));
    place.next = told.gap.to + 1;
    return;
  }
  const old = place.next <= newest;
  place.next += 1;
  total += 1;
  const now = performance.now();
  const last = arrivals[arrivals.length - 1];
  if (last && now - last[0] < 50) {
    last[1] += 1;
  } else {
    arrivals.push([now, 1]);
  }
  addLine(typeof data === "string" ? readText(data, old) : { kind: "binary", text: `${data.byteLength.toLocaleString()} bytes` });
}

// The lines of a chat begin otherwise: what begins with a brace is the server's own.
function begin({ epoch, next, newest: last, resume }) {
  if (place && resume !== "exact") {
    addNote(place.epoch === epoch && next > place.next ? missed(next - place.next) : "The topic has begun anew");
  }
  place = { epoch, next };
  newest = last;
}

function missed(count) {
  if (count === undefined) {
    return "Messages are missing here";
  }
  return `${count.toLocaleString()} ${count === 1 ? "message is" : "messages are"} not kept any more`;
}

// `old`: it was said before we came.
function readText(data, old) {
  if (data.startsWith(MARK)) {
    return { kind: "raw", text: data.slice(MARK.length) };
  }
  const said = SAY.exec(data);
  if (said) {
    const [, time, who, text] = said;
    // The first thing we hear that we have just said tells our address for sure.
    if (unheard[0] === text && (me === null || !me.sure || me.address === who)) {
      unheard.shift();
      know(who, true);
      return { kind: "own", time, who, text };
    }
    return { kind: me?.sure && who === me.address ? "own" : "said", time, who, text };
  }
  const welcome = WELCOME.exec(data);
  if (welcome && me === null && !old) {
    know(welcome[1], false);
  }
  const note = welcome || LOGOUT.test(data);
  return { kind: note ? "note" : "raw", text: data, time: old ? "" : undefined };
}

function know(address, sure) {
  me = { address, sure };
  ui.me.textContent = `you are ${address}`;
}

function addNote(text) {
  addLine({ kind: "note", text });
}

// Lines are drawn once per frame, and never more than there is room for: so a
// burst costs the page no more than a full list, however many messages it has.
function addLine(line) {
  line.time ??= clock();
  waiting.push(line);
  if (waiting.length > 2 * LINES_MAX) {
    waiting = waiting.slice(-LINES_MAX);
  }
  frame ||= requestAnimationFrame(draw);
}

function draw() {
  frame = 0;
  const lines = waiting.slice(-LINES_MAX);
  waiting = [];
  const rows = document.createDocumentFragment();
  for (const line of lines) {
    rows.append(row(line));
  }
  for (let over = ui.log.childElementCount + lines.length - LINES_MAX; over > 0 && ui.log.firstChild; over -= 1) {
    ui.log.firstChild.remove();
  }
  ui.log.append(rows);
  // Comings and goings alone leave the page looking lost without a word of advice.
  ui.empty.hidden = ui.log.childElementCount > NOTES_FEW || ui.log.querySelector("li:not(.note)") !== null;
  if (pinned) {
    ui.log.scrollTop = ui.log.scrollHeight;
  } else {
    unseen += lines.length;
    ui.latest.textContent = `${unseen.toLocaleString()} new ↓`;
    ui.latest.hidden = false;
  }
}

function row({ kind, time, who, text }) {
  const item = document.createElement("li");
  item.className = kind;
  const body = element("span", "body");
  if (who) {
    body.append(element("span", kind === "own" ? "who" : `who hue-${hue(who)}`, kind === "own" ? "you" : who));
  }
  const cut = text.length > LINE_CHARS_MAX;
  body.append(cut ? `${text.slice(0, LINE_CHARS_MAX)}… (${text.length.toLocaleString()} characters)` : text);
  item.append(element("time", "", time), " ", body);
  return item;
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function hue(who) {
  let sum = 0;
  for (const char of who) {
    sum = (sum * 31 + char.charCodeAt(0)) >>> 0;
  }
  return sum % HUES;
}

let clockSecond = 0;
let clockText = "";

function clock() {
  const now = new Date();
  const second = Math.floor(now / 1000);
  if (second !== clockSecond) {
    clockSecond = second;
    clockText = now.toTimeString().slice(0, 8);
  }
  return clockText;
}

function clearLog() {
  waiting = [];
  total = 0;
  arrivals.length = 0;
  ui.log.replaceChildren();
  ui.empty.hidden = false;
  follow();
}

function follow() {
  pinned = true;
  unseen = 0;
  ui.latest.hidden = true;
  ui.log.scrollTop = ui.log.scrollHeight;
}

// The figures and the countdown, a few times a second.
function tick() {
  const now = performance.now();
  while (arrivals.length > 0 && now - arrivals[0][0] > 1000) {
    arrivals.shift();
  }
  const rate = arrivals.reduce((sum, [, count]) => sum + count, 0);
  ui.rate.textContent = rate.toLocaleString();
  ui.total.textContent = total.toLocaleString();
  ui.log.ariaLive = rate > CALM_PER_S ? "off" : "polite";
  const wait = Math.max(1, Math.ceil((retryAt - now) / 1000));
  ui.countdown.textContent = document.body.dataset.state === "waiting" ? `in ${wait} s` : "";
}

// ---- Wiring ---------------------------------------------------------------

ui.topicForm.onsubmit = (event) => {
  event.preventDefault();
  join(ui.topic.value.trim());
};
ui.topic.oninput = () => {
  ui.topic.setCustomValidity("");
  showTopicButton();
};
ui.leave.onclick = part;
ui.sayForm.onsubmit = (event) => {
  event.preventDefault();
  say();
};
ui.latest.onclick = follow;
ui.log.onscroll = () => {
  pinned = ui.log.scrollHeight - ui.log.scrollTop - ui.log.clientHeight < 24;
  if (pinned) {
    unseen = 0;
    ui.latest.hidden = true;
  }
};
// A narrower or lower window must not leave the reader in the middle.
new ResizeObserver(() => pinned && follow()).observe(ui.log);

window.addEventListener("hashchange", () => {
  const name = topicFromLink();
  if (name !== topic) {
    join(name);
  }
});
window.addEventListener("online", () => document.body.dataset.state === "waiting" && connect());
// Also when the page goes to the browser's back-forward store.
let leftLive = false;
window.addEventListener("pagehide", () => {
  leftLive = document.body.dataset.state !== "closed";
  part();
});
window.addEventListener("pageshow", (event) => event.persisted && leftLive && join(topic));

setInterval(tick, 250);
show("closed");
join(topicFromLink());
