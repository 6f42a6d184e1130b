// Changes only what differs between the page and fresh HTML, so that focus, open details and text selections stay.

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

export function morphChildren(old, next) {
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
