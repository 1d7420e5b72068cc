// Keeps the list of users up to date while it is open. Everything works without it.

"use strict";

const list = document.querySelector("[data-live]");

// The page is asked for anew, and its list put in place of the old one; false where it cannot be had.
async function refresh() {
  const answer = await fetch(location.pathname + location.search, { credentials: "same-origin", redirect: "error" });
  if (!answer.ok) return false;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(list.id);
  await untilLetGo();
  if (fresh) replaceContent(list, fresh);
  return true;
}

if (list) {
  const source = new EventSource(list.dataset.live);
  let wanted = false;
  let busy = false;
  const look = async () => {
    wanted = true;
    if (busy) return;
    busy = true;
    while (wanted) {
      wanted = false;
      const shown = await refresh().catch(() => false);
      if (!shown && source.readyState !== EventSource.CLOSED) setTimeout(look, 5_000);
      // Many changes may come at once: they are shown together.
      await new Promise((done) => setTimeout(done, 500));
    }
    busy = false;
  };
  source.addEventListener("open", () => {
    // What was told before anybody listened here may reach the list after the first look.
    for (const later of [0, 2_000, 10_000]) setTimeout(look, later);
  });
  source.addEventListener("message", look);
  window.addEventListener("pagehide", () => source.close());
}
