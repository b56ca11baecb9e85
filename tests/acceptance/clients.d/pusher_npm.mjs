// `pusher` from npm, which publishes and asks over HTTP.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const Pusher = createRequire(join(process.env.CLIENT_MODULES, "package.json"))("pusher");
const [host, port, key, secret] = process.argv.slice(2);
const pusher = new Pusher({ appId: "1", key, secret, host, port, useTLS: false });
const verbs = {
  async trigger({ channel, event, data, socket }) {
    await pusher.trigger(channel, event, data, socket ? { socket_id: socket } : undefined);
    return {};
  },
  async users({ channel }) {
    const answer = await pusher.get({ path: `/channels/${channel}/users` });
    return { users: (await answer.json()).users.map(({ id }) => id) };
  },
  async to_user({ user, event, data }) {
    await pusher.sendToUser(user, event, data);
    return {};
  },
  async webhook({ headers, body }) {
    const hook = pusher.webhook({ headers, rawBody: body });
    return hook.isValid() ? { events: hook.getEvents() } : { events: [] };
  },
  async terminate({ user }) {
    await pusher.terminateUserConnections(user);
    return {};
  },
};
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const answer = await verbs[command.do](command).catch((error) => ({ error: String(error.message ?? error) }));
  process.stdout.write(`${JSON.stringify({ reply: command.id, ...answer })}\n`);
}
