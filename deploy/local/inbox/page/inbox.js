// Shows the messages and asks for news every two seconds. Whatever a message contains is put in as text.
"use strict";

const EVERY = 2000;
const AT_MOST = 300;
const at = (id) => document.getElementById(id);
let messages = [];
let tag = "";
let view = "html";

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function link(address) {
  const made = element("a", "", address);
  made.href = address;
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}

function time(message) {
  const when = new Date(message.received_at);
  const today = when.toDateString() === new Date().toDateString();
  return when.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "short", timeStyle: "short" });
}

function found() {
  const words = at("search").value.trim().toLowerCase();
  if (!words) return messages;
  return messages.filter((message) =>
    [message.to, message.from, message.subject ?? "", message.text].some((part) => part.toLowerCase().includes(words)));
}

function row(message) {
  const button = element("button", "row");
  button.type = "button";
  button.dataset.id = message.id;
  button.dataset.channel = message.channel;
  button.append(
    element("span", "mark", message.channel === "sms" ? "SMS" : "Mail"),
    element("span", "who", message.to),
    element("span", "when", time(message)),
    element("span", "what", message.subject || message.text),
  );
  button.addEventListener("click", () => { location.hash = message.id; });
  const item = element("li");
  item.append(button);
  return item;
}

function drawList() {
  const shown = found();
  const focused = document.activeElement?.dataset?.id;
  at("messages").replaceChildren(...shown.map(row));
  at("state").textContent = messages.length === 0
    ? "No message yet. The first invitation shows up here by itself."
    : shown.length === messages.length
      ? `${messages.length} ${messages.length === 1 ? "message" : "messages"}`
      : `${shown.length} of ${messages.length} messages`;
  mark();
  if (focused) document.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
}

function mark() {
  for (const button of document.querySelectorAll(".row")) {
    button.setAttribute("aria-current", String(button.dataset.id === location.hash.slice(1)));
  }
}

function bubble(message, current) {
  const parts = [];
  let rest = message.text;
  for (const address of message.links) {
    const [before, ...after] = rest.split(address);
    parts.push(before, link(address));
    rest = after.join(address);
  }
  const item = element("li", current ? "current" : "");
  const said = element("p", "bubble");
  said.append(...parts, rest);
  const counted = message.segments === 1 ? "1 SMS" : `${message.segments} SMS`;
  item.append(said, element("p", "when", `${time(message)} · ${counted}`));
  return item;
}

// As a phone shows it: everything that came from one sender, the newest at the end.
function drawPhone(message) {
  const conversation = messages.filter((one) =>
    one.channel === "sms" && one.to === message.to && one.from === message.from);
  at("sender").textContent = message.from;
  at("bubbles").replaceChildren(...conversation.reverse().map((one) => bubble(one, one.id === message.id)));
}

async function drawView(message) {
  const mail = message.channel === "email";
  if (mail && !message.html && view === "html") view = "text";
  at("views").hidden = !mail;
  at("phone").hidden = mail;
  at("html").hidden = !mail || view !== "html";
  at("text").hidden = !mail || view === "html";
  for (const button of at("views").children) {
    button.setAttribute("aria-pressed", String(button.dataset.view === view));
  }
  if (!mail) {
    drawPhone(message);
  } else if (view === "html") {
    // Replaced, not navigated: the back button leaves the message, not a frame.
    const address = `/messages/${message.id}/html`;
    if (!at("html").src.endsWith(address)) at("html").src = address;
  } else if (view === "text") {
    at("text").textContent = message.text || "This mail has no text part.";
  } else {
    const answer = await fetch(`/messages/${message.id}/source`);
    at("text").textContent = await answer.text();
  }
}

function drawMessage() {
  const message = messages.find((one) => one.id === location.hash.slice(1));
  document.body.classList.toggle("reading", Boolean(message));
  at("message").hidden = !message;
  at("nothing").hidden = Boolean(message);
  mark();
  if (!message) return;
  at("subject").textContent = message.channel === "sms" ? "Text message" : message.subject || "(no subject)";
  at("from").textContent = message.from || "–";
  at("to").textContent = message.to;
  at("at").textContent = new Date(message.received_at).toLocaleString();
  at("at").dateTime = message.received_at;
  at("link-list").replaceChildren(...message.links.map((address) => {
    const item = element("li");
    item.append(link(address));
    return item;
  }));
  at("links").hidden = message.links.length === 0;
  drawView(message);
}

async function refresh() {
  try {
    const answer = await fetch(`/api/messages?limit=${AT_MOST}`, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
    if (answer.status === 200) {
      tag = answer.headers.get("ETag") ?? "";
      messages = await answer.json();
      drawList();
      if (at("message").hidden || !messages.some((one) => one.id === location.hash.slice(1))) drawMessage();
    }
  } catch {
    at("state").textContent = "The inbox does not answer: has Convive been stopped?";
    tag = "";
  }
  setTimeout(refresh, EVERY);
}

window.addEventListener("hashchange", () => {
  view = "html";
  drawMessage();
  if (location.hash) at("reader").focus();
});
at("search").addEventListener("input", drawList);
at("back").addEventListener("click", () => { location.hash = ""; });
at("views").addEventListener("click", (event) => {
  const chosen = event.target.dataset.view;
  if (!chosen) return;
  view = chosen;
  drawMessage();
});
at("clear").addEventListener("click", async () => {
  await fetch("/api/messages", { method: "DELETE" });
  location.hash = "";
});
refresh();
