// The panel "Use it from …": what to copy, to use this topic of this server from elsewhere.
// Only what the server has switched on is there; the server says what that is.

const HELLO = "hello"; // what the lines publish
const CHANNEL = /^[\w\-=@,.;]{1,200}$/; // how a channel of the Pusher Channels protocol is named

// ---- The lines --------------------------------------------------------------

// All ways to use `topic` of the server whose page is at `base`, which offers `offer`; where
// the topic is `readOnly`, a WebSocket only listens.
export function ways(base, topic, readOnly, offer) {
  const at = new Place(base, topic);
  return [
    curl(at, offer), shell(at, offer), webSocket(at, readOnly), centrifuge(at, offer),
    ...pusher(at, offer), eventSource(at, offer),
  ].filter((way) => way !== null);
}

// Where the topic is to be had.
class Place {
  constructor(base, topic) {
    this.base = base;
    this.topic = topic;
    // Proxies change paths with these, so such names go into the query.
    this.changed = /[/\\%?#]/.test(topic) || /^\.{1,2}$/.test(topic);
    this.path = this.changed ? `?topic=${encode(topic)}` : encode(topic);
  }

  http(path = this.path) {
    return new URL(`./${path}`, this.base).href;
  }

  ws(path = this.path) {
    return this.http(path).replace(/^http/, "ws");
  }
}

// A quote would end the word that the shell reads.
const encode = (text) => encodeURIComponent(text).replaceAll("'", "%27");

// One word of a shell's line, whatever is in it.
const word = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// A script may stand in a page: there its end must not be within a string.
const quote = (text) => JSON.stringify(text).replaceAll("<", "\\u003c");

function curl(at, { event_streams: streams, http }) {
  const lines = [];
  if (streams) {
    lines.push("# What is published, as it comes:", `curl -N -H 'Accept: text/event-stream' '${at.http()}'`);
  }
  if (http) {
    const path = at.changed ? `messages?topic=${encode(at.topic)}` : `topics/${encode(at.topic)}/messages`;
    const url = new URL(http.url + path, at.base).href;
    const secret = {
      key: ` -H "X-API-Key: $FANFARE_API_KEY"`,
      token: ` -H "Authorization: Bearer $FANFARE_TOKEN"`,
    }[http.secret] ?? "";
    lines.push("# Publishing:", `curl -d '${HELLO}'${secret} '${url}'`);
  }
  return lines.length > 0 ? { id: "curl", name: "curl", code: lines.join("\n") } : null;
}

// These programs ask a server, not a path of one.
function shell(at, { http }) {
  const root = (url) => (url.pathname === "/" ? word(url.href.replace(/\/$/, "")) : null);
  const topic = `${at.topic.startsWith("-") ? "-- " : ""}${word(at.topic)}`;
  const code = [];
  const server = root(new URL(at.ws("")));
  if (server !== null) {
    code.push("# A line for each message:", `fanfare subscribe --server ${server} ${topic}`);
  }
  const api = http && root(new URL(http.url, at.base));
  if (api) {
    const bearing = { key: ", with the key in FANFARE_API_KEY", token: ", with the token in FANFARE_TOKEN" };
    code.push(`# Publishing${bearing[http.secret] ?? ""}:`, `fanfare publish --server ${api} ${topic} ${word(HELLO)}`);
  }
  return code.length > 0 ? { id: "shell", name: "Shell", code: code.join("\n") } : null;
}

function webSocket(at, readOnly) {
  const code = [
    `const socket = new WebSocket(${quote(at.ws())});`,
    "socket.onmessage = ({ data }) => console.log(data);",
  ];
  if (!readOnly) {
    code.push(`socket.onopen = () => socket.send(${quote(HELLO)});`);
  }
  return { id: "websocket", name: "WebSocket", code: code.join("\n") };
}

function centrifuge(at, { centrifugo }) {
  const code = [
    "// npm install centrifuge",
    "import { Centrifuge } from 'centrifuge';",
    "",
    `const client = new Centrifuge(${quote(at.ws("connection/websocket"))});`,
    `const topic = client.newSubscription(${quote(at.topic)});`,
    "topic.on('publication', ({ data }) => console.log(data));",
    "topic.subscribe();",
    "client.connect();",
  ];
  return centrifugo ? { id: "centrifuge", name: "Centrifugo's client", code: code.join("\n") } : null;
}

// By both clients of the protocol, for the app whose channel the topic is.
function pusher(at, { apps }) {
  const fitting = apps.filter(({ prefix }) => at.topic.startsWith(prefix));
  fitting.sort((a, b) => b.prefix.length - a.prefix.length);
  const [app] = fitting;
  const channel = app && at.topic.slice(app.prefix.length);
  if (!app || !CHANNEL.test(channel)) {
    return [];
  }
  const { protocol, hostname, port, pathname } = new URL("./", at.base);
  const tls = protocol === "https:";
  const options = [
    `wsHost: ${quote(hostname)}`,
    tls ? `wssPort: ${port || 443}` : `wsPort: ${port || 80}`,
    ...(pathname === "/" ? [] : [`wsPath: ${quote(pathname.replace(/\/$/, ""))}`]),
    `forceTLS: ${tls}`,
    "enabledTransports: ['ws']",
  ];
  const listed = (first) => [...first, ...options].map((option) => `  ${option},`);
  const guarded = /^(private|presence)-/.test(channel) ? "// Such a channel takes channelAuthorization among the options." : null;
  const plain = [
    "// npm install pusher-js",
    "import Pusher from 'pusher-js';",
    "",
    guarded,
    `const pusher = new Pusher(${quote(app.key)}, {`,
    ...listed(["cluster: 'none'"]),
    "});",
    `pusher.subscribe(${quote(channel)}).bind('message', (data) => console.log(data));`,
  ];
  const echo = [
    "// npm install laravel-echo pusher-js",
    "import Echo from 'laravel-echo';",
    "import Pusher from 'pusher-js';",
    "",
    guarded,
    "const echo = new Echo({",
    ...listed(["broadcaster: 'reverb'", "Pusher", `key: ${quote(app.key)}`]),
    "});",
    "// The dot says that the name is whole, without App.Events before it.",
    `echo.${echoChannel(channel)}.listen('.message', (data) => console.log(data));`,
  ];
  const code = (lines) => lines.filter((line) => line !== null).join("\n");
  return [
    { id: "pusher", name: "pusher-js", code: code(plain) },
    { id: "echo", name: "Laravel Echo", code: code(echo) },
  ];
}

// Echo puts the kind of a channel before its name itself.
function echoChannel(channel) {
  const kind = [["private-", "private"], ["presence-", "join"]].find(([prefix]) => channel.startsWith(prefix));
  return kind ? `${kind[1]}(${quote(channel.slice(kind[0].length))})` : `channel(${quote(channel)})`;
}

function eventSource(at, { event_streams: streams }) {
  const code = [
    `const events = new EventSource(${quote(at.http())});`,
    "events.onmessage = ({ data }) => console.log(data);",
  ];
  return streams ? { id: "eventsource", name: "EventSource", code: code.join("\n") } : null;
}

// ---- The panel --------------------------------------------------------------

const NOTHING = { centrifugo: false, event_streams: false, apps: [], http: null };
const COPIED_MS = 1_500;

const at = (id) => document.getElementById(id);
const panel = at("use");
let topic = "";
let readOnly = false;
let offer = NOTHING;
let chosen = "curl";
let shown = [];

// The topic that the lines are for, and whether it is only for listening.
export function useTopic(name, onlyListens) {
  if (name === topic && onlyListens === readOnly) {
    return;
  }
  topic = name;
  readOnly = onlyListens;
  draw();
}

// What the server offers may change while it runs, so it is asked whenever the panel is opened.
async function handleToggle() {
  if (!panel.open) {
    return;
  }
  try {
    const answer = await fetch("./fanfare.json");
    offer = answer.ok ? await answer.json() : NOTHING;
  } catch {
    // What it has said before is better than nothing.
  }
  draw();
}

function draw() {
  shown = ways(location.href, topic, readOnly, offer);
  at("use-from").replaceChildren(...shown.map(choice));
  show();
}

function choice({ id, name }) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  Object.assign(input, { type: "radio", name: "use", value: id, checked: id === current().id });
  label.append(input, name);
  return label;
}

// What was chosen, or else the first there is.
function current() {
  return shown.find(({ id }) => id === chosen) ?? shown[0];
}

function show() {
  at("use-code").textContent = current().code;
}

// Browsers let a page write to the clipboard over TLS and on this machine alone: elsewhere the
// lines are marked, to be copied by hand.
async function copy() {
  const button = at("use-copy");
  try {
    await navigator.clipboard.writeText(at("use-code").textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(at("use-code"));
    button.textContent = "Marked: press Ctrl+C";
  }
  setTimeout(() => (button.textContent = "Copy"), COPIED_MS);
}

panel.addEventListener("toggle", handleToggle);
at("use-from").onchange = ({ target }) => {
  chosen = target.value;
  show();
};
at("use-copy").onclick = copy;
