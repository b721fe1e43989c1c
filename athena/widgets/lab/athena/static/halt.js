// HALT in a page: it asks the Jupyter server, never the kernel, so that a busy, hung or dead kernel delays nothing.
// One file for the widget in a notebook (anywidget's `render`) and for JupyterLab's top bar (`control`).

const STALE_MS = 3000; // older than this, what is shown looks old
const POLL_MS = 1000;
const ANSWER_MS = 5000; // a server that says nothing for so long is told as a failure
const SAME_CLICK_MS = 2000; // clicks so close together are one halt
const TERMINAL = "In a terminal now: athena halt";

const TYPING = { "data-lm-suppress-shortcuts": "true" }; // keys typed here are not JupyterLab's commands

const MODES = {
  active: ["●", "ACTIVE", "athena-ok"],
  reduce_only: ["◆", "REDUCE-ONLY", "athena-careful"],
  halted: ["■", "HALTED", "athena-bad"],
  unknown: ["?", "UNKNOWN", "athena-unknown"],
};
const VENUES = {
  live: ["LIVE MONEY", "athena-live"],
  paper: ["PAPER, no real money", "athena-paper"],
  simulator: ["SIMULATOR, no real money", "athena-simulator"],
};

// ---------------------------------------------------------------------------------------------------- asking the server

function baseUrl() {
  const config = document.getElementById("jupyter-config-data");
  try {
    return JSON.parse(config.textContent).baseUrl || "/";
  } catch {
    return document.body?.dataset?.baseUrl || "/"; // the classic page, or none of Jupyter's: then the origin itself
  }
}

function cookie(name) {
  const found = document.cookie.split("; ").find((part) => part.startsWith(name + "="));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}

// The JSON answer; throws an Error whose `status` is HTTP's, 0 when the server did not answer at all.
async function ask(path, body, milliseconds = ANSWER_MS) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), milliseconds);
  const options = { credentials: "same-origin", signal: stop.signal, cache: "no-store", headers: {} };
  if (body !== undefined) {
    options.method = "POST";
    options.headers = { "Content-Type": "application/json", "X-XSRFToken": cookie("_xsrf") };
    options.body = JSON.stringify(body);
  }
  try {
    const answer = await fetch(baseUrl() + "athena/" + path, options);
    const facts = await answer.json().catch(() => null); // null: a log-in page, or cut off
    if (facts && (answer.ok || facts.key)) return facts; // a halt that failed has its own words
    const said = [facts?.message, facts?.next].filter(Boolean).join(" ");
    throw Object.assign(new Error(said), { status: answer.ok ? 0 : answer.status });
  } catch (error) {
    if (error.status) throw error;
    throw Object.assign(new Error("The Jupyter server does not answer."), { status: 0 });
  } finally {
    clearTimeout(timer);
  }
}

const query = (system) => new URLSearchParams(system).toString();

// Facts of one live system each second, for everybody in this page who watches it; not while the tab is hidden.
const watchers = new Map();

export function watch(system, show) {
  const key = query(system);
  if (!watchers.has(key)) watchers.set(key, new Watcher(system));
  const watcher = watchers.get(key);
  watcher.shows.add(show);
  watcher.start();
  return () => {
    watcher.shows.delete(show);
    if (!watcher.shows.size) watcher.stop();
  };
}

class Watcher {
  constructor(system) {
    Object.assign(this, { system, shows: new Set(), timer: 0, facts: null, at: 0, failed: "", asking: false });
    this.wake = () => document.hidden || this.tick();
  }
  start() {
    if (this.timer) return this.tell();
    this.timer = setInterval(() => document.hidden || this.tick(), POLL_MS);
    document.addEventListener("visibilitychange", this.wake);
    this.tick();
  }
  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    document.removeEventListener("visibilitychange", this.wake);
  }
  async tick() {
    this.tell();
    if (this.asking) return;
    this.asking = true;
    try {
      this.facts = await ask("status?" + query(this.system), undefined, STALE_MS);
      this.at = Date.now();
      this.failed = "";
    } catch (error) {
      this.failed = why(error);
    } finally {
      this.asking = false;
      this.tell();
    }
  }
  tell() {
    const age = this.at ? Date.now() - this.at : Infinity;
    for (const show of this.shows) {
      try {
        show(this.facts, age, this.failed);
      } catch (error) {
        console.error("Athena: the state could not be shown", error); // and the next look is taken all the same
      }
    }
  }
}

