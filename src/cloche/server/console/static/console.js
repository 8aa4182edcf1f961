// What pages do beyond links and forms. Without it they work too; output is then not live.
"use strict";

const CHARACTERS_MAX = 200000; // of live output: what is older stays on the server
const POLL_MS = 1500;
const OVER = "The server has ended the connection. Load the page again to go on.";
const LINES_MAX = 2000; // of a log that is followed, likewise

// Live output: <div data-events="URL"> with <pre data-stream="stdout"> and one for stderr.
function listen(place) {
  const source = new EventSource(place.dataset.events);
  for (const name of ["stdout", "stderr"]) {
    const pre = place.querySelector(`[data-stream=${name}]`);
    source.addEventListener(name, (event) => {
      const box = pre.closest("[data-box]");
      box.hidden = false;
      const text = pre.textContent + JSON.parse(event.data).text;
      pre.textContent = text.length > CHARACTERS_MAX ? text.slice(-CHARACTERS_MAX) : text;
      pre.scrollTop = pre.scrollHeight;
    });
  }
  source.addEventListener("end", () => {
    source.close();
    location.reload();
  });
  source.addEventListener("error", () => {
    if (isOver(source)) place.prepend(element("p", "flash wait", OVER));
  });
}

// A browser tries again by itself, unless the server answered with something else: who is signed in
// no more is led to a form.
function isOver(source) {
  return source.readyState === EventSource.CLOSED;
}

// Lines of a log as they are written: <div data-tail="URL"> with a list.
function follow(place) {
  const list = place.querySelector("ol");
  const state = document.querySelector("[data-tail-state]");
  const source = new EventSource(place.dataset.tail);
  const say = (text) => {
    if (state) state.textContent = text;
  };
  source.addEventListener("open", () => say("What is written from now on appears here."));
  source.addEventListener("error", () =>
    say(isOver(source) ? OVER : "The server cannot be reached; trying again."),
  );
  source.addEventListener("line", (event) => {
    const line = JSON.parse(event.data);
    const isAtEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 40;
    list.append(entry(line));
    while (list.childElementCount > LINES_MAX) list.firstElementChild.remove();
    if (isAtEnd) place.scrollTop = place.scrollHeight;
  });
  addEventListener("pagehide", () => source.close());
  place.scrollTop = place.scrollHeight;
}

function entry(line) {
  const item = element("li", line.level, "");
  const at = new Date(line.at_ms).toISOString();
  const time = element("time", "", at.slice(0, 19).replace("T", " "));
  time.dateTime = at;
  const message = element("span", "message", line.message);
  const fields = Object.entries(line.fields).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  if (fields.length) message.append(" ", element("span", "hint", fields.join(", ")));
  item.append(time, " ", element("span", "level", line.level), " ", message);
  return item;
}

function element(name, kind, text) {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = text;
  return made;
}

// A page of something that goes on: <span data-poll="STATE">. Loaded again when that has changed.
async function watch(place) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    const page = await fetch(location.href).then((answer) => answer.text(), () => null);
    if (page === null) continue;
    const found = new DOMParser().parseFromString(page, "text/html").querySelector("[data-poll]");
    if (!found || found.dataset.poll !== place.dataset.poll) {
      location.reload();
      return;
    }
  }
}

// An effect in full below its bar, without leaving the page.
async function unfold(link, event) {
  event.preventDefault();
  const item = link.closest("li");
  const open = item.querySelector(".card");
  link.setAttribute("aria-expanded", String(!open));
  if (open) {
    open.remove();
    return;
  }
  const answer = await fetch(link.href);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const found = page.querySelector("[data-effect]");
  if (!found) location.assign(link.href); // signed out meanwhile, or gone: the page says which
  else if (!item.querySelector(".card")) item.append(document.adoptNode(found));
}

document.querySelectorAll("[data-events]").forEach(listen);
document.querySelectorAll("[data-poll]").forEach(watch);
document.querySelectorAll("[data-tail]").forEach(follow);
document.querySelectorAll(".timeline a").forEach((link) => {
  link.setAttribute("aria-expanded", "false");
  link.addEventListener("click", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) unfold(link, event);
  });
});
document.querySelectorAll("form[data-confirm]").forEach((form) => {
  form.addEventListener("submit", (event) => {
    if (!confirm(form.dataset.confirm)) event.preventDefault();
  });
});
document.querySelectorAll("textarea[data-run]").forEach((text) => {
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) text.form.requestSubmit();
  });
});
