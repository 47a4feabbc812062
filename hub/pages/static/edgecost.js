// Keeps a page fresh, and sends a dropped model. Without it every page but "Ask" works all the same.
"use strict";

const main = document.getElementById("main");

async function refresh() {
  if (document.hidden || document.querySelector("input:focus, details[open]")) return;
  try {
    const answer = await fetch(location.href, { redirect: "error" });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const at = document.activeElement && document.activeElement.getAttribute("href");
    main.replaceChildren(...page.getElementById("main").childNodes);
    document.querySelector("footer").replaceWith(page.querySelector("footer"));
    main.classList.remove("stale");
    if (at) main.querySelector(`a[href="${CSS.escape(at)}"]`)?.focus({ preventScroll: true });
  } catch {
    if (!main.classList.contains("stale")) {
      main.classList.add("stale");
      const told = document.createElement("p");
      told.className = "problem";
      told.setAttribute("role", "status");
      told.textContent = "The hub does not answer; what stands here is as it was.";
      main.prepend(told);
    }
  }
}

if (main.dataset.refresh) setInterval(refresh, 1000 * Number(main.dataset.refresh));

const drop = document.querySelector("[data-drop]");
if (drop) {
  const answer = document.querySelector("[data-answer]");
  const progress = document.querySelector("[data-progress]");
  const send = async (file) => {
    progress.textContent = `${file.name}: looking at ${(file.size / 1e6).toFixed(1)} MB …`;
    try {
      const got = await fetch(`/ask?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
      const page = new DOMParser().parseFromString(await got.text(), "text/html");
      const found = page.querySelector("section") || page.querySelector("main");
      answer.replaceChildren(...(found ? found.childNodes : []));
      progress.textContent = got.ok ? "" : "It has no price.";
    } catch {
      progress.textContent = "The hub does not answer.";
    }
  };
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
  });
  drop.querySelector("input").addEventListener("change", (event) => {
    if (event.target.files.length) send(event.target.files[0]);
  });
}
