// The waterfall: every event of a session on a line of time.

import { Model } from "./session/model.js";
import { Rows } from "./session/rows.js";
import { Minimap } from "./session/minimap.js";
import { marks } from "./session/axis.js";
import { count, element } from "./session/figures.js";
import { listen } from "./session/keys.js";
import { choice, keep } from "./session/address.js";
import { isOpen, onShown, show } from "./session/detail.js";

const box = document.getElementById("waterfall");
const grid = box.querySelector(".grid");
const space = grid.querySelector(".space");
const state = grid.querySelector(".state");
const counted = box.querySelector(".tools .count");
const field = box.querySelector("[data-filter]");
const lanesBox = box.querySelector("[data-lanes]");
const foldAll = box.querySelector("[data-fold]");
const axis = grid.querySelector(".axis");
const video = document.getElementById("video");

let model, rows, minimap;
let view = [0, 1]; // the stretch of time that is seen, in units
let wanted = null; // an event that the URL names, until its row is known
const hidden = new Set(); // kinds that are not seen
let holding = new Set(); // events that hold the text of the filter, by their numbers

async function fetched(after = 0) {
  const answer = await fetch(box.dataset.url + (after ? `?after=${after}` : ""), { credentials: "same-origin" });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.json();
}

function tell(text, isWrong = false) {
  state.hidden = !text;
  state.textContent = text;
  state.classList.toggle("bad", isWrong);
  if (isWrong) state.setAttribute("role", "alert");
}

function arrange() {
  const lanes = lanesBox.checked && model.lanes.length > 1;
  rows.window = view;
  rows.inLanes = lanes;
  rows.show(model.seen({
    hidden, text: field.value, holding, window: view, lanes, folded: rows.folded, foldedLanes: rows.foldedLanes,
  }));
  minimap.mark(view);
  drawAxis();
  const events = rows.rows.reduce((sum, row) => sum + (row >= 0), 0);
  counted.textContent = events === model.length ? `${count(events)} events` : `${count(events)} of ${count(model.length)} events`;
  tell(model.length === 0 ? "Nothing was recorded in this session yet." : events === 0 ? "No event fits." : "");
  mark();
}

/** As high as the window has room for; where the head takes most of it, as high as it is worth scrolling to. */
function fit() {
  const room = innerHeight - (grid.getBoundingClientRect().top + scrollY) - 14;
  grid.style.height = `${room >= 300 ? room : Math.max(260, innerHeight * 0.72)}px`;
}

function drawAxis() {
  const width = axis.clientWidth;
  const at = (units) => units * model.unit - model.offset;
  axis.replaceChildren(...marks(at(view[0]), at(view[1]), width).map(({ at: place, text }) => {
    const made = element("span", "tick", text);
    made.style.left = `${place * 100}%`;
    if ((1 - place) * width < 56) made.classList.add("end");
    return made;
  }));
}

function remember() {
  const whole = view[0] <= 0 && view[1] >= model.end;
  keep({
    q: field.value, hide: [...hidden].map((kind) => model.kinds[kind]).join(","),
    lanes: lanesBox.checked === model.lanes.length > 1 ? "" : lanesBox.checked ? "1" : "0",
    from: whole ? "" : (view[0] * model.unit).toFixed(6), to: whole ? "" : (view[1] * model.unit).toFixed(6),
  });
}

let looking = null;
/** Asks which events hold the text of the filter: names and kinds are known here, what was said is not. */
async function look() {
  looking?.abort();
  const text = field.value.trim();
  holding = new Set();
  if (text.length < 2) return;
  looking = new AbortController();
  const { signal } = looking;
  try {
    const answer = await fetch(`${box.dataset.matches}?q=${encodeURIComponent(text)}`, { credentials: "same-origin", signal });
    if (!answer.ok) return;
    const { events } = await answer.json();
    if (signal.aborted) return;
    holding = new Set(events);
    arrange();
  } catch {
    // given up for a later one, or the server is away: names are filtered all the same
  }
}

// Choosing --------------------------------------------------------------------------------------------------------

function mark() {
  const place = rows.placeOf(rows.chosen);
  if (place >= 0) grid.setAttribute("aria-activedescendant", `row-${place}`);
  else grid.removeAttribute("aria-activedescendant");
}

function choose(row, { open = isOpen(), isStep = false } = {}) {
  rows.chosen = row;
  const place = rows.placeOf(row);
  if (place >= 0) {
    rows.reveal(place);
    if (!video && grid.getBoundingClientRect().bottom > innerHeight + 8) grid.scrollIntoView({ block: "end" });
  }
  rows.refresh();
  mark();
  if (row >= 0) {
    const at = model.start[row] * model.unit - model.offset;
    minimap.moment(at);
    seek(at);
    if (open) later(() => show(String(model.seq[row]), { isStep }), isStep ? 0 : 120);
  }
}

