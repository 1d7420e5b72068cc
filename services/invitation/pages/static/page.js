// Makes the pages of a link more comfortable. Everything works without it, the proof of a person aside:
// there, a form asks for something that only a person fills in.

"use strict";

// Mail scanners open pages and submit forms, but do not press keys or touch the screen: the first input that the
// browser vouches for tells that a person is here. (A click without a pointer comes from assistive technology.)
function watchForAPerson(form) {
  const kinds = ["keydown", "pointerdown", "touchstart", "click"];
  const noticed = (event) => {
    if (!event.isTrusted) return;
    for (const kind of kinds) form.removeEventListener(kind, noticed, true);
    const proof = document.createElement("input");
    proof.type = "hidden";
    proof.name = "proof";
    proof.value = "input";
    form.append(proof);
    if (!form.dataset.open) return;
    fetch(form.dataset.open, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify({ proof: "input" }),
      credentials: "same-origin",
      keepalive: true,
    }).catch(() => {
      // The form itself carries the proof too.
    });
  };
  for (const kind of kinds) form.addEventListener(kind, noticed, { capture: true, passive: true });
}

// One press sends the form once. A page that comes back from the browser's memory is usable again.
function sendOnce(form) {
  const button = form.querySelector("button[type=submit]");
  const label = button.textContent;
  const ready = () => {
    delete form.dataset.sent;
    button.removeAttribute("aria-disabled");
    button.textContent = label;
  };
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    button.setAttribute("aria-disabled", "true");
    button.textContent = button.dataset.busy;
  });
  window.addEventListener("pageshow", ready);
}

function offerToReveal(button) {
  const field = document.getElementById(button.getAttribute("aria-controls"));
  const show = (visible) => {
    field.type = visible ? "text" : "password";
    button.textContent = visible ? button.dataset.hide : button.dataset.show;
    button.setAttribute("aria-label", visible ? button.dataset.hideLabel : button.dataset.showLabel);
  };
  show(false);
  button.hidden = false;
  button.addEventListener("click", () => {
    show(field.type === "password");
    field.focus();
  });
  // Browsers remember what stood in a text field; a password must not be among it.
  field.form.addEventListener("submit", () => show(false));
}

// A hint while typing, nothing more: the server knows common passwords and the person's names, and judges.
function guessStrength(password, shortest) {
  const letters = Array.from(password);
  if (letters.length < shortest) return 0;
  const lower = Array.from(password.toLowerCase());
  // A repeated or neighbouring letter (aaa, abc, 321) adds next to nothing.
  const fresh = lower.filter((letter, i) => {
    if (i === 0) return true;
    return Math.abs(letter.codePointAt(0) - lower[i - 1].codePointAt(0)) > 1;
  }).length;
  const different = new Set(lower).size;
  if (different < 6 || fresh < 8) return 1;
  const kinds = [/\p{Ll}/u, /\p{Lu}/u, /\p{Nd}/u, /[^\p{L}\p{Nd}]/u].filter((kind) => kind.test(password)).length;
  const worth = Math.min(fresh, different * 2) + 2 * (kinds - 1);
  if (worth < 13) return 2;
  return worth < 20 ? 3 : 4;
}

function showStrength(meter) {
  const field = document.getElementById(meter.dataset.strength);
  const line = meter.querySelector("[data-words]");
  const words = line.dataset.words.split("|");
  const shortest = Number(meter.dataset.shortest);
  const update = () => {
    const level = guessStrength(field.value, shortest);
    const said = field.value ? words[level] : "";
    meter.dataset.level = String(level);
    // Only a change is written, so that screen readers speak when the level changes and not at every key.
    if (line.textContent !== said) line.textContent = said;
  };
  field.addEventListener("input", update);
  window.addEventListener("pageshow", update);
  meter.hidden = false;
  update();
}

for (const form of document.querySelectorAll("form[data-guarded]")) {
  watchForAPerson(form);
  sendOnce(form);
}
document.querySelectorAll(".reveal").forEach(offerToReveal);
document.querySelectorAll("[data-strength]").forEach(showStrength);
document.getElementById("errors")?.focus();
