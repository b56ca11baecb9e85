// The load test's report, of runs against the real daemon: read on a telephone and on a desk.

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { Daemon, expect, fits, picture } from "./world.mjs";

const WIDTHS = [360, 390, 768, 1100, 1600];
// Below this nobody reads what stands beside the axes.
const LETTERS_PX_MIN = 10;
// How much of a time axis may lie before the first storm.
const QUIET_MAX = 0.4;

const RUNS = {
  fanout: ["report-{topic}?echo=true", "--echo", "-n", "50", "--rate", "100", "-d", "2s", "--warmup", "200ms"],
  ramp: ["report", "-n", "20", "--from", "100", "--p99", "50ms", "--step", "200ms", "--refine", "2"],
  storm: ["report-{topic}", "-n", "2000", "--in-flight", "500", "--live", "20", "--rounds", "3", "--rate", "200", "--quiet-time", "1s"],
};

export async function world(browser) {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-report-"));
  const daemon = await new Daemon("--cores", "1").start();
  const pages = {};
  for (const [scenario, [topic, ...words]] of Object.entries(RUNS)) {
    const file = join(folder, `${scenario}.html`);
    const url = `${daemon.url.replace("http", "ws")}${topic}`;
    const pid = ["--pid", String(daemon.process.pid)];
    await promisify(execFile)(process.env.LOADTEST_BIN, [scenario, "--url", url, ...words, ...pid, "--quiet", "--report", file]);
    pages[scenario] = await browser.newPage();
    await pages[scenario].goto(pathToFileURL(file).href);
  }
  return { daemon, folder, pages };
}

export const tests = {
  "a report fits each width, and none of its tables scrolls": async ({ pages }) => {
    await each(pages, async (page) => {
      await fits(page);
      expect((await page.evaluate(scrolling)).join(), "");
    });
  },

  "of each plot one drawing is shown, with letters that can be read, and all of it on its card": async ({ pages }) => {
    await each(pages, async (page) => {
      const drawings = await page.evaluate(shownDrawings);
      expect(drawings.length > 3, true);
      for (const { figure, shown, letters_px, beside } of drawings) {
        expect(`${figure}: ${shown} drawings`, `${figure}: 1 drawings`);
        expect(`${figure}: ${letters_px >= LETTERS_PX_MIN ? "can be read" : `letters of ${letters_px} px`}`, `${figure}: can be read`);
        expect(`${figure}: ${beside.join()}`, `${figure}: `);
      }
    });
  },

  "what a place of a plot tells stays in the window": async ({ pages }) => {
    await each(pages, async (page) => {
      for (const svg of await page.locator("svg:visible").all()) {
        await svg.scrollIntoViewIfNeeded();
        const box = await svg.boundingBox();
        for (const share of [0.25, 0.6, 0.95]) {
          await page.mouse.move(box.x + share * box.width, box.y + box.height / 2);
          const told = await svg.locator("xpath=following-sibling::output").boundingBox();
          expect(told.x >= 0 && told.x + told.width <= page.viewportSize().width, true);
        }
      }
      await fits(page);
    });
  },

  "the rate that held is named in the plots of a ramp": async ({ pages }) => {
    const named = await pages.ramp.locator("figure", { hasText: "the highest that held" }).count();
    // By percentile, in its legend, and by rate, at its mark.
    expect(named, 2);
  },

  "storms fill their time axis": async ({ pages }) => {
    const shares = await pages.storm.evaluate(storms);
    expect(shares.length > 3, true);
    for (const share of shares) {
      expect(share <= QUIET_MAX, true);
    }
  },

  "pictures of a report are taken": async ({ pages }) => {
    await pages.storm.reload();
    await pages.storm.evaluate(() => scrollTo(0, 0));
    await picture(pages.storm, "report");
  },

  "what was made for this is taken away": async ({ folder, pages }) => {
    await Promise.all(Object.values(pages).map((page) => page.close()));
    rmSync(folder, { recursive: true });
  },
};

async function each(pages, look) {
  for (const [scenario, page] of Object.entries(pages)) {
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 760 });
      try {
        await look(page);
      } catch (error) {
        throw new Error(`${scenario}, ${width} px: ${error.message}`);
      }
    }
  }
}

// ---- Looked at in the page --------------------------------------------------

function scrolling() {
  const boxes = [...document.querySelectorAll(".wide")].filter((box) => box.scrollWidth > box.clientWidth);
  return boxes.map((box) => `${box.previousElementSibling.textContent} is ${box.scrollWidth} in ${box.clientWidth}`);
}

function shownDrawings() {
  return [...document.querySelectorAll("figure")].map((figure) => {
    const shown = [...figure.querySelectorAll("svg")].filter((svg) => svg.clientWidth > 0);
    const card = figure.getBoundingClientRect();
    const texts = shown.flatMap((svg) => [...svg.querySelectorAll("text")]);
    const sizes = shown.map((svg) => (12 * svg.getBoundingClientRect().width) / svg.viewBox.baseVal.width);
    const isBeside = (text) => {
      const { left, right } = text.getBoundingClientRect();
      return left < card.left || right > card.right;
    };
    return {
      figure: figure.querySelector("h3").textContent,
      shown: shown.length,
      letters_px: Math.min(...sizes),
      beside: texts.filter(isBeside).map((text) => text.textContent),
    };
  });
}

// Where on its axis the first storm begins, in each plot over time.
function storms() {
  const plots = [...document.querySelectorAll(".plot.broad svg")];
  const named = plots.filter((svg) => [...svg.querySelectorAll(".name")].some((name) => name.textContent.startsWith("storm")));
  return named.map((svg) => {
    const axis = svg.querySelector(".axis");
    const [left, right] = [axis.x1.baseVal.value, axis.x2.baseVal.value];
    const marks = [...svg.querySelectorAll(".mark")].map((mark) => mark.x1.baseVal.value);
    // The quiet time's mark stands at the left end, as most of it is not shown.
    return (marks[1] - left) / (right - left);
  });
}
