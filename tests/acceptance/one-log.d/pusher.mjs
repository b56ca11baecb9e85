// Pusher's own client.
import Pusher from "pusher-js";

const [wsHost, wsPort] = process.argv.slice(2);
const options = { cluster: "none", forceTLS: false, enabledTransports: ["ws"] };
const pusher = new Pusher("app-key", { ...options, wsHost, wsPort: Number(wsPort) });
let connected = false;
pusher.connection.bind("state_change", ({ current }) => {
  if (connected) {
    console.log(`closed: ${current}`);
  }
  connected ||= current === "connected";
});
const scores = pusher.subscribe("scores");
scores.bind("pusher:subscription_succeeded", () => console.log("subscribed to scores"));
scores.bind("message", (data) => console.log("message", JSON.stringify(data)));
