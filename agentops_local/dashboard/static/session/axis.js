// Times on a line: round numbers of seconds, as many as there is room for.

import { seconds } from "./figures.js";

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400];

/** The step between two marks, in seconds. */
export function step(span, marks) {
  const raw = span / Math.max(1, marks);
  if (raw >= 1) return STEPS.find((one) => one >= raw) ?? Math.ceil(raw / 86400) * 86400;
  const scale = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((factor) => factor * scale).find((one) => one >= raw * 0.999) ?? raw;
}

function label(value, apart, to) {
  if (apart >= 1) return seconds(value);
  const places = Math.max(0, Math.ceil(-Math.log10(apart) - 1e-9));
  if (value === 0) return "0";
  return to >= 1 ? `${value.toFixed(places)}s` : `${(value * 1000).toFixed(Math.max(0, places - 3))}ms`;
}

/** Marks between two times, in seconds: where (0 to 1) and what. */
export function marks(from, to, width) {
  const span = to - from;
  if (!(span > 0) || !(width > 0)) return [];
  const apart = step(span, width / 90);
  const found = [];
  for (let at = Math.ceil(from / apart) * apart; at <= to; at += apart) {
    found.push({ at: (at - from) / span, text: label(Math.abs(at) < apart / 1e6 ? 0 : at, apart, to) });
    if (found.length > 60) break;
  }
  return found;
}
