// The rows of the waterfall: real elements, but only for what is seen. A row that leaves at one end comes in again at
// the other, so however long a session is, the page holds some dozens of them.

import { count, element, money, seconds, tokens } from "./figures.js";

export const HEIGHT = 22; // as in session.css
const MARGIN = 6; // rows beyond the edges, so that a fast wheel shows no gap

/** One element, and the parts of it that change. */
class Slot {
  constructor() {
    this.place = -1;
    this.box = element("div", "row");
    this.box.setAttribute("role", "row");
    const cell = (name, role = "gridcell") => {
      const made = this.box.appendChild(element("span", name));
      made.setAttribute("role", role);
      return made;
    };
    this.event = cell("event", "rowheader");
    this.twist = this.event.appendChild(element("span", "twist"));
    this.twist.setAttribute("aria-hidden", "true");
    this.mark = this.event.appendChild(element("span", "kind"));
    this.name = this.event.appendChild(element("span", "name"));
    this.who = this.event.appendChild(element("span", "who dim"));
    this.track = cell("track");
    this.bar = this.track.appendChild(element("span", "bar"));
    this.start = cell("num start dim");
    this.took = cell("num took");
    this.tokens = cell("num tokens dim");
    this.cost = cell("num cost");
  }
}

export class Rows {
  #slots = [];
  #frame = 0;
  #seen = { rows: [], level: [] };

  constructor(grid, space, model) {
    this.grid = grid;
    this.space = space;
    this.model = model;
    this.window = [0, model.end];
    this.inLanes = false; // a lane's head tells the agent for all of its rows
    this.chosen = NaN; // a row of the model
    this.folded = new Set();
    this.foldedLanes = new Set();
    grid.addEventListener("scroll", () => this.later(), { passive: true });
    new ResizeObserver(() => this.later()).observe(grid);
  }

  get rows() {
    return this.#seen.rows;
  }

  show(seen) {
    this.#seen = seen;
    this.space.style.height = `${seen.rows.length * HEIGHT}px`;
    this.grid.setAttribute("aria-rowcount", String(seen.rows.length + 1));
    this.refresh();
  }

  /** Draws everything anew. */
  refresh() {
    for (const slot of this.#slots) slot.place = -1;
    this.draw();
  }

  /** Draws with the next frame, once. */
  later() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.draw();
    });
  }

  draw() {
    const { grid, space } = this;
    const head = space.offsetTop;
    const rows = this.#seen.rows;
    const first = Math.max(0, Math.floor((grid.scrollTop - head) / HEIGHT) - MARGIN);
    const room = Math.ceil(grid.clientHeight / HEIGHT) + 2 * MARGIN;
    const size = Math.min(Math.ceil(room / 16) * 16, 320);
    while (this.#slots.length < size) {
      const slot = new Slot();
      this.#slots.push(slot);
      slot.box.hidden = true;
      space.append(slot.box);
    }
    const last = Math.min(rows.length, first + room);
    this.#slots.forEach((slot) => {
      if (slot.place >= 0 && (slot.place < first || slot.place >= last)) slot.place = -1;
    });
    const length = this.#slots.length;
    for (let place = first; place < last; place++) {
      const slot = this.#slots[place % length];
      if (slot.place !== place) this.#fill(slot, place);
    }
    for (const slot of this.#slots) if (slot.box.hidden !== slot.place < 0) slot.box.hidden = slot.place < 0;
  }

  /** The place of a row of the model among those that are seen; -1. */
  placeOf(row) {
    return this.#seen.rows.indexOf(row);
  }

  reveal(place) {
    const { grid } = this;
    const head = this.space.offsetTop;
    const top = place * HEIGHT;
    const room = grid.clientHeight - head - HEIGHT;
    if (top < grid.scrollTop) grid.scrollTop = Math.max(0, top - HEIGHT * 2);
    else if (top > grid.scrollTop + room) grid.scrollTop = top - room + HEIGHT * 2;
  }

  #fill(slot, place) {
    const row = this.#seen.rows[place];
    slot.place = place;
    const { box } = slot;
    box.id = `row-${place}`;
    box.style.transform = `translateY(${place * HEIGHT}px)`;
    box.setAttribute("aria-rowindex", String(place + 2));
    if (row < 0) this.#fillLane(slot, -row - 1);
    else this.#fillEvent(slot, row);
  }

  #fillLane(slot, lane) {
    const { name, count: events } = this.model.lanes[lane];
    const folded = this.foldedLanes.has(lane);
    slot.box.className = "row lane";
    slot.box.setAttribute("aria-level", "1");
    slot.box.setAttribute("aria-expanded", String(!folded));
    slot.box.setAttribute("aria-selected", "false");
    slot.event.style.paddingLeft = "4px";
    slot.twist.textContent = folded ? "▸" : "▾";
    slot.mark.className = "kind";
    slot.name.textContent = name;
    slot.who.textContent = `${count(events)} events`;
    slot.bar.hidden = true;
    slot.start.textContent = slot.took.textContent = slot.tokens.textContent = slot.cost.textContent = "";
  }

  #fillEvent(slot, row) {
    const { model } = this;
    const level = this.#seen.level[row];
    const kind = model.kind(row);
    const below = model.hasBelow(row);
    const folded = below && this.folded.has(model.seq[row]);
    const on = row === this.chosen;
    slot.box.className = `row${on ? " on" : ""}${model.failed[row] ? " failed" : ""}`;
    slot.box.setAttribute("aria-level", String(level + 1));
    slot.box.setAttribute("aria-selected", String(on));
    if (below) slot.box.setAttribute("aria-expanded", String(!folded));
    else slot.box.removeAttribute("aria-expanded");
    slot.event.style.paddingLeft = `${4 + Math.min(level, 24) * 12}px`;
    slot.twist.textContent = below ? (folded ? "▸" : "▾") : "";
    slot.mark.className = `kind kind-${kind}`;
    slot.mark.textContent = kind;
    slot.name.textContent = model.name(row);
    slot.who.textContent = model.agents.length > 1 && !this.inLanes ? (model.agents[model.agent[row]] ?? "") : "";
    const begin = model.start[row] * model.unit - model.offset;
    const took = model.duration[row] < 0 ? null : model.duration[row] * model.unit;
    slot.start.textContent = model.end * model.unit < 1 ? `+${(begin * 1000).toFixed(2)}ms` : `+${seconds(begin)}`;
    slot.took.textContent = seconds(took);
    const input = model.promptTokens[row];
    slot.tokens.textContent = input < 0 ? "" : `${tokens(input)}+${tokens(Math.max(0, model.completionTokens[row]))}`;
    slot.cost.textContent = !model.isCall[row] ? "" : model.cost[row] < 0 ? "unpriced" : money(model.cost[row] / 1e9);
    this.#place(slot.bar, row, kind);
  }

  #place(bar, row, kind) {
    const [from, to] = this.window;
    const span = to - from || 1;
    const left = (this.model.start[row] - from) / span;
    const width = Math.max(0, this.model.duration[row]) / span;
    const shownLeft = Math.max(0, left);
    bar.hidden = false;
    bar.className = `bar kind-${kind}${this.model.failed[row] === 2 ? " failed" : ""}`;
    bar.style.left = `${Math.min(shownLeft, 1) * 100}%`;
    bar.style.width = `${Math.max(0, Math.min(left + width, 1) - shownLeft) * 100}%`;
  }
}