function why(error) {
  if (error.status === 404) return "Athena's part of the Jupyter server is missing here.";
  if (error.status === 403) return "The Jupyter server refuses: log in again.";
  return error.message || "The Jupyter server refuses (" + error.status + ").";
}

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// ---------------------------------------------------------------------------------------------------------- the control

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== "") node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function words(seconds) {
  if (seconds < 120) return Math.round(seconds) + " s";
  if (seconds < 7200) return Math.round(seconds / 60) + " min";
  return Math.round(seconds / 3600) + " h";
}

function style() {
  if (document.getElementById("athena-halt-style")) return;
  document.head.append(make("style", { id: "athena-halt-style" }, CSS));
}

// A HALT button with the system's state beside it. `system` is {home, account} or {}; `fallback(kind, facts)` asks the
// kernel where the server has no part of Athena's, and resolves to the same proof. With `bar` it is one line, and the proof
// floats over the page, in `host`.
export function control({ scope = "global", target = "", system = {}, notebook = "", fallback = null, bar = false, host = document.body }) {
  style();
  const what = target ? target : bar ? "" : "ALL TRADING";
  const label = target ? `Halt ${scope} ${target} now` : "Halt all trading now";
  const button = make("button", { type: "button", class: "athena-halt", "aria-label": label, title: label, onclick: press });
  button.append(("HALT " + what).trim());
  const venue = make("span", { class: "athena-badge" });
  const mode = make("span", { class: "athena-badge", role: "status" });
  const detail = make("span", { class: "athena-detail" });
  const state = make("div", { class: "athena-state" }, venue, mode, detail);
  const proof = make("div", { class: "athena-proof", role: "alert", "aria-live": "assertive" });
  const panel = make("div", { class: "athena-panel", hidden: true, ...TYPING }, proof);
  const root = make("div", { class: bar ? "athena-bar" : "athena-box", role: "group", "aria-label": "Halt trading", ...TYPING });
  if (bar) {
    root.append(state, button);
    host.append(panel);
    panel.classList.add("athena-floating");
  } else {
    root.append(make("div", { class: "athena-row" }, button, state), panel);
  }
  const more = emergency({ system, notebook, open: () => (panel.hidden = false) });
  let click = { key: "", until: 0 }; // the halt that clicks in quick succession belong to
  let current = null;

  async function press() {
    const now = Date.now();
    if (now > click.until) click = { key: newKey(), until: 0 };
    click.until = now + SAME_CLICK_MS;
    const { key } = click;
    if (current?.key === key && !current.done) return;
    current = null;
    button.classList.add("athena-working");
    say("athena-working", "Halting …");
    const asked = { key, scope, target, notebook, ...system };
    let found = null;
    try {
      found = await ask("halt", asked);
    } catch (error) {
      found = await otherwise(error, asked);
    }
    if (found) await follow(found, asked);
    button.classList.remove("athena-working");
    for (const watcher of watchers.values()) watcher.tick();
  }

  async function otherwise(error, asked) {
    if (fallback && error.status !== 0) {
      say("athena-careful", why(error) + " Asking the kernel instead: it answers only when its cell has ended.");
      try {
        return { ...(await fallback("halt", asked)), kernel: why(error) };
      } catch {
        error = new Error(why(error) + " The kernel does not answer either.");
      }
    }
    say("athena-bad", "NOT KNOWN TO BE HALTED. " + why(error), TERMINAL);
    return null;
  }

  // Show the proof, and go on asking until nothing more will come.
  async function follow(found, asked) {
    current = found;
    show(found);
    for (let tries = 0; !found.done && tries < 60; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      try {
        const next = found.kernel
          ? await fallback("proof", asked)
          : await ask("halt?key=" + encodeURIComponent(asked.key));
        found = { ...next, kernel: found.kernel };
      } catch {
        continue; // what is proven stays on the screen
      }
      current = found;
      show(found);
    }
  }

  function show(found) {
    const clean = found.halted && ["journal", "cancels", "sends"].every((part) => found[part].ok !== false);
    const kind = found.halted === false ? "athena-bad" : clean ? "athena-done" : "athena-careful";
    const notes = [found.doubt && "CAREFUL: " + found.doubt, found.next];
    if (found.kernel) notes.push(found.kernel + " The kernel did it, and would wait for a running cell.");
    say(kind, found.text, ...notes.filter(Boolean));
    const asked = proof.querySelector(".athena-reason");
    if (found.halted && found.journal.halt && !found.reason_given && !asked) proof.append(reason(found, { system, notebook, fallback }));
    if (!target) proof.append(more);
  }

  function say(kind, first, ...rest) {
    const typed = proof.querySelector("input[type=text]");
    const keep = typed && current?.journal?.halt && typed.dataset.halt === current.journal.halt ? typed.closest(".athena-reason") : null;
    const focused = keep && document.activeElement === typed;
    panel.hidden = false;
    panel.className = "athena-panel " + kind + (bar ? " athena-floating" : "");
    const lines = rest.map((text) => make("div", { class: "athena-note" }, text));
    const close = make("button", { type: "button", class: "athena-close", "aria-label": "Close", onclick: hide }, "×");
    proof.replaceChildren(...(bar ? [close] : []), make("strong", {}, first), ...lines);
    if (keep) proof.append(keep);
    if (focused) typed.focus();
  }

  function hide() {
    panel.hidden = true;
    button.focus();
  }

  const unwatch = watch(system, (facts, age, failed) => {
    const stale = !facts || age > STALE_MS;
    root.classList.toggle("athena-stale", stale);
    const [sign, name, colour] = MODES[facts ? modeOf(facts, scope, target) : "unknown"] || MODES.unknown;
    const word = `${target} ${name}`.trim();
    const idle = facts && name === "ACTIVE" && !facts.passes; // green is for a system that can trade
    mode.className = "athena-badge " + (stale ? "athena-unknown" : idle ? "athena-careful" : colour);
    mode.textContent = stale ? "? " + (facts ? "was " + word : "UNKNOWN") : `${idle ? "▲" : sign} ${word}`;
    const [venueWord, venueColour] = (facts && VENUES[facts.venue]) || ["venue UNKNOWN", "athena-unknown"];
    venue.className = "athena-badge " + venueColour;
    venue.textContent = bar ? venueWord.split(",")[0] : venueWord;
    detail.textContent = stale
      ? (facts ? `as of ${words(age / 1000)} ago. ` : "") + (failed || "Asking …")
      : told(facts, bar, scope, target);
    root.title = bar && facts ? [venueWord, facts.why, facts.engine.text].join("; ") : "";
  });

  return {
    node: root,
    press,
    dispose() {
      unwatch();
      panel.remove();
    },
  };
}

