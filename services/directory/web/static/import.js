// Looks again while an import runs. Everything works without it, by loading the page anew.

"use strict";

const part = document.getElementById("import");

// False when there is no more to see here: signed out, or no longer allowed.
async function look() {
  const answer = await fetch(location.href, { credentials: "same-origin", redirect: "manual" });
  if (answer.status >= 500) return true;
  if (!answer.ok) return false;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("import");
  if (!fresh) return false;
  part.toggleAttribute("data-running", fresh.hasAttribute("data-running"));
  await untilLetGo();
  replaceContent(part, fresh);
  return true;
}

async function watch() {
  while (part.hasAttribute("data-running")) {
    await new Promise((done) => setTimeout(done, 1000));
    // A line that is down for a moment is no reason to stop looking.
    if (!(await look().catch(() => true))) location.reload();
  }
}

if (part) watch();
