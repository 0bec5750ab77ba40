// Ticking two sessions to compare them: with the mouse, or x on the row that is chosen, then c. What is ticked stays so
// when the list is fetched again.

import { isTyping } from "./keys.js";

const button = document.querySelector("[data-compare]");
const form = document.getElementById("ticked");
const ticked = [];

function boxes() {
  return [...document.querySelectorAll('input[name="run"]')];
}

/** The third tick takes the first one away: only two can be compared. */
function mark() {
  while (ticked.length > 2) ticked.shift();
  for (const box of boxes()) box.checked = ticked.includes(box.value);
  button.disabled = ticked.length !== 2;
  button.textContent = ticked.length === 1 ? "Compare: tick one more" : "Compare";
}

function tick(id, on) {
  const place = ticked.indexOf(id);
  if (place >= 0) ticked.splice(place, 1);
  if (on) ticked.push(id);
  mark();
}

document.addEventListener("change", (event) => {
  if (event.target.matches?.('input[name="run"]')) tick(event.target.value, event.target.checked);
});

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const onBox = event.target.matches?.('input[type="checkbox"]');
  if (isTyping(event) && !onBox) return;
  if (event.key === "x") {
    const box = document.querySelector('[data-row].on input[name="run"]');
    if (box) tick(box.value, !box.checked);
  } else if (event.key === "c" && ticked.length === 2) {
    event.preventDefault();
    form.requestSubmit(button);
  }
});

for (const box of boxes()) if (box.checked) ticked.push(box.value); // a page that is gone back to
document.addEventListener("refreshed", mark);
mark();
