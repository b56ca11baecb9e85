// `cent.js` from npm, which publishes and asks over HTTP.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const { CentClient } = createRequire(join(process.env.CLIENT_MODULES, "package.json"))("cent.js");

const [url, apiKey] = process.argv.slice(2);
const client = new CentClient({ url, apiKey });
const verbs = {
  async publish({ channel, data, key }) {
    const { offset } = await client.publish({ channel, data, idempotency_key: key });
    return { offset };
  },
  async presence({ channel }) {
    const { presence } = await client.getPresence({ channel });
    return { users: Object.values(presence).map(({ user }) => user) };
  },
  async presence_stats({ channel }) {
    const { num_clients: clients, num_users: users } = await client.getPresenceStats({ channel });
    return { clients, users };
  },
  async history({ channel }) {
    const { publications, epoch, offset } = await client.getHistory({ channel, limit: -1 });
    return { publications: publications.map(({ data, offset }) => [offset, data]), epoch, offset };
  },
  async disconnect({ user, code, reason }) {
    await client.disconnect({ user, disconnect: { code, reason } });
    return {};
  },
};
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const answer = await verbs[command.do](command).catch((error) => ({ error: error.code ?? String(error) }));
  process.stdout.write(`${JSON.stringify({ reply: command.id, ...answer })}\n`);
}
