// The chosen event in the URL: #e=EVENT, an id or a number.

/** Which event the URL names; "" for none. */
export function named() {
  const found = /^#e=([0-9a-f-]+)$/i.exec(location.hash);
  return found ? found[1] : "";
}

/** Writes it there: a step of its own in the history, or in place of the last. */
export function write(event, isStep) {
  const url = new URL(location.href);
  url.hash = event ? `e=${event}` : "";
  if (url.href === location.href) return;
  history[isStep ? "pushState" : "replaceState"](null, "", url);
}

/** Tells when somebody went back, forward, or to a link. */
export function follow(heard) {
  let last = named();
  const look = () => {
    const now = named();
    if (now !== last) heard(now);
    last = now;
  };
  addEventListener("popstate", look);
  addEventListener("hashchange", look);
  return { know: () => { last = named(); } };
}

/** A choice of the query; "" for none. */
export function choice(name) {
  return new URL(location.href).searchParams.get(name) ?? "";
}

/** Keeps choices of the query, in place of what was there. */
export function keep(choices) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(choices)) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  history.replaceState(null, "", url);
}
