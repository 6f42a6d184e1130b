// Keeps the page live: asks for the sections every few seconds and changes only what differs, so that focus and
// text selections stay.

import { morphChildren } from "./morph.js";

const EVERY_MS = 5000;
const live = document.getElementById("live");

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
