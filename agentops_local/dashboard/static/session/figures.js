// Numbers as people read them: the same as on the server.

/** A duration in seconds, short. */
export function seconds(value) {
  if (value === null || value === undefined) return "";
  if (value < 0) return `-${seconds(-value)}`;
  if (value < 0.0005) return value ? "<1ms" : "0";
  if (value < 0.9995) return `${Math.round(value * 1000)}ms`;
  if (value < 59.95) return `${value.toFixed(1)}s`;
  const whole = Math.round(value);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}m${String(whole % 60).padStart(2, "0")}s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h${String(minutes % 60).padStart(2, "0")}m` : `${Math.floor(hours / 24)}d${String(hours % 24).padStart(2, "0")}h`;
}

/** A number of tokens, short. */
export function tokens(count) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (count >= 10 * size || (count >= size && letter !== "k")) {
      return count < 100 * size ? `${(count / size).toFixed(1)}${letter}` : `${Math.round(count / size)}${letter}`;
    }
  }
  return String(count);
}

/** US dollars. */
export function money(cost) {
  if (cost === null || cost === undefined) return "unpriced";
  if (cost === 0) return "$0";
  const small = Math.abs(cost) < 0.01 ? Math.min(12, 1 - Math.floor(Math.log10(Math.abs(cost)))) : 4;
  return `${cost < 0 ? "-" : ""}$${Math.abs(cost).toFixed(Math.max(4, small))}`;
}

/** A number with its thousands apart. */
export function count(value) {
  return value.toLocaleString("en");
}

/** An element with text, which is never markup. */
export function element(tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}
