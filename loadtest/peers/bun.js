// A broadcast server to compare with: the topic is the path, and every message goes to all
// of the topic, with ?echo=true to the sender too. usage: bun bun.js PORT [CHAIN.pem KEY.pem], over TLS with those
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  tls: process.argv[3] ? { cert: Bun.file(process.argv[3]), key: Bun.file(process.argv[4]) } : undefined,
  fetch(request, server) {
    const url = new URL(request.url);
    const data = { topic: url.pathname, echo: url.searchParams.has("echo") };
    return server.upgrade(request, { data }) ? undefined : new Response("a WebSocket is wanted", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false, idleTimeout: 0, sendPings: false,
    maxPayloadLength: 16 << 20, backpressureLimit: 16 << 20, closeOnBackpressureLimit: true,
    open(ws) { ws.subscribe(ws.data.topic); },
    message(ws, message) { (ws.data.echo ? server : ws).publish(ws.data.topic, message); },
  },
});
console.log(`listening on ws://127.0.0.1:${server.port}/`);
