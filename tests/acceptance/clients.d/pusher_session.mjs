// What `pusher-js` from npm does for the meeting in channels, the same in Node and in a browser;
// the words are those of channels.py.
//
// The function is given to a browser as text, so it uses nothing from outside itself.

export function session(Pusher, options, say) {
  const { host, port, key, secret, user, secure } = options;
  // What the app's own server would sign.
  const sign = async (text) => {
    const bytes = (of) => new TextEncoder().encode(of);
    const { subtle } = globalThis.crypto;
    const hmac = await subtle.importKey("raw", bytes(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const tag = new Uint8Array(await subtle.sign("HMAC", hmac, bytes(text)));
    return `${key}:${[...tag].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  };
  const authorize = async (socketId, channel) => {
    if (!channel.startsWith("presence-")) {
      return { auth: await sign(`${socketId}:${channel}`) };
    }
    const data = JSON.stringify({ user_id: user, user_info: { name: `${user}!` } });
    return { auth: await sign(`${socketId}:${channel}:${data}`), channel_data: data };
  };
  const settings = {
    cluster: "none",
    wsHost: host,
    wsPort: port,
    wssPort: port,
    forceTLS: Boolean(secure),
    enabledTransports: ["ws"],
    disableStats: true,
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, done) =>
        authorize(socketId, channelName).then((auth) => done(null, auth), done),
    },
    userAuthentication: {
      customHandler: ({ socketId }, done) => {
        const data = JSON.stringify({ id: user });
        sign(`${socketId}::user::${data}`).then((auth) => done(null, { auth, user_data: data }), done);
      },
    },
  };
  let pusher;
  const channels = {};
  const verbs = {
    async connect() {
      pusher = new Pusher(key, settings);
      pusher.connection.bind("state_change", ({ current }) => say({ event: current }));
      pusher.connection.bind("error", ({ error }) => say({ event: "error", code: error?.data?.code }));
      await new Promise((resolve) => pusher.connection.bind("connected", resolve));
      return { socket: pusher.connection.socket_id };
    },
    async subscribe({ channel }) {
      const subscribed = (channels[channel] = pusher.subscribe(channel));
      subscribed.bind_global((name, data, metadata) => {
        if (name === "pusher:member_added" || name === "pusher:member_removed") {
          say({ event: name.slice("pusher:".length), channel, user: data.id });
        } else if (name === "pusher:subscription_succeeded") {
          say({ event: "subscribed", channel });
        } else if (!name.startsWith("pusher:")) {
          say({ event: "heard", channel, name, data, user: metadata?.user_id });
        }
      });
      const members = await new Promise((resolve, fail) => {
        subscribed.bind("pusher:subscription_succeeded", resolve);
        subscribed.bind("pusher:subscription_error", ({ status }) => fail(new Error(`refused with ${status}`)));
      });
      return { users: members?.members ? Object.keys(members.members) : [] };
    },
    async trigger({ channel, event, data }) {
      if (!channels[channel].trigger(event, data)) {
        throw new Error("it was not sent");
      }
      return {};
    },
    async signin() {
      pusher.user.bind("told", (data) => say({ event: "told", data }));
      pusher.signin();
      await new Promise((resolve) => pusher.bind("pusher:signin_success", resolve));
      // Only then it asks for the channel of its user.
      const own = pusher.user.serverToUserChannel;
      await new Promise((resolve) => own.bind("pusher:subscription_succeeded", resolve));
      return {};
    },
    async socket() {
      return { socket: pusher.connection.socket_id };
    },
  };
  return async (command) => {
    try {
      say({ reply: command.id, ...(await verbs[command.do](command)) });
    } catch (error) {
      say({ reply: command.id, error: String(error.message ?? error) });
    }
  };
}