// A page's modal dialog makes everything beneath it dead to clicks: each gets a HALT of its own while it is open.
export function overDialogs(options) {
  const made = new Map();
  const look = () => {
    for (const [dialog, own] of made) {
      if (dialog.isConnected) continue;
      own.dispose();
      made.delete(dialog);
    }
    for (const dialog of document.querySelectorAll("body > dialog")) {
      if (made.has(dialog)) continue;
      const host = dialog.querySelector(".jp-Dialog-content") || dialog;
      const own = control({ ...options, bar: true, host });
      host.append(make("div", { class: "athena-over" }, own.node));
      made.set(dialog, own);
    }
  };
  new MutationObserver(look).observe(document.body, { childList: true });
}

const STRICTNESS = ["active", "reduce_only", "halted", "unknown"];
const concerns = (halt, scope, target) => !target || halt.scope === "global" || (halt.scope === scope && halt.target === target);

// The mode of everything, or of one symbol or strategy: the strictest of the halts that concern it.
function modeOf(facts, scope, target) {
  if (!target) return facts.mode;
  const own = facts.halts.filter((halt) => concerns(halt, scope, target)).map((halt) => halt.mode);
  return [facts.mode, ...own].reduce((a, b) => (STRICTNESS.indexOf(b) > STRICTNESS.indexOf(a) ? b : a));
}

function told(facts, bar, scope, target) {
  const engine = facts.engine.running ? "" : "engine " + facts.engine.text;
  if (facts.problem) return facts.problem;
  if (bar) return engine ? "ENGINE DOWN" : "";
  const halts = facts.halts.filter((halt) => concerns(halt, scope, target));
  const first = halts[0];
  const halt = first ? `${first.where} ${first.mode.replace("_", "-")} by ${first.owner}, ${words(first.age_seconds)} ago: ${first.reason}` : "";
  const count = (target ? halts.length : facts.halts_total) - 1;
  const account = [facts.account, facts.account_number].filter((part) => part && part !== facts.venue).join(" ");
  const passes = modeOf(facts, scope, target) === "active" ? facts.why : "";
  return [account, passes, halt, count > 0 ? `and ${count} more` : "", engine || "engine running"].filter(Boolean).join(" · ");
}

