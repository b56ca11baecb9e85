// `laravel-echo` from npm, on top of `pusher-js`.

import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const require = createRequire(join(process.env.CLIENT_MODULES, "package.json"));
const Pusher = require("pusher-js");
// What its package calls its CommonJS build, Node takes for a module.
const { default: Echo } = await import(join(process.env.CLIENT_MODULES, "node_modules/laravel-echo/dist/echo.js"));
const [host, port, key, secret, user] = process.argv.slice(2);

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const sign = (text) => `${key}:${createHmac("sha256", secret).update(text).digest("hex")}`;
let echo;
const verbs = {
  async connect() {
    echo = new Echo({
      broadcaster: "reverb",
      Pusher,
      key,
      wsHost: host,
      wsPort: Number(port),
      forceTLS: false,
      enabledTransports: ["ws"],
      channelAuthorization: {
        customHandler: ({ socketId, channelName }, done) => {
          const data = JSON.stringify({ user_id: user, user_info: { name: `${user}!` } });
          done(null, { auth: sign(`${socketId}:${channelName}:${data}`), channel_data: data });
        },
      },
    });
    const { connection } = echo.connector.pusher;
    connection.bind("state_change", ({ current }) => say({ event: current }));
    await new Promise((resolve) => connection.bind("connected", resolve));
    return { socket: echo.socketId() };
  },
  // Its names of channels go without what the protocol has before them.
  async subscribe({ channel }) {
    const presence = echo.join(channel.replace("presence-", ""));
    presence.joining(({ name }) => say({ event: "member_added", channel, user: name.slice(0, -1) }));
    presence.leaving(({ name }) => say({ event: "member_removed", channel, user: name.slice(0, -1) }));
    presence.listenToAll((event, data) => say({ event: "heard", channel, name: event.replace(/^\./, ""), data }));
    presence.subscribed(() => say({ event: "subscribed", channel }));
    const users = await new Promise((resolve, fail) => presence.here(resolve).error(fail));
    return { users: users.map(({ name }) => name.slice(0, -1)) };
  },
  async trigger({ channel, event, data }) {
    echo.join(channel.replace("presence-", "")).whisper(event.replace("client-", ""), data);
    return {};
  },
};
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const answer = await verbs[command.do](command).catch((error) => ({ error: String(error.message ?? error) }));
  say({ reply: command.id, ...answer });
}
process.exit(0);
