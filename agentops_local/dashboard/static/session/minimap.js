// The whole session in a strip: a band for each lane, errors above all. A stretch of it is chosen with the pointer; the
// waterfall shows that stretch alone.

import { element } from "./figures.js";

const LANES = 12; // that have a band of their own; the others share the last
const ERRORS = 6; // pixels for errors, at the top
const LEAST = 4; // pixels that count as a stretch: less is a click

export class Minimap {
  constructor(box, model, heard) {
    this.box = box;
    this.canvas = box.querySelector("canvas");
    this.brush = box.querySelector(".brush");
    this.head = box.querySelector(".playhead");
    this.model = model;
    this.heard = heard;
    this.colours = null;
    new ResizeObserver(() => this.draw()).observe(box);
    const again = () => requestAnimationFrame(() => { this.colours = null; this.draw(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["data-scheme"] });
    this.#listen();
  }

  /** Colours as the page has them: a canvas knows no custom properties. */
  #paint() {
    const probe = this.box.appendChild(element("span", "kind"));
    const of = (name) => {
      probe.className = `bar ${name}`;
      return getComputedStyle(probe).backgroundColor;
    };
    this.colours = { kinds: this.model.kinds.map((kind) => of(`kind-${kind}`)), error: of("kind-errors") };
    probe.remove();
  }

  draw() {
    const width = this.box.clientWidth;
    const height = this.box.clientHeight;
    if (!width || !height) return;
    const scale = devicePixelRatio || 1;
    const { canvas, model } = this;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    if (!this.colours) this.#paint();
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const bands = Math.max(1, Math.min(model.lanes.length, LANES));
    const tall = (height - ERRORS - 2) / bands;
    const { map, errors } = this.#counted(width, bands);
    for (let band = 0; band < bands; band++) {
      for (let x = 0; x < width; x++) {
        const kind = map[band * width + x];
        if (!kind) continue;
        context.fillStyle = this.colours.kinds[kind - 1];
        context.fillRect(x, ERRORS + 1 + band * tall, 1, Math.max(1, tall - 1));
      }
    }
    context.fillStyle = this.colours.error;
    for (let x = 0; x < width; x++) if (errors[x]) context.fillRect(x, 0, 1, ERRORS);
  }

  /** What stands at each pixel: the kind of the event that began last there. */
  #counted(width, bands) {
    const { model } = this;
    const map = new Uint8Array(width * bands);
    const errors = new Uint8Array(width);
    for (let row = 0; row < model.length; row++) {
      const from = Math.min(width - 1, Math.floor((model.start[row] / model.end) * width));
      if (model.failed[row] === 1) {
        errors[from] = 1;
        continue;
      }
      const to = Math.min(width - 1, Math.floor(((model.start[row] + Math.max(0, model.duration[row])) / model.end) * width));
      const band = Math.min(model.lane[row], bands - 1);
      map.fill(model.kindOf[model.what[row]] + 1, band * width + from, band * width + to + 1);
    }
    return { map, errors };
  }

  /** Marks the stretch that is shown. */
  mark([from, to]) {
    const whole = from <= 0 && to >= this.model.end;
    this.brush.hidden = whole;
    if (whole) return;
    this.brush.style.left = `${(from / this.model.end) * 100}%`;
    this.brush.style.width = `${((to - from) / this.model.end) * 100}%`;
  }

  /** Marks a moment, in seconds from the session's beginning. */
  moment(at) {
    this.head.hidden = false;
    this.head.style.left = `${Math.max(0, Math.min(1, (at + this.model.offset) / this.model.unit / this.model.end)) * 100}%`;
  }

  #listen() {
    let begun = null;
    const at = (event) => {
      const { left, width } = this.box.getBoundingClientRect();
      return Math.max(0, Math.min(1, (event.clientX - left) / width)) * this.model.end;
    };
    this.box.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      begun = { x: event.clientX, time: at(event) };
      this.box.setPointerCapture(event.pointerId);
    });
    this.box.addEventListener("pointermove", (event) => {
      if (!begun || Math.abs(event.clientX - begun.x) < LEAST) return;
      const now = at(event);
      this.mark([Math.min(begun.time, now), Math.max(begun.time, now)]);
    });
    this.box.addEventListener("pointerup", (event) => {
      if (!begun) return;
      const now = at(event);
      if (Math.abs(event.clientX - begun.x) < LEAST) this.heard.moment(now);
      else this.heard.stretch([Math.min(begun.time, now), Math.max(begun.time, now)]);
      begun = null;
    });
    this.box.addEventListener("pointercancel", () => { begun = null; });
    this.box.addEventListener("dblclick", () => this.heard.stretch([0, this.model.end]));
  }
}
