// What `centrifuge` from npm does for the meeting of Centrifugo's clients, the same in
// Node and in a browser; the words are those of meeting.py.
//
// The function is given to a browser as text, so it uses nothing from outside itself.

export function session(Centrifuge, options, say) {
  const { url, protobuf } = options;
  // Protobuf carries bytes and JSON values.
  const written = (data) => (protobuf ? new TextEncoder().encode(JSON.stringify(data)) : data);
  const read = (data) => {
    if (!protobuf) {
      return data;
    }
    try {
      return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data));
    } catch {
      return { bytes: btoa(String.fromCharCode(...data)) };
    }
  };
  let client;
  const subscriptions = {};
  const verbs = {
    async connect({ token, fresh }) {
      client = new Centrifuge(url, { ...options.settings, token, getToken: async () => fresh });
      client.on("connecting", ({ code }) => say({ event: "connecting", code }));
      client.on("connected", () => say({ event: "connected" }));
      client.on("disconnected", ({ code }) => say({ event: "disconnected", code }));
      client.connect();
      await client.ready();
      return {};
    },
    async subscribe({ channel, token }) {
      const settings = { recoverable: true, joinLeave: true, ...(token ? { token } : {}) };
      const subscription = client.newSubscription(channel, settings);
      subscriptions[channel] = subscription;
      subscription.on("subscribed", ({ wasRecovering, recovered }) =>
        say({ event: "subscribed", channel, was_recovering: wasRecovering, recovered }),
      );
      subscription.on("publication", ({ data, offset }) => say({ event: "heard", channel, data: read(data), offset }));
      subscription.on("join", ({ info }) => say({ event: "join", channel, user: info.user }));
      const refused = new Promise((_, fail) => subscription.on("unsubscribed", fail));
      subscription.subscribe();
      // The reason comes with the event.
      await Promise.race([subscription.ready().catch(() => refused), refused]);
      return {};
    },
    async publish({ channel, data }) {
      await client.publish(channel, written(data));
      return {};
    },
    async presence({ channel }) {
      const { clients } = await client.presence(channel);
      return { users: Object.values(clients).map(({ user }) => user) };
    },
    async presence_stats({ channel }) {
      const { numClients, numUsers } = await client.presenceStats(channel);
      return { clients: numClients, users: numUsers };
    },
    async history({ channel }) {
      const { publications, epoch, offset } = await client.history(channel, { limit: -1 });
      return { publications: publications.map(({ data, offset }) => [offset, read(data)]), epoch, offset };
    },
    async unsubscribe({ channel }) {
      subscriptions[channel].unsubscribe();
      return {};
    },
  };
  return async (command) => {
    try {
      say({ reply: command.id, ...(await verbs[command.do](command)) });
    } catch (error) {
      say({ reply: command.id, error: error.code ?? String(error) });
    }
  };
}
