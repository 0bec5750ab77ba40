// What is new, as it comes: in the tab that is seen, and only there. A region of a page that says where it comes from
// (data-live) is fetched again, and put in place of itself, with scroll, focus and the chosen row as they were.

import { localise } from "./time.js";

const root = document.documentElement.dataset.root ?? "";
const badge = document.querySelector(".live");
let source = null;
let pending = false;
let busy = false;
let first = true;

/** What holds still while somebody works with it. */
function isBusy(region) {
  const selected = getSelection();
  const inside = selected && !selected.isCollapsed && region.contains(selected.anchorNode);
  const field = document.activeElement;
  const typing = region.contains(field) && field.matches("input:not([type=checkbox]), textarea, select");
  return inside || typing || region.querySelector("details[open], dialog[open]") !== null;
}

/** What finds an element again when it was put in place of itself. */
function nameOf(element) {
  const [name, value] = element.matches("input") ? ["value", element.value] : ["href", element.getAttribute("href")];
  return value ? `${element.localName}[${name}="${CSS.escape(value)}"]` : null;
}

async function refresh(region) {
  if (isBusy(region)) {
    pending = true; // it is looked at again
    return;
  }
  const answer = await fetch(region.dataset.live, { credentials: "same-origin" });
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
  const marked = region.querySelector("[data-row].on")?.dataset.row;
  const focused = region.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  const scrolls = [...region.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
  localise(fresh);
  region.replaceChildren(...fresh.childNodes);
  region.querySelectorAll(".scroll").forEach((one, place) => { one.scrollLeft = scrolls[place] ?? 0; });
  if (marked) region.querySelector(`[data-row="${CSS.escape(marked)}"]`)?.classList.add("on");
  if (focused) region.querySelector(focused)?.focus({ preventScroll: true });
  document.dispatchEvent(new CustomEvent("refreshed", { detail: region }));
}

async function catchUp() {
  if (busy) return;
  busy = true;
  try {
    while (pending) {
      pending = false;
      for (const region of document.querySelectorAll("[data-live]")) await refresh(region);
      await new Promise((resolve) => setTimeout(resolve, 1000)); // at most once a second, however fast it comes
    }
  } catch {
    // the server is away; the stream tells when it is there again
  } finally {
    busy = false;
  }
}

function tell(state) {
  badge.hidden = !state.open;
  badge.querySelector("[data-live-text]").textContent = state.open ? `${state.open} open` : "";
}

function open() {
  source = new EventSource(`${root}/live`);
  source.addEventListener("changed", (event) => {
    const state = JSON.parse(event.data);
    tell(state);
    document.dispatchEvent(new CustomEvent("changed", { detail: state }));
    if (!first) {
      pending = true;
      catchUp();
    }
    first = false;
  });
}

function follow() {
  if (document.visibilityState === "visible") {
    if (!source) open();
  } else {
    source?.close();
    source = null;
    first = false; // what came meanwhile is fetched when the tab is seen again
  }
}

/** Begins to listen. */
export function listen() {
  if (!badge) return;
  document.addEventListener("visibilitychange", follow);
  follow();
}
