// Looks again while an import runs. Everything works without it, by loading the page anew.

"use strict";

const part = document.getElementById("import");

async function look() {
  const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("import");
  if (!fresh) return;
  part.toggleAttribute("data-running", fresh.hasAttribute("data-running"));
  part.replaceChildren(...fresh.childNodes);
}

async function watch() {
  while (part.hasAttribute("data-running")) {
    await new Promise((done) => setTimeout(done, 1000));
    await look().catch(() => {});
  }
}

if (part) watch();
