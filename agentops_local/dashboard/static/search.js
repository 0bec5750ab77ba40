// While a search goes on, the page asks again until there is an answer.

import { localise } from "./time.js";

const region = document.getElementById("found");

async function again() {
  if (!region.querySelector("[data-waiting]")) return;
  try {
    const answer = await fetch(region.dataset.again, { credentials: "same-origin" });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
    localise(fresh);
    region.replaceChildren(...fresh.childNodes);
  } catch {
    // the server is away for a moment; it is asked again
  }
  setTimeout(again, 1000);
}

setTimeout(again, 300);
