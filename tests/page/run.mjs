// Runs all that a headless browser does against the real daemon. Started by ./run, which says
// what it needs.

import * as chat from "./chat.mjs";
import * as dashboard from "./dashboard.mjs";
import * as report from "./report.mjs";
import * as use from "./use.mjs";
import { launch } from "./world.mjs";

// A part makes a world of its own, and its tests go on in one another's.
const PARTS = { chat, use, dashboard, report };

let passed = 0;
let failed = 0;

function fail(name, error) {
  failed += 1;
  console.log(`FAILED  ${name}\n        ${error.message.split("\n").join("\n        ")}`);
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((part) => !Object.hasOwn(PARTS, part));
if (unknown.length > 0) {
  console.error(`there is no part ${unknown.join(", ")}: there are ${Object.keys(PARTS).join(", ")}`);
  process.exit(2);
}
const browser = await launch();
for (const [part, { world, tests }] of Object.entries(PARTS)) {
  if (wanted.length > 0 && !wanted.includes(part)) {
    continue;
  }
  let made;
  try {
    made = await world(browser);
    for (const [name, test] of Object.entries(tests)) {
      try {
        await test(made);
        passed += 1;
        console.log(`ok      ${name}`);
      } catch (error) {
        fail(name, error);
      }
    }
  } catch (error) {
    fail(`to start the ${part}`, error);
  } finally {
    await made?.daemon.kill().catch(() => {});
  }
}
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
