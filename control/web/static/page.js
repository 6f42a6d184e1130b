// Keeps the page live: asks for the sections every few seconds and changes only what differs, so that focus and
// text selections stay.

const EVERY_MS = 5000;
const live = document.getElementById("live");

function isSame(one, other) {
  return one.nodeName === other.nodeName && !one.dataset?.key && !other.dataset?.key;
}

function morph(old, next) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && name !== "open" && name !== "hidden") old.removeAttribute(name);
  }
  morphChildren(old, next);
}

function morphChildren(old, next) {
  const keyed = new Map();
  for (const child of old.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let cursor = old.firstChild;
  for (const wanted of [...next.childNodes]) {
    const key = wanted.dataset?.key;
    const match = key ? keyed.get(key) : cursor && isSame(cursor, wanted) ? cursor : null;
    if (!match) {
      old.insertBefore(wanted, cursor);
      continue;
    }
    if (match === cursor) cursor = cursor.nextSibling;
    else old.insertBefore(match, cursor);
    morph(match, wanted);
  }
  while (cursor) {
    const gone = cursor;
    cursor = cursor.nextSibling;
    gone.remove();
  }
}

function say(text, state) {
  if (live.textContent !== text) live.textContent = text;
  live.dataset.state = state;
}

async function look() {
  try {
    const answer = await fetch("/status/sections");
    if (answer.status === 401) {
      location.reload();
      return;
    }
    for (const [name, html] of Object.entries(await answer.json())) {
      const fresh = document.createElement("template");
      fresh.innerHTML = html;
      morphChildren(document.getElementById(name), fresh.content);
    }
    say("Live", "live");
  } catch {
    say("Connection lost, trying again", "lost");
  }
  setTimeout(look, EVERY_MS);
}

addEventListener("pageshow", (event) => event.persisted && location.reload());
look();
