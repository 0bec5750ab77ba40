// What is new, as it comes: in the tab that is seen, and only there. A region of a page that says where it comes from
// (data-live) is fetched again, and put in place of itself, with scroll, focus and the chosen row as they were.

import { localise } from "./time.js";

const root = document.documentElement.dataset.root ?? "";
const badge = document.querySelector(".live");
// Where a page is not trusted (http from another machine) there are no locks, and every tab listens for itself.
const channel = navigator.locks ? new BroadcastChannel(`live ${root}`) : null;
let source = null;
let last = null; // what was heard
let waiting = null; // for its turn to listen
let left = null; // to be called when it no longer does
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

function hear(state) {
  last = state;
  document.documentElement.dataset.heard = state.seq ?? "";
  tell(state);
  document.dispatchEvent(new CustomEvent("changed", { detail: state }));
  if (!first) {
    pending = true;
    catchUp();
  }
  first = false;
}

// A browser opens six connections to a server at most, and each stream keeps one. So of all the tabs that are seen, one
// listens, and tells the others; when it is closed or covered, the next one does.

function open() {
  source = new EventSource(`${root}/live`);
  source.addEventListener("changed", (event) => {
    const state = JSON.parse(event.data);
    hear(state);
    channel?.postMessage(state);
  });
}

function close() {
  source?.close();
  source = null;
  left?.();
  left = null;
}

async function queue() {
  waiting = new AbortController();
  channel.postMessage("what is new?");
  try {
    await navigator.locks.request(`live ${root}`, { signal: waiting.signal }, () => {
      open();
      return new Promise((resolve) => { left = resolve; });
    });
  } catch {
    // covered before it was its turn
  }
}

function follow() {
  if (document.visibilityState !== "visible") {
    waiting?.abort();
    waiting = null;
    close();
    first = false; // what came meanwhile is fetched when the tab is seen again
  } else if (!channel) {
    if (!source) open();
  } else if (!waiting) {
    queue();
  }
}

/** Begins to listen. */
export function listen() {
  if (!badge) return;
  channel?.addEventListener("message", (event) => {
    if (document.visibilityState !== "visible") return;
    if (typeof event.data !== "string") hear(event.data);
    else if (source && last) channel.postMessage(last);
  });
  document.addEventListener("visibilitychange", follow);
  addEventListener("pagehide", close);
  follow();
}
