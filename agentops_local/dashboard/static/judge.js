// Scores and notes of the event that is shown beside the views: forms like those of the session, with the event in them.

import { element } from "./session/figures.js";
import { onShown } from "./session/detail.js";

const { root, token } = document.documentElement.dataset;
const pane = document.getElementById("detail");

function field(name, value) {
  const made = document.createElement("input");
  made.type = "hidden";
  made.name = name;
  made.value = value;
  return made;
}

function labelled(text, tag, name, more = {}) {
  const label = element("label", "", text);
  const input = document.createElement(tag);
  input.name = name;
  Object.assign(input, more);
  label.append(input);
  return label;
}

function form(action, event, ...parts) {
  const made = document.createElement("form");
  made.method = "post";
  made.action = `${root}/actions/${action}`;
  const back = `${location.pathname}${location.search}#e=${event}`;
  made.append(field("token", token), field("session", session()), field("event", event), field("back", back), ...parts);
  return made;
}

function session() {
  return pane.dataset.url.split("/sessions/")[1].split("/")[0];
}

function button(text, name, value) {
  const made = element("button", "", text);
  if (name) {
    made.name = name;
    made.value = value;
    made.setAttribute("aria-label", `thumb ${value}`);
  }
  return made;
}

function drop(title, made) {
  const box = element("details", "drop");
  made.className = "stack";
  box.append(element("summary", "button", title), made);
  return box;
}

function forms(event) {
  const box = element("div", "judge");
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Score this event");
  for (const [text, value] of [["Good", "up"], ["Bad", "down"]]) {
    box.append(form("score", event, field("name", "thumb"), button(text, "value", value)));
  }
  box.append(
    drop("Score…", form(
      "score", event, labelled("Name", "input", "name", { required: true, maxLength: 100, placeholder: "helpful" }),
      labelled("Value", "input", "value", { required: true, placeholder: "0.8, up, down or a text" }),
      labelled("Remark", "input", "note", { maxLength: 2000 }), button("Save"),
    )),
    drop("Note…", form(
      "note", event, labelled("Note", "textarea", "text", { required: true, rows: 3, maxLength: 65536 }), button("Save"),
    )),
  );
  return box;
}

function said(one) {
  if (one.kind === "thumb") return one.value ? "up" : "down";
  return String(one.value);
}

async function given(event) {
  const answer = await fetch(`${root}/sessions/${session()}/scores.json`, { credentials: "same-origin" });
  if (!answer.ok) return null;
  const list = element("ul", "given");
  list.setAttribute("aria-label", "Scores and notes of this event");
  for (const one of (await answer.json()).given.filter((score) => score.event_id === event)) {
    const line = element("li");
    line.append(element("span", "name", one.name), element("span", "value", said(one)));
    if (one.remark) line.append(element("span", "remark", one.remark));
    if (one.author) line.append(element("span", "dim", one.author));
    list.append(line);
  }
  return list.children.length ? list : null;
}

async function add(event) {
  const box = element("section");
  box.append(element("h3", "", "Scores and notes"), forms(event));
  pane.append(box);
  const list = await given(event);
  if (list && box.isConnected) box.append(list);
}

onShown((told) => add(told.id));
// An event that the address names may have been shown before this script was there.
const named = /[#&]e=([0-9a-f-]{36})/.exec(location.hash);
if (named && !pane.hidden && pane.childElementCount && !pane.querySelector(".judge") && !pane.hasAttribute("aria-busy")) {
  add(named[1]);
}
// Whatever is changed, the event that is shown stays.
document.querySelector(".changes")?.addEventListener("submit", ({ target }) => {
  const back = target.elements.namedItem("back");
  if (back && location.hash) back.value = back.value.split("#")[0] + location.hash;
});
