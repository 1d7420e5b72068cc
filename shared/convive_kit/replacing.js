// Puts what is new in place of what is old, in a page that somebody may be using right now.

"use strict";

// A click ends on what it began on, or is lost. So nothing is replaced between pressing and letting go.
let heldUntil = 0;
const held = () => (heldUntil = performance.now() + 10_000); // letting go may happen where nobody tells us
const letGo = () => (heldUntil = performance.now() + 100); // a touch becomes a click a moment later
for (const kind of ["pointerdown", "keydown"]) window.addEventListener(kind, held);
for (const kind of ["pointerup", "pointercancel", "contextmenu", "keyup", "blur"]) window.addEventListener(kind, letGo);

// Resolves when nothing is pressed: replace in the same turn.
async function untilLetGo() {
  while (performance.now() < heldUntil) await new Promise((done) => setTimeout(done, 50));
}

// What can be used keeps the focus.
function replaceContent(old, fresh) {
  const at = old.contains(document.activeElement) ? document.activeElement : null;
  const way = at && (at.getAttribute("href") || at.closest("form")?.getAttribute("action"));
  old.replaceChildren(...fresh.childNodes);
  if (way) (old.querySelector(`a[href="${CSS.escape(way)}"]`) || old.querySelector(`form[action="${CSS.escape(way)}"] button`))?.focus();
}
