// The dashboard: asks the daemon once a second how it does, and shows the answer.
// What is shown where is in drawing.js; the guide's words come from guide.js.

import { draw, remember, showAge } from "./drawing.js";
import { openGuide, openSetting, closeGuide } from "./guide.js";

const ASK_MS = 1_000;
const PATIENCE_MS = 10_000; // an answer that takes longer is given up
const RETRY_MS_MAX = 10_000;
const TYPING_MS = 250; // a filter is asked for when typing rests
const TOPICS = [20, 50, 200]; // how many are asked for; the button "More topics" goes on to the next
const TOKEN_KEY = "fanfare-admin-token";

const at = (id) => document.getElementById(id);
const ui = {
  state: at("state"), fault: at("fault"), board: at("board"), pause: at("pause"),
  tokenForm: at("token-form"), token: at("token"),
  by: at("by"), filter: at("filter"), more: at("more"),
};

// ---- The token --------------------------------------------------------------

// In memory alone where the browser stores nothing for this page.
let token = stored();

function stored() {
  try {
    return sessionStorage.getItem(TOKEN_KEY);
  } catch {
    return null;
  }
}

function keepToken(value) {
  token = value;
  try {
    if (value === null) {
      sessionStorage.removeItem(TOKEN_KEY);
    } else {
      sessionStorage.setItem(TOKEN_KEY, value);
    }
  } catch {
    // It is in memory.
  }
}

// ---- Asking -----------------------------------------------------------------

let timer = 0;
let paused = false;
let failures = 0;
let asking = null; // ends the question under way
let topics = TOPICS[0];

async function ask() {
  clearTimeout(timer);
  asking?.abort();
  const own = new AbortController();
  asking = own;
  const patience = setTimeout(() => own.abort(), PATIENCE_MS);
  const begun = performance.now();
  let wait = ASK_MS;
  try {
    const query = new URLSearchParams({ topics, by: ui.by.value, filter: ui.filter.value.trim(), connections: 20 });
    // A token is never part of an address: those are kept and logged.
    const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
    const answer = await fetch(`./overview?${query}`, { headers, cache: "no-store", signal: own.signal });
    const told = await answer.json();
    if (asking !== own) {
      return;
    }
    failures = 0;
    if (!handleAnswer(answer.status, told)) {
      return;
    }
  } catch (error) {
    if (asking !== own) {
      return; // a newer question is under way
    }
    failures += 1;
    wait = Math.min(RETRY_MS_MAX, ASK_MS * 2 ** (failures - 1));
    show("lost", `The daemon does not answer${error.name === "AbortError" ? " in time" : ""}. The figures are the last that it gave; it is asked again.`);
  } finally {
    clearTimeout(patience);
  }
  if (!paused && !document.hidden) {
    timer = setTimeout(ask, Math.max(0, wait - (performance.now() - begun)));
  }
}

// Whether to ask again by and by.
function handleAnswer(status, told) {
  if (status === 401) {
    const fault = token === null ? "" : (told.error ?? "This is not the admin token.");
    keepToken(null);
    show("locked", fault);
    ui.token.focus();
    return false;
  }
  if (status !== 200) {
    show("refused", told.error ?? `The daemon answered with ${status}.`);
    return true;
  }
  remember(told);
  draw(told);
  ui.more.hidden = told.topics.shown.length < topics || topics === TOPICS[TOPICS.length - 1];
  show(paused ? "paused" : told.state);
  return true;
}

// ---- What state it is in ----------------------------------------------------

const WORDS = {
  asking: "Asking…", lost: "No answer", locked: "Locked", refused: "Refused", paused: "Paused",
  ready: "Serving", starting: "Starting", stopping: "Stopping", handed_over: "Handed over",
};
const EXPLAINED = {
  handed_over: "Another process serves now. This page gets to it as soon as the browser opens a new connection.",
};

function show(state, fault = EXPLAINED[state] ?? "") {
  document.body.dataset.state = state;
  const words = WORDS[state] ?? state;
  if (ui.state.textContent !== words) {
    ui.state.textContent = words;
  }
  ui.fault.textContent = fault;
  ui.fault.hidden = fault === "";
  ui.tokenForm.hidden = state !== "locked";
  if (state === "locked") {
    ui.board.hidden = true;
  } else if (!["asking", "lost", "refused"].includes(state)) {
    ui.board.hidden = false;
  }
  ui.pause.hidden = ui.board.hidden;
}

// ---- Wiring -----------------------------------------------------------------

ui.tokenForm.onsubmit = (event) => {
  event.preventDefault();
  keepToken(ui.token.value.trim());
  ui.token.value = "";
  show("asking");
  ask();
};
ui.pause.onclick = () => {
  paused = !paused;
  ui.pause.textContent = paused ? "Go on" : "Pause";
  if (paused) {
    clearTimeout(timer);
    asking?.abort();
    asking = null;
    show("paused");
  } else {
    ask();
  }
};
ui.by.onchange = ask;
let typing = 0;
ui.filter.oninput = () => {
  clearTimeout(typing);
  typing = setTimeout(ask, TYPING_MS);
};
ui.more.onclick = () => {
  topics = TOPICS[TOPICS.indexOf(topics) + 1];
  ask();
};
// Whoever does not look on does not ask.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
  } else if (!paused && document.body.dataset.state !== "locked") {
    ask();
  }
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-doc], [data-setting]");
  if (button?.dataset.doc) {
    openGuide(button.dataset.doc);
  } else if (button) {
    openSetting(button.dataset.setting);
  }
});
at("all-limits").onclick = ({ target }) => {
  target.dataset.pressed = "yes";
  ask();
};
at("words-close").onclick = closeGuide;
setInterval(showAge, ASK_MS);

show("asking");
ask();