let waiting = 0;
/** While a key is held down, events fly past: only the one that somebody stops at is fetched. */
function later(work, pause) {
  clearTimeout(waiting);
  if (pause) waiting = setTimeout(work, pause);
  else work();
}

function move(step, fits = () => true) {
  const all = rows.rows;
  let place = rows.placeOf(rows.chosen);
  if (place < 0 && step < 0) place = all.length;
  do place += step;
  while (place >= 0 && place < all.length && (all[place] < 0 || !fits(all[place])));
  if (place >= 0 && place < all.length) choose(all[place]);
  return place >= 0 && place < all.length;
}

/** The next error; from the last one, the first again. */
function nextError() {
  const isError = (row) => model.failed[row] === 1;
  const from = rows.chosen;
  if (!move(1, isError)) {
    rows.chosen = NaN;
    if (!move(1, isError)) rows.chosen = from;
  }
}

function fold(isFolded) {
  const row = rows.chosen;
  if (!(row >= 0)) return;
  const seq = model.seq[row];
  if (isFolded && (!model.hasBelow(row) || rows.folded.has(seq))) {
    if (model.parent[row] >= 0) choose(model.parent[row]);
  } else if (model.hasBelow(row)) {
    if (isFolded) rows.folded.add(seq);
    else rows.folded.delete(seq);
    arrange();
  }
}

function twist(row) {
  const set = row < 0 ? rows.foldedLanes : rows.folded;
  const key = row < 0 ? -row - 1 : model.seq[row];
  if (set.has(key)) set.delete(key);
  else set.add(key);
  arrange();
}

/** Makes a row seen, whatever hides it. */
function uncover(row) {
  if (rows.placeOf(row) >= 0) return;
  for (let up = model.parent[row]; up >= 0; up = model.parent[up]) rows.folded.delete(model.seq[up]);
  rows.foldedLanes.delete(model.lane[row]);
  arrange();
  if (rows.placeOf(row) >= 0) return;
  field.value = "";
  hidden.clear();
  view = [0, model.end];
  drawKinds();
  arrange();
  remember();
}

// Time ------------------------------------------------------------------------------------------------------------

function zoom(stretch) {
  const least = Math.max(10, 1e-5 / model.unit);
  let [from, to] = stretch;
  if (to - from < least) {
    const middle = (from + to) / 2;
    [from, to] = [middle - least / 2, middle + least / 2];
  }
  view = [Math.max(0, from), Math.min(model.end, to)];
  arrange();
  remember();
}

function scale(factor) {
  const chosen = rows.chosen >= 0 ? model.start[rows.chosen] : NaN;
  const middle = chosen >= view[0] && chosen <= view[1] ? chosen : (view[0] + view[1]) / 2;
  const half = ((view[1] - view[0]) / 2) * factor;
  zoom([Math.max(0, middle - half), Math.min(model.end, middle + half)]);
}

// The video and the waterfall move each other; what the one was moved to by the other is not told back.
let moved = false;

function seek(at) {
  if (!video || moved || !Number.isFinite(video.duration)) return;
  video.currentTime = Math.max(0, Math.min(video.duration, at));
}

function played() {
  const at = video.currentTime;
  minimap.moment(at);
  const units = (at + model.offset) / model.unit;
  let found = -1;
  for (const row of rows.rows) {
    if (row >= 0 && model.start[row] <= units && (found < 0 || model.start[row] >= model.start[found])) found = row;
  }
  for (const shot of document.querySelectorAll(".strip [data-at]")) shot.classList.toggle("past", Number(shot.dataset.at) <= at);
  if (found < 0 || found === rows.chosen) return;
  moved = true;
  choose(found, { open: false });
  moved = false;
}

// What is there to press --------------------------------------------------------------------------------------------

function drawKinds() {
  const group = box.querySelector(".kinds");
  group.replaceChildren(...model.kinds.map((kind, number) => {
    const made = element("button", `kind kind-${kind}`, kind);
    made.type = "button";
    made.setAttribute("aria-pressed", String(!hidden.has(number)));
    made.addEventListener("click", () => {
      if (hidden.has(number)) hidden.delete(number);
      else hidden.add(number);
      made.setAttribute("aria-pressed", String(!hidden.has(number)));
      arrange();
      remember();
    });
    return made;
  }));
}

