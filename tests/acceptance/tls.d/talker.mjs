// What those in Node and in browsers do who talk over TLS; the words are those of conversation.py.
//
// The function is given to a browser as text, so it uses nothing from outside itself. `connect` begins a connection, which
// tells `on` what happens, and gives back what sends a text. Who does not come back by itself is connected anew.

export function talker(connect, say) {
  // Of each burst: how many have come, and how many of them in their turn.
  const bursts = {};
  const large = (name, length) => {
    const words = "fanfare over TLS, all of it. ";
    return `${name} ${words.repeat(Math.ceil(length / words.length))}`.slice(0, length);
  };
  const heard = (text) => {
    const burst = /^burst (\S+) (\d+) (\d+)$/.exec(text);
    if (burst) {
      const [, name, number, count] = burst;
      const so = (bursts[name] ??= { right: 0 });
      so.right += Number(so.right === Number(number));
      if (Number(number) === Number(count) - 1) {
        say({ event: "burst", name, right: so.right });
      }
      return;
    }
    const named = /[a-z0-9_.-]+#\d+/.exec(text);
    const whole = text.length < 1000 || text === large(named?.[0], text.length);
    say({ event: "heard", data: named?.[0] ?? text.slice(0, 100), length: text.length, whole });
  };
  let send;
  const on = {
    opened: () => say({ event: "open" }),
    heard,
    waits: () => say({ event: "waits" }),
    closed: () => {
      say({ event: "waits" });
      setTimeout(open, 200);
    },
  };
  const open = () => {
    send = connect(on);
  };
  open();
  const verbs = {
    say: ({ name }) => send(name),
    large: ({ name, length }) => send(large(name, length)),
    burst: ({ name, count }) => {
      for (let number = 0; number < count; number += 1) {
        send(`burst ${name} ${number} ${count}`);
      }
    },
  };
  return (command) => {
    try {
      verbs[command.do](command);
      say({ reply: command.id });
    } catch (error) {
      say({ reply: command.id, error: String(error) });
    }
  };
}
