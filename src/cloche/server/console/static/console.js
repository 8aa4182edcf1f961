// What pages do beyond links and forms. Without it they work too; output is then not live.
"use strict";

const CHARACTERS_MAX = 200000; // of live output: what is older stays on the server

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
  if (found && !item.querySelector(".card")) item.append(document.adoptNode(found));
}

document.querySelectorAll("[data-events]").forEach(listen);
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