function wire() {
  let typing = 0;
  field.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => { arrange(); remember(); look(); }, 80);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape" || event.key === "Enter") grid.focus();
  });
  lanesBox.addEventListener("change", () => { arrange(); remember(); });
  foldAll.addEventListener("click", () => {
    const all = foldAll.getAttribute("aria-pressed") !== "true";
    foldAll.setAttribute("aria-pressed", String(all));
    rows.folded.clear();
    if (all) for (let row = 0; row < model.length; row++) if (model.hasBelow(row)) rows.folded.add(model.seq[row]);
    arrange();
  });
  box.querySelector(".zoom").addEventListener("click", (event) => {
    const how = event.target.dataset?.zoom;
    if (how === "in") scale(0.5);
    if (how === "out") scale(2);
    if (how === "all") zoom([0, model.end]);
  });
  space.addEventListener("click", (event) => {
    const found = event.target.closest(".row");
    if (!found) return;
    const row = rows.rows[Number(found.id.slice(4))];
    grid.focus({ preventScroll: true });
    if (row < 0 || event.target.classList.contains("twist")) twist(row);
    else choose(row, { open: true, isStep: true });
  });
  new ResizeObserver(() => drawAxis()).observe(axis);
  const enter = () => { if (rows.chosen >= 0) choose(rows.chosen, { open: true, isStep: true }); };
  const next = () => move(1);
  const previous = () => move(-1);
  const first = () => { rows.chosen = NaN; move(1); };
  const last = () => { rows.chosen = NaN; move(-1); };
  listen({
    j: next, k: previous, ArrowDown: next, ArrowUp: previous, Home: first, End: last, Enter: enter, e: nextError,
    ArrowLeft: () => fold(true), ArrowRight: () => fold(false), "+": () => scale(0.5), "-": () => scale(2),
    0: () => zoom([0, model.end]),
  });
  video?.addEventListener("timeupdate", played);
  video?.addEventListener("seeked", played);
  video?.addEventListener("error", () => { document.querySelector(".video .refusal").hidden = false; });
}

/** Chooses the row of the event that is shown, once both are known. */
function reach() {
  if (wanted === null || !model) return;
  const row = model.rowOf(wanted);
  wanted = null;
  if (row < 0 || row === rows.chosen) return;
  uncover(row);
  choose(row, { open: false });
}

// Beginning, and going on ---------------------------------------------------------------------------------------------

function restore() {
  field.value = choice("q");
  for (const kind of choice("hide").split(",")) {
    const number = model.kinds.indexOf(kind);
    if (number >= 0) hidden.add(number);
  }
  const lanes = choice("lanes");
  lanesBox.checked = lanes ? lanes === "1" : model.lanes.length > 1;
  lanesBox.closest("label").hidden = model.lanes.length < 2;
  const [from, to] = [Number(choice("from")), Number(choice("to"))];
  if (to > from) view = [Math.max(0, from / model.unit), Math.min(model.end, to / model.unit)];
}

async function begin() {
  try {
    model = new Model(await fetched());
  } catch (error) {
    tell(`The events could not be fetched: ${error.message}. Load the page again.`, true);
    return;
  }
  rows = new Rows(grid, space, model);
  minimap = new Minimap(box.querySelector(".minimap"), model, {
    stretch: zoom,
    moment: (units) => {
      const at = units * model.unit - model.offset;
      minimap.moment(at);
      if (video) return seek(at);
      const near = rows.rows.filter((row) => row >= 0 && model.start[row] <= units);
      if (near.length) choose(near.reduce((best, row) => (model.start[row] >= model.start[best] ? row : best)));
    },
  });
  view = [0, model.end];
  restore();
  drawKinds();
  fit();
  arrange();
  addEventListener("resize", fit);
  grid.setAttribute("aria-busy", "false");
  minimap.draw();
  wire();
  reach();
  look();
  performance.mark("waterfall");
  document.addEventListener("changed", (event) => catchUp(event.detail.seq));
}

let busy = false;
/** New events of a session that runs: everything again, and seen as it was. */
async function catchUp(seq) {
  if (busy || !(seq > model.last)) return;
  busy = true;
  try {
    const told = await fetched(model.last);
    if (told.unchanged) return;
    const chosen = rows.chosen >= 0 ? model.seq[rows.chosen] : null;
    const atEnd = grid.scrollTop > 0 && grid.scrollTop + grid.clientHeight > grid.scrollHeight - 40;
    const whole = view[1] >= model.end && view[0] <= 0;
    const names = [...hidden].map((kind) => model.kinds[kind]);
    const fewLanes = model.lanes.length < 2;
    model = new Model(told);
    rows.model = minimap.model = model;
    minimap.colours = null;
    hidden.clear();
    for (const name of names) hidden.add(model.kinds.indexOf(name));
    if (whole) view = [0, model.end];
    if (fewLanes && model.lanes.length > 1) {
      lanesBox.checked = true;
      lanesBox.closest("label").hidden = false;
    }
    rows.chosen = chosen === null ? NaN : model.rowOf(chosen);
    drawKinds();
    arrange();
    minimap.draw();
    if (atEnd) grid.scrollTop = grid.scrollHeight;
  } catch {
    // the server is away: the stream of news tells when it is there again
  } finally {
    setTimeout(() => { busy = false; }, 1000);
  }
}

onShown((told) => {
  wanted = told.seq;
  reach();
});
begin();
