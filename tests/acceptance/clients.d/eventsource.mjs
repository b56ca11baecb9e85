// What an EventSource tells, the same in Node and in a browser. The function is given to a
// browser as text, so it uses nothing from outside itself.

export function listen(EventSource, url, say) {
  const source = new EventSource(url);
  source.onopen = () => say({ event: "open" });
  source.onerror = () => say({ event: source.readyState === 2 ? "closed" : "waits" });
  const hear = (name) => (event) => {
    let data = event.data;
    // Of many topics it is JSON that says which one.
    try {
      const value = JSON.parse(event.data);
      data = value.data ?? value;
    } catch {}
    say({ event: "heard", name, data, id: event.lastEventId });
  };
  source.onmessage = hear("message");
  for (const name of ["said", "client-said"]) source.addEventListener(name, hear(name));
  source.addEventListener("gap", ({ data }) => say({ event: "gap", data }));
  return source;
}
