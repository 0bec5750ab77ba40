// JSON as people read it: indented, long parts folded, every value as text. Numbers stand as they were recorded: those
// that JavaScript would round keep their digits.

import { count, element } from "./figures.js";

const OPEN = 12; // parts that are shown at once
const LONG = 1200; // characters of a text that are shown at once
const MOST = 500; // parts of a list that are made into elements at a time

class Exact {
  constructor(digits) {
    this.digits = digits;
  }
}

/** The value of JSON; the text itself, if it is none. */
export function parsed(text) {
  try {
    return JSON.parse(text, (_, value, context) => {
      const digits = context?.source;
      return typeof value === "number" && digits && String(value) !== digits && Math.abs(value) > Number.MAX_SAFE_INTEGER
        ? new Exact(digits) : value;
    });
  } catch {
    return text;
  }
}

/** A text; long ones can be opened. */
export function prose(text, long = LONG) {
  const box = element("div", "text");
  if (text.length <= long) {
    box.textContent = text;
    return box;
  }
  box.textContent = `${text.slice(0, long)}…`;
  const more = element("button", "quiet", `all ${count(text.length)} characters`);
  more.type = "button";
  more.addEventListener("click", () => {
    box.textContent = text;
    more.remove();
  });
  const both = element("div");
  both.append(box, more);
  return both;
}

/** A value of JSON. */
export function folded(value, open = true) {
  if (typeof value === "string") return prose(value);
  if (value instanceof Exact) return element("span", "value", value.digits);
  if (value === null || typeof value !== "object") return element("span", "value", String(value));
  const entries = Array.isArray(value) ? value.map((one, place) => [String(place), one]) : Object.entries(value);
  if (!entries.length) return element("span", "value", Array.isArray(value) ? "[]" : "{}");
  const box = element("details", "folded");
  box.append(element("summary", "", Array.isArray(value) ? `list of ${count(entries.length)}` : entries.map(([name]) => name).join(", ").slice(0, 80)));
  const fill = () => {
    if (box.dataset.full) return;
    box.dataset.full = "1";
    const list = box.appendChild(element("dl"));
    addTo(list, entries, 0);
  };
  box.addEventListener("toggle", () => { if (box.open) fill(); });
  if (open && entries.length <= OPEN) {
    box.open = true;
    fill();
  }
  return box;
}

function addTo(list, entries, from) {
  for (const [name, one] of entries.slice(from, from + MOST)) {
    const pair = list.appendChild(element("div"));
    pair.append(element("dt", "", name), element("dd"));
    pair.lastChild.append(folded(one, entries.length <= OPEN));
  }
  if (from + MOST < entries.length) {
    const more = list.appendChild(element("button", "quiet", `${count(entries.length - from - MOST)} more`));
    more.type = "button";
    more.addEventListener("click", () => {
      more.remove();
      addTo(list, entries, from + MOST);
    });
  }
}
