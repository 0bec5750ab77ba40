// What all views of a session have: the pane of an event, and buttons.

import { begin, close, isOpen } from "./session/detail.js";

begin();

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && isOpen() && !document.querySelector("dialog[open]")) close();
});

for (const button of document.querySelectorAll("[data-copy]")) {
  const told = document.querySelector("[data-copied]");
  button.addEventListener("click", async () => {
    try {
      const answer = await fetch(button.dataset.copy, { credentials: "same-origin" });
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      await navigator.clipboard.writeText(await answer.text());
      told.textContent = "copied";
    } catch (error) {
      told.textContent = `not copied: ${error.message}`;
    }
  });
}
