// Light, dark, or as the system has it; remembered in this browser.

const root = document.documentElement;
const order = ["", "light", "dark"];

function apply(scheme) {
  if (scheme) root.dataset.scheme = scheme;
  else delete root.dataset.scheme;
}

let scheme = "";
try {
  scheme = localStorage.getItem("scheme") ?? "";
} catch {
  // a browser that keeps nothing: the system's choice holds
}
apply(order.includes(scheme) ? scheme : "");

document.querySelector("[data-theme]")?.addEventListener("click", () => {
  const now = root.dataset.scheme ?? "";
  const next = order[(order.indexOf(now) + 1) % order.length];
  apply(next);
  try {
    localStorage.setItem("scheme", next);
  } catch {
    // see above
  }
});
