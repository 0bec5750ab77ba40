// The pane beside the views: one event whole. All that was recorded is set as text.

import { element, money, seconds, tokens, count } from "./figures.js";
import { folded, parsed, prose } from "./folded.js";
import { follow, named, write } from "./address.js";
import { localise } from "../time.js";

const pane = document.getElementById("detail");
const beside = document.getElementById("beside");
const TOKENS = {
  prompt_tokens: "in", completion_tokens: "out", cache_read_tokens: "from the cache", cache_write_tokens: "into the cache",
  reasoning_tokens: "reasoning",
};
const PICTURE = /^data:image\/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+$/;

let asked = null;
let shown = "";
const listeners = new Set();

let last = null;

/** Tells of each event that is shown, of one that is there already as well: who asks may have been loaded later. */
export function onShown(heard) {
  listeners.add(heard);
  if (last) heard(last);
}

/** Shows an event, by its id or number. */
export async function show(event, { isStep = true } = {}) {
  if (!event) return close({ isStep });
  if (String(event) === shown) return;
  shown = String(event);
  write(shown, isStep);
  address?.know();
  asked?.abort();
  asked = new AbortController();
  open();
  pane.setAttribute("aria-busy", "true");
  const wanted = asked.signal;
  try {
    const answer = await fetch(`${pane.dataset.url}${encodeURIComponent(event)}.json`, { credentials: "same-origin", signal: wanted });
    const told = await answer.json();
    if (wanted.aborted) return;
    if (!answer.ok) throw new Error(told.message ?? `the server answered ${answer.status}`);
    fill(told);
    last = told;
    for (const heard of listeners) heard(told);
  } catch (error) {
    if (wanted.aborted) return;
    pane.replaceChildren(head("Not there"), alert(error.message));
    shown = "";
  }
  pane.removeAttribute("aria-busy");
}

function alert(text) {
  const made = element("p", "bad", text);
  made.setAttribute("role", "alert");
  return made;
}

function open() {
  pane.hidden = false;
  beside.classList.add("open");
}

/** Puts the pane away. */
export function close({ isStep = true } = {}) {
  asked?.abort();
  last = null;
  shown = "";
  pane.hidden = true;
  beside.classList.remove("open");
  write("", isStep);
  address?.know();
}

export function isOpen() {
  return !pane.hidden;
}

function head(title, told) {
  const box = element("header", "detail-head");
  if (told) box.append(element("span", `kind kind-${told.kind}`, told.kind));
  box.append(element("h2", "", title));
  const out = element("button", "quiet", "×");
  out.type = "button";
  out.setAttribute("aria-label", "Close the event");
  out.addEventListener("click", () => close());
  box.append(out);
  return box;
}

function section(title, ...parts) {
  const box = element("section");
  box.append(element("h3", "", title), ...parts);
  return box;
}

function link(one) {
  const made = element("a", "", `${one.kind ?? "event"} ${one.name ?? ""}`.trim());
  made.href = `#e=${one.id}`;
  return made;
}

function list(ones, more = "") {
  const box = element("ul");
  for (const one of ones) {
    const line = box.appendChild(element("li"));
    line.append(one.seq === null ? element("span", "dim", `${one.kind ?? "event"}, not recorded`) : link(one));
    if (one.took_s !== null && one.took_s !== undefined) line.append(" ", element("span", "num dim", seconds(one.took_s)));
    if (one.message) line.append(element("div", "message", one.message.slice(0, 400)));
  }
  if (more) box.append(element("li", "dim", more));
  return box;
}

function facts(told) {
  const box = element("dl", "facts");
  const add = (name, ...values) => {
    const shownValues = values.filter((value) => value !== null && value !== undefined && value !== "");
    if (!shownValues.length) return;
    const pair = box.appendChild(element("div"));
    pair.append(element("dt", "", name), element("dd"));
    pair.lastChild.append(...shownValues);
  };
  const begin = element("time");
  begin.dateTime = told.begin ?? "";
  add("Began", told.begin ? begin : null, ` +${seconds(told.at_s)}`);
  add("Took", told.took_s === null ? null : exactly(seconds(told.took_s), `${told.took_s} s`));
  add("Agent", told.agent);
  const { pid, program, host } = told.process;
  add("Process", [program, pid ? `pid ${pid}` : "", host].filter(Boolean).join(" "));
  if (told.llm) {
    add("Model", [told.llm.provider, told.llm.model].filter(Boolean).join(" "));
    const parts = Object.entries(told.llm.tokens).map(([name, value]) => `${tokens(value)} ${TOKENS[name]}`);
    add("Tokens", parts.length ? exactly(parts.join(", "), Object.entries(told.llm.tokens).map(([name, value]) => `${count(value)} ${TOKENS[name]}`).join(", ")) : null);
    const source = [told.llm.cost_source, told.llm.price_source].filter(Boolean).join(", ");
    add("Cost", exactly(money(told.llm.cost), `${told.llm.cost ?? "no price"} US dollars`), source ? element("span", "dim", ` ${source}`) : null);
    add("Rates", told.llm.rates ? element("code", "", told.llm.rates) : null);
    add("Thread", told.thread);
  }
  add("Code", told.code);
  add("Id", element("code", "", told.id));
  localise(box);
  return box;
}