function reason(found, { system, notebook, fallback }) {
  const halt = found.journal.halt;
  const field = make("input", { type: "text", maxlength: "400", placeholder: "Why? (for the record)", "aria-label": "Reason of the halt", "data-halt": halt });
  const send = make("button", { type: "button", onclick: record }, "Record the reason");
  const answer = make("span", { role: "status" });
  const form = make("div", { class: "athena-reason" }, field, send, answer); // a real form is not submitted in JupyterLab
  field.addEventListener("keydown", (event) => event.key === "Enter" && record());
  async function record() {
    const asked = { halt, reason: field.value, notebook, ...system };
    try {
      const written = found.kernel ? await fallback("reason", asked) : await ask("halt/reason", asked);
      form.replaceChildren(`Reason recorded, journal #${written.sequence}: ${written.reason}`);
    } catch (error) {
      answer.textContent = why(error);
      answer.className = "athena-error";
    }
  }
  return form;
}

// Emergency stop: rehearsed by one click, done by two.
function emergency({ system, notebook }) {
  const result = make("div", { role: "status", class: "athena-steps" });
  const flatten = make("input", { type: "checkbox" });
  const rehearse = make("button", { type: "button", onclick: () => run(true) }, "Rehearse (changes nothing)");
  const stop = make("button", { type: "button", class: "athena-stop", onclick: arm }, "Emergency stop");
  let armed = 0;
  function arm() {
    if (Date.now() - armed < 5000) return run(false);
    armed = Date.now();
    stop.textContent = "Click again: cancel all at the venue" + (flatten.checked ? ", close all" : "");
    setTimeout(() => (stop.textContent = "Emergency stop"), 5000);
  }
  async function run(dry_run) {
    armed = 0;
    stop.disabled = rehearse.disabled = true;
    result.textContent = dry_run ? "Asking the venue …" : "Stopping at the venue …";
    try {
      const done = await ask("emergency-stop", { dry_run, flatten: flatten.checked, notebook, ...system }, 190000);
      const lines = done.steps.map((step) => make("li", { class: step.proven ? "" : "athena-error" }, `${step.proven ? "✓" : "✗ FAILED"} ${step.name}: ${step.proof}`));
      const verdict = done.dry_run ? "Rehearsed, nothing was changed" : done.proven ? "Stopped, each step proven" : "NOT ALL STEPS ARE PROVEN";
      result.replaceChildren(make("b", {}, verdict), make("ul", {}, ...lines));
    } catch (error) {
      result.replaceChildren(make("span", { class: "athena-error" }, why(error) + " In a terminal now: athena emergency-stop"));
    } finally {
      stop.disabled = rehearse.disabled = false;
    }
  }
  const note = "Cancels everything at the venue without the engine, and has the venue refuse new orders.";
  return make("details", { class: "athena-emergency" }, make("summary", {}, "Emergency stop"), make("div", {}, note),
    make("label", {}, flatten, " also close every position"), make("div", { class: "athena-row" }, rehearse, stop), result);
}

// ------------------------------------------------------------------------------------------------ a widget in a notebook

let asking = 0;

// Ask the kernel's side of the widget; rejects when it says nothing, as it does while a cell runs.
function kernel(model, kind, facts, milliseconds) {
  const id = ++asking;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => done(reject, new Error("The kernel does not answer.")), milliseconds);
    function hear(message) {
      if (message?.id !== id) return;
      if (message.error) done(reject, Object.assign(new Error(message.error), { status: 400 }));
      else done(resolve, message.facts);
    }
    function done(settle, value) {
      clearTimeout(timer);
      model.off("msg:custom", hear);
      settle(value);
    }
    model.on("msg:custom", hear);
    model.send({ id, kind, facts });
  });
}

export default {
  render({ model, el }) {
    const made = control({
      scope: model.get("scope"),
      target: model.get("target"),
      system: model.get("system"),
      notebook: model.get("notebook"),
      fallback: (kind, facts) => kernel(model, kind, facts, 20000),
    });
    el.append(made.node);
    return () => made.dispose();
  },
};

