// The events of a session as columns of numbers, and which of them are seen: by kind, by text, in a stretch of time, in
// lanes, with what is folded out of the way. Rows stand in the order of the story: all that happened in the course of an
// event follows it at once.

const NOTHING = -1;

/** A column of numbers; where all rows have the same one, it comes as that alone. */
function spread(column, length, Kind = Int32Array) {
  return Array.isArray(column) ? Kind.from(column) : new Kind(length).fill(column ?? NOTHING);
}

function summed(column, length) {
  const found = spread(column, length, Float64Array);
  for (let row = 1; row < length; row++) found[row] += found[row - 1];
  return found;
}

/** Numbers that LLM calls alone have. */
function ofCalls(column, isCall, length) {
  const found = new Float64Array(length).fill(NOTHING);
  let place = 0;
  for (let row = 0; row < length; row++) {
    if (isCall[row]) found[row] = Array.isArray(column) ? column[place++] : column;
  }
  return found;
}

export class Model {
  constructor(told) {
    const { columns, calls, what } = told;
    const length = (this.length = told.events);
    this.last = told.seq;
    this.unit = told.unit_us / 1e6; // seconds of a unit
    this.offset = (told.session_us - told.begin_us) / 1e6; // seconds from the first event to the session's beginning
    this.kinds = [...new Set(what.map(([kind]) => kind))];
    this.names = what.map(([kind, name]) => name ?? kind);
    this.kindOf = Int32Array.from(what.map(([kind]) => this.kinds.indexOf(kind)));
    this.agents = told.agents;
    this.processes = told.processes;
    this.what = spread(columns.what, length);
    this.agent = spread(columns.agent, length);
    this.process = spread(columns.process, length);
    this.seq = summed(columns.seq, length);
    this.start = summed(columns.start, length);
    this.duration = spread(columns.duration, length, Float64Array);
    this.parent = spread(columns.above, length);
    this.depth = new Int32Array(length);
    const isCall = new Uint8Array(length);
    this.failed = new Uint8Array(length); // 1: an error, 2: what failed
    const errors = this.kinds.indexOf("errors");
    const llms = this.kinds.indexOf("llms");
    for (const row of told.failed) this.failed[row] = 2;
    let end = 0;
    for (let row = 0; row < length; row++) {
      const up = this.parent[row];
      this.parent[row] = up ? row - up : NOTHING;
      this.depth[row] = up ? this.depth[row - up] + 1 : 0;
      const kind = this.kindOf[this.what[row]];
      if (kind === llms) isCall[row] = 1;
      if (kind === errors) this.failed[row] = 1;
      end = Math.max(end, this.start[row] + Math.max(0, this.duration[row]));
    }
    this.end = Math.max(1, end);
    this.promptTokens = ofCalls(calls.prompt_tokens, isCall, length);
    this.completionTokens = ofCalls(calls.completion_tokens, isCall, length);
    this.cost = ofCalls(calls.cost, isCall, length);
    this.isCall = isCall;
    this.#findLanes();
  }

  #findLanes() {
    this.lane = new Int32Array(this.length);
    const known = new Map();
    this.lanes = [];
    for (let row = 0; row < this.length; row++) {
      const key = this.process[row] * 65536 + this.agent[row];
      let lane = known.get(key);
      if (lane === undefined) {
        lane = this.lanes.length;
        known.set(key, lane);
        const process = this.processes.length > 1 ? this.processes[this.process[row]] : "";
        this.lanes.push({ name: [this.agents[this.agent[row]] ?? "no agent", process].filter(Boolean).join(" · "), count: 0 });
      }
      this.lane[row] = lane;
      this.lanes[lane].count++;
    }
  }

  /** The row of an event by its number; -1 if it is not there. */
  rowOf(seq) {
    return this.seq.indexOf(Number(seq));
  }

  name(row) {
    return this.names[this.what[row]];
  }

  kind(row) {
    return this.kinds[this.kindOf[this.what[row]]];
  }

  /** Whether something happened in the course of an event. */
  hasBelow(row) {
    return row + 1 < this.length && this.parent[row + 1] === row;
  }

  /** Which names fit a text; null where all do. */
  #fitting(text) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return null;
    return {
      what: this.names.map((name, place) => `${name} ${this.kinds[this.kindOf[place]]}`.toLowerCase().includes(wanted)),
      agent: this.agents.map((name) => name.toLowerCase().includes(wanted)),
    };
  }

  /** Rows of a lane, those that stand under one of another lane put where they began; what is under them follows. */
  #byBeginning(rows, level) {
    const blocks = [];
    for (const row of rows) {
      if (level[row] === 0 || !blocks.length) blocks.push([row]);
      else blocks[blocks.length - 1].push(row);
    }
    return blocks.sort((one, other) => this.start[one[0]] - this.start[other[0]]).flat();
  }

  /**
   * The rows that are seen, from top to bottom; a lane's head is the negative of its number, from -1. With them, how far
   * each is indented.
   */
  seen({ hidden, text, holding, window, lanes, folded, foldedLanes }) {
    const fits = this.#fitting(text);
    const away = new Uint8Array(this.length); // 1: within what is folded
    const level = lanes ? new Int32Array(this.length) : this.depth;
    const groups = lanes ? this.lanes.map(() => []) : [[]];
    const [from, to] = window;
    for (let row = 0; row < this.length; row++) {
      const up = this.parent[row];
      if (up !== NOTHING && (!lanes || this.lane[up] === this.lane[row])) {
        if (away[up] || folded.has(this.seq[up])) away[row] = 1;
        if (lanes) level[row] = level[up] + 1;
      }
      if (away[row] || hidden.has(this.kindOf[this.what[row]])) continue;
      if (this.start[row] > to || this.start[row] + Math.max(0, this.duration[row]) < from) continue;
      if (fits && !fits.what[this.what[row]] && !fits.agent[this.agent[row]] && !holding.has(this.seq[row])) continue;
      groups[lanes ? this.lane[row] : 0].push(row);
    }
    if (!lanes) return { rows: groups[0], level };
    const rows = [];
    groups.forEach((unsorted, lane) => {
      const group = this.#byBeginning(unsorted, level);
      if (!group.length) return;
      rows.push(-lane - 1);
      if (!foldedLanes.has(lane)) for (const row of group) rows.push(row);
    });
    return { rows, level };
  }
}