function exactly(text, exact) {
  const made = element("span", "num", text);
  made.title = exact;
  return made;
}

function message(text, role) {
  const value = parsed(text);
  const whole = value !== null && typeof value === "object" && !Array.isArray(value) ? value : { role, content: value };
  const speaker = String(whole.role ?? role);
  const box = element("div", `message ${["system", "user", "assistant", "tool", "developer"].includes(speaker) ? speaker : "other"}`);
  box.append(element("span", "role", [speaker, whole.name, whole.tool_call_id].filter((part) => typeof part === "string").join(" ")));
  const { role: _, name: __, tool_call_id: ___, content, ...rest } = whole;
  for (const part of Array.isArray(content) ? content : [content]) if (part !== null && part !== undefined) box.append(said(part, speaker));
  for (const [name, more] of Object.entries(rest)) {
    if (more === null || (Array.isArray(more) && !more.length)) continue;
    const inner = box.appendChild(element("div", "named"));
    inner.append(element("span", "dim", name), folded(unpacked(more)));
  }
  return box;
}

/** Arguments of tools come as JSON within JSON. */
function unpacked(value) {
  if (Array.isArray(value)) return value.map(unpacked);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, name === "arguments" && typeof one === "string" ? parsed(one) : unpacked(one)]));
}

function said(part, speaker) {
  if (typeof part === "string") return prose(part, speaker === "system" || speaker === "tool" ? 500 : 2500);
  if (typeof part.text === "string") return prose(part.text, 2500);
  const address = typeof part.image_url === "string" ? part.image_url : part.image_url?.url;
  if (typeof address === "string" && PICTURE.test(address)) {
    const picture = element("img");
    picture.alt = "picture in the message";
    picture.src = address;
    return picture;
  }
  return folded(unpacked(part));
}

function conversation(llm) {
  const box = element("div");
  const earlier = llm.prompt.length - 6;
  const parts = llm.prompt.map((text, place) => () => message(text, place ? "message" : "prompt"));
  if (earlier > 2) {
    const button = box.appendChild(element("button", "quiet", `${count(earlier)} earlier messages`));
    button.type = "button";
    button.addEventListener("click", () => button.replaceWith(...parts.slice(0, earlier).map((make) => make())));
    box.append(...parts.slice(earlier).map((make) => make()));
  } else {
    box.append(...parts.map((make) => make()));
  }
  return box;
}

function fill(told) {
  const parts = [head(told.name ?? told.kind, told)];
  if (told.errors.length) parts.push(section(told.errors.length === 1 ? "It failed" : `It failed, ${told.errors.length} errors`, list(told.errors)));
  if (told.trigger) parts.push(section("What failed", list([told.trigger])));
  const { details, ...payloads } = told.payloads;
  if (details !== undefined) parts.push(section("details", folded(parsed(details))));
  parts.push(facts(told));
  if (told.llm) {
    if (told.llm.prompt.length) parts.push(section("Prompt", conversation(told.llm)));
    if (told.llm.completion !== null && told.llm.completion !== undefined) parts.push(section("Completion", message(told.llm.completion, "assistant")));
  }
  if (told.pictured) parts.push(section("Screenshot", screenshot(told)));
  for (const name of ["params", "returns", "logs", "extra"]) {
    if (payloads[name] !== undefined) parts.push(section(name, folded(parsed(payloads[name]))));
  }
  if (told.above.length) parts.push(section("In the course of", list(told.above)));
  if (told.below.length) parts.push(section("In its course", list(told.below, told.more_below ? "and more" : "")));
  pane.replaceChildren(...parts);
  pane.scrollTop = 0;
}

function screenshot({ seq, screenshot: { src, link: elsewhere, named: how, refused } }) {
  if (!src) return element("p", "dim", elsewhere ? `It is elsewhere: ${elsewhere}` : `Not shown: ${refused} (${how.slice(0, 200)})`);
  const picture = element("img");
  picture.alt = "screenshot";
  picture.src = `${pane.dataset.url}${seq}/screenshot`;
  return picture;
}

const address = pane ? follow((event) => (event ? show(event, { isStep: false }) : close({ isStep: false }))) : null;

/** Shows what the URL names. */
export function begin() {
  if (pane && named()) show(named(), { isStep: false });
}
