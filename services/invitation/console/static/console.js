// Makes the console live and quick at the keyboard. Everything works without it.

"use strict";

// What somebody is filling in is left alone.
function isInUse(fragment) {
  const fields = [...fragment.querySelectorAll("input, textarea")];
  return fragment.querySelector("select:focus") || fields.some((field) => field.value !== field.defaultValue || field === document.activeElement);
}

// The page itself is asked for anew, and those parts of it that say so are put in place of the old ones; false where it
// cannot be had.
async function refresh(address) {
  const answer = await fetch(address, { credentials: "same-origin", redirect: "error" });
  if (!answer.ok) return false;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  await untilLetGo();
  document.querySelector("main").toggleAttribute("data-poll", fresh.querySelector("main[data-poll]") !== null);
  for (const old of document.querySelectorAll("[data-fragment]")) {
    const now = fresh.getElementById(old.id);
    if (now && !isInUse(old) && now.innerHTML !== old.innerHTML) {
      const open = [...old.querySelectorAll("details[open][id]")].map((details) => details.id);
      replaceContent(old, now);
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      old.querySelectorAll("[data-copy]").forEach(offerToCopy);
    }
  }
  return true;
}

function live(main) {
  const sign = document.querySelector("[data-live-words]");
  const [on, off] = sign ? sign.dataset.liveWords.split("|") : [];
  const source = new EventSource(main.dataset.live);
  const show = (connected) => {
    if (!sign) return;
    sign.hidden = false;
    sign.toggleAttribute("data-on", connected);
    sign.textContent = connected ? on : off;
  };
  let wanted = false;
  let busy = false;
  const look = async () => {
    wanted = true;
    if (busy) return;
    busy = true;
    while (wanted) {
      wanted = false;
      const shown = await refresh(main.dataset.page).catch(() => false);
      if (!shown && source.readyState !== EventSource.CLOSED) setTimeout(look, 5_000);
      // Many events may come at once: they are shown together.
      await new Promise((done) => setTimeout(done, 500));
    }
    busy = false;
  };
  source.addEventListener("open", () => {
    show(true);
    look();
  });
  source.addEventListener("error", () => show(false));
  source.addEventListener("message", look);
  window.addEventListener("pagehide", () => source.close());
}

// What goes on by itself and is told to nobody is looked at every second, until it has ended.
async function poll(main) {
  while (main.hasAttribute("data-poll")) {
    await new Promise((done) => setTimeout(done, 1000));
    await refresh(main.dataset.page).catch(() => {});
  }
}

function keys() {
  const rows = () => [...document.querySelectorAll("[data-row]")];
  const go = (step) => {
    const all = rows();
    const at = all.findIndex((row) => row.contains(document.activeElement));
    const row = all[Math.min(Math.max(at + step, 0), all.length - 1)];
    row?.querySelector("[data-open]")?.focus();
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea")) return;
    const field = document.querySelector(`[data-shortcut="${CSS.escape(event.key)}"]`);
    if (field) {
      event.preventDefault();
      field.focus();
    } else if (event.key === "j") go(1);
    else if (event.key === "k") go(-1);
  });
  document.querySelectorAll(".keys").forEach((hint) => (hint.hidden = false));
}

function offerToCopy(button) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
    button.textContent = button.dataset.copied;
  });
}

const main = document.querySelector("main[data-live]");
if (main) live(main);
document.querySelectorAll("[data-poll]").forEach(poll);
keys();
document.querySelectorAll("[data-copy]").forEach(offerToCopy);
document.getElementById("errors")?.focus();
