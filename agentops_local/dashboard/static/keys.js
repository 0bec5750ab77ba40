// The keys that every page knows. A page of its own adds to them by listening to "keydown" first.

const pages = { o: "/", s: "/sessions", e: "/errors", b: "/breakdown" };
const root = document.documentElement.dataset.root ?? "";
let going = false;

/** Whether what is typed is meant for a field. */
export function isTyping(event) {
  const target = event.target;
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

function rows() {
  return [...document.querySelectorAll("[data-row]")].filter((row) => row.offsetParent !== null);
}

function current(all) {
  return all.findIndex((row) => row.classList.contains("on"));
}

function move(step, wanted = () => true) {
  const all = rows();
  let place = current(all);
  const from = place;
  do place += step;
  while (place >= 0 && place < all.length && !wanted(all[place]));
  if (place < 0 || place >= all.length) return;
  all[from]?.classList.remove("on");
  const row = all[place];
  row.classList.add("on");
  row.scrollIntoView({ block: "nearest" });
  (row.querySelector("a") ?? row).focus({ preventScroll: true });
}

function open() {
  const all = rows();
  const row = all[current(all)];
  if (row?.dataset.row) location.assign(row.dataset.row);
}

const dialog = document.getElementById("keys");
document.querySelector("[data-keys]")?.addEventListener("click", () => dialog.showModal());

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
  if (going) {
    going = false;
    const page = pages[event.key];
    if (page) location.assign(root + page);
    return;
  }
  const doing = {
    j: () => move(1),
    k: () => move(-1),
    e: () => move(1, (row) => row.querySelector(".bad") !== null),
    g: () => { going = true; },
    "/": () => (document.querySelector("[data-filter]") ?? document.querySelector("input[type=search]"))?.focus(),
    "?": () => dialog.showModal(),
  }[event.key];
  if (doing) {
    event.preventDefault();
    doing();
  } else if (event.key === "Enter" && document.activeElement?.tagName !== "A" && document.activeElement?.tagName !== "BUTTON") {
    open();
  }
});
