// The guide's own words, in the page: a section of a file of it, or the row of a setting. The
// daemon brings the files along, so they are of its version.

const SETTINGS = "docs/configuration.md";
const TUNING = "docs/operating.md#tune";

const at = (id) => document.getElementById(id);
const read = new Map(); // path → its text, to come or there

// `place` is a file of the guide, with an anchor behind # for one of its sections.
export async function openGuide(place) {
  const [path, anchor = ""] = place.split("#");
  await open(path, (text) => section(text, anchor));
}

// What is bounded and no setting is a matter of the system.
export async function openSetting(name) {
  const lines = await load(SETTINGS).then((text) => settingLines(text, name), () => null);
  await (lines === null ? openGuide(TUNING) : open(SETTINGS, () => ({ title: name, lines })));
}

export function closeGuide() {
  at("words").close();
}

async function open(path, choose) {
  const dialog = at("words");
  at("words-title").textContent = "The guide";
  at("words-text").replaceChildren("…");
  if (!dialog.open) {
    dialog.showModal();
  }
  try {
    const { title, lines } = choose(await load(path));
    at("words-title").textContent = title;
    at("words-text").replaceChildren(...blocks(lines, path));
  } catch (error) {
    at("words-text").textContent = `${path} cannot be shown: ${error.message}`;
  }
  dialog.scrollTop = 0;
}

function load(path) {
  if (!read.has(path)) {
    const text = fetch(`./${path}`).then((answer) => {
      if (!answer.ok) {
        throw new Error(`the daemon answered with ${answer.status}`);
      }
      return answer.text();
    });
    // What has failed is tried again.
    text.catch(() => read.delete(path));
    read.set(path, text);
  }
  return read.get(path);
}

// ---- What of a file is wanted -----------------------------------------------

const HEADING = /^(#{1,6}) (.*)$/;

// The section whose heading has that anchor, up to the next of its rank; without an anchor all.
function section(text, anchor) {
  const lines = text.split("\n");
  const headings = findHeadings(lines);
  const found = anchor === "" ? headings[0] : headings.find((heading) => slug(heading.title) === anchor);
  if (!found) {
    throw new Error(`it has no section ${anchor}`);
  }
  const next = headings.find((heading) => heading.line > found.line && heading.rank <= found.rank);
  return { title: found.title.replaceAll("`", ""), lines: lines.slice(found.line + 1, next?.line) };
}

// A line of a shell's comment within a block of code is none.
function findHeadings(lines) {
  let fenced = false;
  const found = [];
  lines.forEach((text, line) => {
    fenced = text.startsWith("```") ? !fenced : fenced;
    const heading = fenced ? null : HEADING.exec(text);
    if (heading) {
      found.push({ line, rank: heading[1].length, title: heading[2] });
    }
  });
  return found;
}

// As anchors are made of headings where such files are read otherwise.
function slug(title) {
  return title.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-");
}

// The row of a setting becomes what its columns say; null without one.
function settingLines(text, name) {
  const row = text.split("\n").find((line) => line.startsWith(`| \`${name}\` |`));
  if (!row) {
    return null;
  }
  const [, initial, allowed, change, meaning] = cellsOf(row);
  return [`${meaning}.`, "", `- Default: ${initial}`, `- Allowed: ${allowed}`, `- Changed by: ${change}`];
}

// ---- From Markdown to the page, as far as the guide uses it -----------------

function blocks(lines, path) {
  const made = [];
  for (let line = 0; line < lines.length; ) {
    const [block, next] = nextBlock(lines, line, path);
    if (block) {
      made.push(block);
    }
    line = next;
  }
  return made;
}

function nextBlock(lines, from, path) {
  const line = lines[from];
  const until = (holds) => {
    let end = from + 1;
    while (end < lines.length && holds(lines[end])) end += 1;
    return end;
  };
  if (line.trim() === "") {
    return [null, from + 1];
  }
  if (line.startsWith("```")) {
    const end = until((text) => !text.startsWith("```"));
    return [filled("pre", lines.slice(from + 1, end).join("\n")), end + 1];
  }
  if (line.startsWith("    ")) {
    const end = until((text) => text.startsWith("    "));
    return [filled("pre", lines.slice(from, end).map((text) => text.slice(4)).join("\n")), end];
  }
  const heading = HEADING.exec(line);
  if (heading) {
    return [inline("h3", heading[2], path), from + 1];
  }
  if (line.startsWith("|")) {
    const end = until((text) => text.startsWith("|"));
    return [table(lines.slice(from, end), path), end];
  }
  if (line.startsWith("- ")) {
    const end = until((text) => text.startsWith("- ") || text.startsWith("  "));
    return [list(lines.slice(from, end), path), end];
  }
  const end = until((text) => text.trim() !== "" && !/^(\||- |```|#)/.test(text));
  return [inline("p", lines.slice(from, end).join(" "), path), end];
}

function list(lines, path) {
  const items = [];
  for (const line of lines) {
    if (line.startsWith("- ")) {
      items.push(line.slice(2));
    } else {
      items[items.length - 1] += ` ${line.trim()}`;
    }
  }
  const made = document.createElement("ul");
  made.append(...items.map((item) => inline("li", item, path)));
  return made;
}

// Each row but the head and the rule below it; the columns' names go along for narrow windows.
function table([head, , ...rows], path) {
  const names = cellsOf(head);
  const made = document.createElement("table");
  const line = made.createTHead().insertRow();
  line.append(...names.map((name) => inline("th", name, path)));
  const body = made.createTBody();
  for (const row of rows) {
    const cells = cellsOf(row).map((cell, number) => {
      const data = inline("td", cell, path);
      data.dataset.name = names[number] ?? "";
      return data;
    });
    body.insertRow().append(...cells);
  }
  return made;
}

function cellsOf(row) {
  // A bar within a cell is written with a backslash before it.
  const cells = row.trim().replace(/^\||\|$/g, "").replaceAll("\\|", "\0").split("|");
  return cells.map((cell) => cell.trim().replaceAll("\0", "|"));
}

const MARKED = /`([^`]+)`|\*\*([^*]+)\*\*|!?\[([^\]]+)\]\(([^)]+)\)/g; // of a picture, its words

function inline(name, text, path) {
  const made = document.createElement(name);
  let from = 0;
  for (const mark of text.matchAll(MARKED)) {
    made.append(text.slice(from, mark.index), marked(mark, path));
    from = mark.index + mark[0].length;
  }
  made.append(text.slice(from));
  return made;
}

function marked([, code, strong, words, target], path) {
  if (code !== undefined) {
    return filled("code", code);
  }
  if (strong !== undefined) {
    return filled("b", strong);
  }
  const place = placeOf(target, path);
  if (place === null) {
    return inline("span", words, path);
  }
  const button = inline("button", words, path);
  button.className = "link";
  button.type = "button";
  button.dataset.doc = place;
  return button;
}

// Another place in the guide that a link leads to; null where it leads elsewhere.
function placeOf(target, path) {
  const [file, anchor] = target.split("#");
  if (file !== "" && !/^[\w-]+\.md$/.test(file)) {
    return null;
  }
  const whole = file === "" ? path : `docs/${file}`;
  return anchor === undefined ? whole : `${whole}#${anchor}`;
}

function filled(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