const CSS = `
.athena-box, .athena-bar, .athena-panel { font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: 13px; line-height: 1.45; color: var(--jp-ui-font-color0, #111); }
.athena-box { max-width: 60em; }
.athena-row { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: center; }
.athena-bar { display: flex; align-items: center; gap: 8px; height: 100%; padding: 0 8px; white-space: nowrap; }
.athena-halt { font: inherit; font-weight: 800; letter-spacing: .04em; color: #fff; background: #b3001b; border: 2px solid #7d0013; border-radius: 6px; cursor: pointer; }
.athena-box .athena-halt { font-size: 20px; min-height: 56px; flex: 0 1 280px; padding: 8px 16px; }
.athena-bar .athena-halt { font-size: 13px; padding: 1px 16px; line-height: 18px; }
.athena-halt:hover { background: #8f0016; }
.athena-halt:active, .athena-halt.athena-working { background: #5c000e; }
.athena-halt:focus-visible, .athena-panel button:focus-visible, .athena-panel input:focus-visible { outline: 3px solid var(--jp-brand-color1, #1a73e8); outline-offset: 2px; }
.athena-state { display: flex; flex-wrap: wrap; gap: 4px 8px; align-items: center; flex: 1 1 260px; min-width: 0; }
.athena-bar .athena-state { flex-wrap: nowrap; flex: none; }
.athena-detail { flex: 1 1 100%; overflow-wrap: anywhere; color: var(--jp-ui-font-color1, #333); }
.athena-bar .athena-detail { flex: none; max-width: 22em; font-weight: 700; overflow: hidden; text-overflow: ellipsis; }
.athena-badge { padding: 0 8px; border-radius: 4px; font-weight: 700; border: 2px solid transparent; line-height: 18px; }
.athena-badge.athena-ok { background: #14692f; color: #fff; }
.athena-badge.athena-bad { background: #b3001b; color: #fff; }
.athena-badge.athena-careful { background: #ffd54d; color: #241a00; }
.athena-badge.athena-unknown { background: repeating-linear-gradient(45deg, #6b6b6b 0 6px, #575757 6px 12px); color: #fff; }
.athena-badge.athena-live { background: #fff; color: #b3001b; border-color: #b3001b; outline: 2px solid #b3001b; }
.athena-badge.athena-paper { background: #0b4f9e; color: #fff; }
.athena-badge.athena-simulator { background: transparent; color: inherit; border: 2px dashed currentColor; }
.athena-stale .athena-detail { font-style: italic; }
.athena-stale .athena-badge:not(.athena-unknown) { opacity: .55; }
.athena-panel { margin-top: 8px; padding: 8px 12px; border-left: 8px solid #6b6b6b; background: var(--jp-layout-color2, #eee); overflow-wrap: anywhere; }
.athena-panel.athena-done, .athena-panel.athena-bad { border-color: #b3001b; }
.athena-panel.athena-bad { background: #b3001b; color: #fff; }
.athena-panel.athena-careful { border-color: #d29c00; }
.athena-floating { position: fixed; top: 34px; right: 8px; width: min(560px, calc(100vw - 40px)); max-height: 80vh; overflow: auto; z-index: 10000; box-shadow: 0 4px 16px rgba(0, 0, 0, .4); margin: 0; }
.athena-over { position: fixed; top: 0; right: 0; height: 30px; z-index: 10001; background: var(--jp-layout-color1, #fff); border-radius: 0 0 0 6px; }
.athena-panel strong { font-size: 15px; }
.athena-note { margin-top: 4px; font-weight: 600; }
.athena-reason { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 8px; }
.athena-reason input { flex: 1 1 180px; font: inherit; padding: 4px 6px; background: var(--jp-layout-color0, #fff); color: var(--jp-ui-font-color0, #111); border: 1px solid currentColor; border-radius: 3px; }
.athena-panel button:not(.athena-close) { font: inherit; font-weight: 600; padding: 4px 10px; border: 1px solid currentColor; border-radius: 3px; cursor: pointer; background: var(--jp-layout-color0, #fff); color: var(--jp-ui-font-color0, #111); }
.athena-panel button.athena-stop { background: #b3001b; color: #fff; border-color: #7d0013; }
.athena-close { float: right; font-size: 18px; line-height: 1; background: none; border: none; color: inherit; cursor: pointer; }
.athena-emergency { margin-top: 8px; }
.athena-emergency > * { margin-top: 4px; }
.athena-emergency summary { cursor: pointer; font-weight: 600; }
.athena-steps ul { margin: 4px 0 0; padding-left: 18px; list-style: none; }
.athena-error { color: var(--jp-error-color0, #b3001b); font-weight: 700; }
@media (max-width: 900px) {
  #athena-halt, .athena-over { position: fixed !important; inset: auto 0 24px auto !important; width: auto !important; height: 36px !important; z-index: 9999; background: var(--jp-layout-color1, #fff); border: 1px solid var(--jp-border-color1, #999); border-radius: 6px 0 0 0; }
}
@media (max-width: 700px) { .athena-bar .athena-detail { display: none; } .athena-box .athena-halt { width: 100%; } }
@media (prefers-reduced-motion: no-preference) { .athena-halt.athena-working { animation: athena-pulse 1s infinite alternate; } }
@keyframes athena-pulse { to { box-shadow: 0 0 0 4px rgba(179, 0, 27, .45); } }
`;
