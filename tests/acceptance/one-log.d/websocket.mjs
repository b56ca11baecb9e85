// A WebSocket as browsers and Node have it: the topic is the path.
const [url] = process.argv.slice(2);
const socket = new WebSocket(url);
socket.onopen = () => console.log("connected");
socket.onclose = ({ code }) => console.log(`closed with ${code}`);
socket.onmessage = ({ data }) => console.log(data);
