// What a person does with the built-in page, in two tabs.

import { Daemon, address, expect, fits, live, picture, proxyBelow, publish, reads, say, tab } from "./world.mjs";

export const world = async (browser) => {
  const daemon = await new Daemon().start();
  return { daemon, a: await tab(browser, daemon.url), b: await tab(browser, daemon.url) };
};

export const tests = {
  "the page loads with nothing blocked and connects by itself": async ({ a, b }) => {
    await Promise.all([live(a), live(b)]);
    expect(await a.page.inputValue("#topic"), "lobby");
    expect(await a.page.title(), "lobby · Fanfare");
  },

  "both tabs are welcomed": async ({ a, b }) => {
    a.address = await address(a);
    b.address = await address(b);
    await reads(a, `Welcome, ${b.address} !`);
    await reads(b, `Welcome, ${b.address} !`);
  },

  "what is typed in one tab and sent with the button is read in the other": async ({ a, b }) => {
    await a.page.fill("#say", "by the button");
    await a.page.click("#send");
    await reads(b, "by the button");
    await reads(a, "by the button");
    expect(await a.page.inputValue("#say"), "");
  },

  "what is typed and sent with Enter is read in the other, with who and when": async ({ a, b }) => {
    await b.page.fill("#say", "by Enter: grüße 🎺");
    await b.page.press("#say", "Enter");
    const line = await reads(a, "by Enter: grüße 🎺");
    expect(await line.locator(".who").textContent(), b.address);
    expect(/^\d\d:\d\d:\d\d$/.test(await line.locator("time").textContent()), true);
    const own = await reads(b, "by Enter: grüße 🎺");
    expect(await own.locator(".who").textContent(), "you");
  },

  "markup typed by a user shows as text": async ({ a, b }) => {
    const markup = `<img src=x onerror="document.title='broken'"><script>document.title='broken'</script><b>bold</b>`;
    await say(a, markup);
    const line = await reads(b, markup);
    expect(await line.locator("img, script, b").count(), 0);
    expect(await b.page.title(), "lobby · Fanfare");
  },

  "three talk in a topic, a sensor among them, and a picture is taken": async ({ a, daemon }) => {
    const url = `${daemon.url}#newsroom`;
    const viewport = { width: 1280, height: 720 };
    const [one, two, three] = [await tab(a.browser, url, { viewport }), await tab(a.browser, url), await tab(a.browser, url)];
    for (const visitor of [one, two, three]) {
      await live(visitor);
      await reads(visitor, `Welcome, ${await address(visitor)} !`);
    }
    // Each is waited for, so that the picture shows them in this order.
    const lines = [
      [two, "Is anybody here?"],
      [one, "Two of us, and one on a phone."],
      [three, "Same order here. <b>Markup</b> stays text."],
    ];
    for (const [visitor, line] of lines) {
      await say(visitor, line);
      await reads(one, line);
    }
    await publish(one, `${daemon.url.replace("http", "ws")}newsroom`, ['{"sensor":"roof","temperature_c":21.5}', new Uint8Array(48_213)]);
    await reads(one, "48,213 bytes");
    await two.page.click("#leave");
    await reads(one, "Logout");
    await say(one, "One message in, every subscriber hears it.");
    await reads(three, "One message in, every subscriber hears it.");
    await reads(one, "One message in, every subscriber hears it.");
    await picture(one.page, "page");
    await Promise.all([one, two, three].map(({ page }) => page.close()));
  },

  "a raw publisher is heard, text and binary": async ({ a, daemon }) => {
    await publish(a, `${daemon.url.replace("http", "ws")}lobby`, ["21.5 °C", new Uint8Array(1234)]);
    await reads(a, "21.5 °C");
    await reads(a, "1,234 bytes");
  },

  "nobody is drawn as having said what another has written in their name": async ({ a, b, daemon }) => {
    await say(a, "tab\there");
    expect(await (await reads(a, "tab here")).getAttribute("class"), "own");
    for (const [who, words] of [[a, "I never said this"], [b, "nor did I say that"]]) {
      await publish(b, `${daemon.url.replace("http", "ws")}lobby`, [`09:05:01 ${await address(who)} say: ${words}`]);
      const forged = await reads(a, words);
      expect(await forged.getAttribute("class"), "raw");
      expect(await forged.locator(".who").count(), 0);
    }
  },

  "below a path of a proxy the page finds its files and its socket": async ({ a, daemon }) => {
    const proxy = await proxyBelow("/live", daemon);
    const visitor = await tab(a.browser, `${proxy.url}/live/`);
    await live(visitor);
    await say(visitor, "from below a path");
    await reads(a, "from below a path");
    await visitor.page.close();
    expect(visitor.faults.join("\n"), "");
    proxy.close();
  },

  "names that proxies change in a path are topics like any": async ({ a, daemon }) => {
    for (const name of ["a//b", "/a", "a/../b", "100%2F"]) {
      const visitor = await tab(a.browser, `${daemon.url}#${encodeURIComponent(name)}`);
      await live(visitor);
      await publish(a, `${daemon.url.replace("http", "ws")}?topic=${encodeURIComponent(name)}`, [`to ${name}`]);
      await reads(visitor, `to ${name}`);
      await visitor.page.close();
    }
  },

  "who comes late is not told that nobody has spoken": async ({ a, daemon }) => {
    const late = await tab(a.browser, daemon.url);
    await live(late);
    expect(await late.page.locator("#empty strong").textContent(), "Nothing has been said since you came");
    await late.page.close();
  },

  "who comes late reads what was said before, and does not take an earlier address for its own": async ({ a, daemon }) => {
    await say(a, "long before");
    await reads(a, "long before");
    const late = await tab(a.browser, daemon.url);
    await live(late);
    await reads(late, "long before");
    await reads(late, `Welcome, ${await address(late)} !`);
    expect((await address(late)) === (await address(a)), false);
    await late.page.close();
  },

  "what was said while the connection was lost is read, and nothing is read twice": async ({ a, daemon }) => {
    const proxy = await proxyBelow("/lossy", daemon);
    const visitor = await tab(a.browser, `${proxy.url}/lossy/`);
    await live(visitor);
    await say(a, "before the loss");
    await reads(visitor, "before the loss");
    proxy.cut();
    await say(a, "during the loss");
    await visitor.page.waitForSelector("body[data-state=waiting]");
    await live(visitor);
    await reads(visitor, "during the loss");
    await say(a, "after the loss");
    await reads(visitor, "after the loss");
    for (const when of ["before", "during", "after"]) {
      expect(await visitor.page.locator("#log li", { hasText: `${when} the loss` }).count(), 1);
    }
    await visitor.page.close();
    proxy.close();
  },

  "another topic has its own link and its own messages": async ({ a, b }) => {
    await a.page.fill("#topic", "a/b ünd c");
    await a.page.click("#join");
    await live(a);
    expect(new URL(a.page.url()).hash, `#${encodeURIComponent("a/b ünd c")}`);
    const other = await tab(a.browser, a.page.url());
    await live(other);
    await say(other, "only here");
    await reads(a, "only here");
    expect(await b.page.locator("#log li", { hasText: "only here" }).count(), 0);
    await other.page.close();
    await a.page.goto(`${a.page.url().split("#")[0]}#lobby`);
    await live(a);
    a.address = await address(a);
    await say(a, "back in the lobby");
    await reads(b, "back in the lobby");
  },

  "after a restart of the daemon both tabs come back and talk again": async ({ a, b, daemon }) => {
    await daemon.kill();
    await Promise.all([a, b].map(({ page }) => page.waitForSelector("body[data-state=waiting]")));
    expect(await a.page.isDisabled("#send"), true);
    expect(await a.page.isDisabled("#say"), true);
    await daemon.start();
    await Promise.all([live(a), live(b)]);
    await say(a, "are you there?");
    await reads(b, "are you there?");
    await say(b, "I am back.");
    await reads(a, "I am back.");
    a.address = await address(a);
  },

  "leaving says Logout once, and joining again works": async ({ a, b }) => {
    await a.page.click("#leave");
    await reads(b, `${a.address} Logout`);
    await a.page.waitForSelector("body[data-state=closed]");
    expect(await a.page.isDisabled("#say"), true);
    await a.page.click("#join");
    await live(a);
    await say(a, "here again");
    // In one topic there is one order: a second Logout would have come before this.
    await reads(b, "here again");
    expect(await b.page.locator("#log li", { hasText: `${a.address} Logout` }).count(), 1);
    a.address = await address(a);
  },

  "closing a tab says Logout once": async ({ a, b }) => {
    const third = await tab(a.browser, a.page.url());
    await live(third);
    const gone = await address(third);
    await third.page.close();
    await reads(b, `${gone} Logout`);
    await say(a, "who was that?");
    await reads(b, "who was that?");
    expect(await b.page.locator("#log li", { hasText: `${gone} Logout` }).count(), 1);
  },

  "a phone shows the page without scrolling sideways": async ({ a }) => {
    const phone = await tab(a.browser, a.page.url(), { viewport: { width: 360, height: 640 }, isMobile: true });
    await live(phone);
    await say(phone, "x".repeat(500));
    await reads(a, "x".repeat(500));
    await fits(phone.page);
    await phone.page.close();
  },

  "a daemon that stops says when to come back, and the page waits until then": async ({ a, b, daemon }) => {
    daemon.process.kill("SIGTERM");
    for (const visitor of [a, b]) {
      const note = await reads(visitor, "the server is stopping, retry in");
      const [, ms] = /retry in (\d+) ms/.exec(await note.textContent());
      // Left to itself it would try again within half a second.
      await visitor.page.waitForFunction((most) => {
        const [, seconds] = /^in (\d+) s$/.exec(document.getElementById("countdown").textContent) ?? [];
        return seconds >= 2 && seconds <= most;
      }, Math.ceil(ms / 1000));
    }
    await daemon.exit;
    await daemon.start();
    await Promise.all([live(a), live(b)]);
  },

  "no script failed and the policy blocked nothing": async ({ a, b }) => {
    expect([...a.faults, ...b.faults].join("\n"), "");
  },
};
