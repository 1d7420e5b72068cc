// Keeps the list of users up to date while it is open. Everything works without it.

"use strict";

const list = document.querySelector("[data-live]");

// The page is asked for anew, and its list put in place of the old one.
async function refresh() {
  const answer = await fetch(location.pathname + location.search, { credentials: "same-origin", redirect: "error" });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(list.id);
  if (!fresh) return;
  await untilLetGo();
  replaceContent(list, fresh);
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
      await refresh().catch(() => {});
      // Many changes may come at once: they are shown together.
      await new Promise((done) => setTimeout(done, 500));
    }
    busy = false;
  };
  source.addEventListener("open", look);
  source.addEventListener("message", look);
  window.addEventListener("pagehide", () => source.close());
}
