// Keeps the page live: takes changed sections from the event stream and changes only what differs,
// so that focus, open details and text selections stay.

import { morphChildren } from "./morph.js";

const RETRY_MS = 3000;
const live = document.getElementById("live");
const filter = document.getElementById("filter");
const formatTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function localise(root) {
  for (const time of root.querySelectorAll("time[title]")) {
    time.title = formatTime.format(new Date(time.dateTime));
  }
}

function show(sections) {
  for (const [name, html] of Object.entries(sections)) {
    const target = document.getElementById(name);
    if (!target) continue;
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    localise(fresh.content);
    morphChildren(target, fresh.content);
  }
  applyFilter();
}

function applyFilter() {
  const wanted = filter.value.trim().toLowerCase();
  const rows = document.querySelectorAll("#peers tr[data-find]");
  let shown = 0;
  for (const row of rows) {
    row.hidden = !row.dataset.find.includes(wanted);
    shown += !row.hidden;
  }
  document.getElementById("find").hidden = rows.length < 5 && !wanted;
  document.getElementById("no-match").hidden = shown > 0 || rows.length === 0;
}

function say(text, state) {
  if (live.textContent !== text) live.textContent = text;
  live.dataset.state = state;
}

async function tryAgain() {
  try {
    const answer = await fetch("/session");
    if (answer.status === 401) location.reload();
    else follow();
  } catch {
    setTimeout(tryAgain, RETRY_MS);
  }
}

function follow() {
  const source = new EventSource("/events");
  source.addEventListener("sections", (event) => {
    say(live.dataset.liveText, "live");
    show(JSON.parse(event.data));
  });
  source.addEventListener("error", () => {
    say(live.dataset.lostText, "lost");
    if (source.readyState === EventSource.CLOSED) setTimeout(tryAgain, RETRY_MS);
  });
  addEventListener("pagehide", () => source.close(), { once: true });
}

addEventListener("pageshow", (event) => event.persisted && location.reload());
filter.addEventListener("input", applyFilter);
localise(document);
applyFilter();
follow();
