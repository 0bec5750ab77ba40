// Keys of the waterfall, heard before those that every page knows.

import { isTyping } from "../keys.js";

/** Does what a key stands for, of a table from keys to functions; g begins a key of two letters that is not ours. */
export function listen(table) {
  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
    if (document.querySelector("dialog[open]")) return;
    if (going || event.key === "g") {
      going = !going;
      return;
    }
    const onControl = event.target instanceof Element && event.target.closest("a, button, summary, video, pre");
    if (onControl && ["Enter", " ", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) return;
    const doing = table[event.key];
    if (!doing) return;
    event.preventDefault();
    doing();
  }, true);
}
