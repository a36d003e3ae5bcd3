// Elements of the page, and what is drawn only when it changes.

let WORDS = {}; // what the component says, by name, in the server's language

// A text of the words with its {names} filled.
function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function drawing(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function button(label, key, className, act, title) {
  const made = element("button", className, label);
  made.type = "button";
  if (key) made.append(element("kbd", "", key));
  if (title) Object.assign(made, { title, ariaLabel: title });
  made.onclick = act;
  return made;
}

// Fills `where` by `build()` when `known`, what it shows, is another than before: the rest keeps its focus and pictures.
function show(where, known, build) {
  const text = JSON.stringify(known);
  if (where.shown === text) return;
  const focused = where.contains(where.getRootNode().activeElement);
  where.shown = text;
  where.replaceChildren(...[build()].flat().filter(Boolean));
  if (focused) where.closest(".desk").focus({ preventScroll: true });
}

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

// Storage may be refused by the browser; the desk works without it, but forgets with the page.
function remember(storage, key, value) {
  try {
    window[storage].setItem(key, JSON.stringify(value));
  } catch { /* as above */ }
}

function recall(storage, key, otherwise) {
  try {
    return JSON.parse(window[storage].getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}
