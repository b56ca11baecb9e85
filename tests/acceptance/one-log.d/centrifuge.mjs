// Centrifugo's own client.
import { Centrifuge } from "centrifuge";

const [url] = process.argv.slice(2);
const client = new Centrifuge(url);
// The first time it is about to connect, later it has been disconnected.
client.on("connecting", ({ code, reason }) => code !== 0 && console.log(`closed: ${reason}`));
client.on("disconnected", ({ reason }) => console.log(`closed: ${reason}`));
const scores = client.newSubscription("scores");
scores.on("publication", ({ offset, data }) => console.log(`offset ${offset}`, JSON.stringify(data)));
scores.on("subscribed", () => console.log("subscribed to scores"));
scores.subscribe();
client.connect();
