// One desk for each mounted element; it lives across the server's redraws.
const desks = new WeakMap();

const KEYS = { n: "normal", d: "defect", u: "unsure", z: "undo" };
const VIEWS = ["overlay", "frame", "heatmap"];

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

class Desk {
  constructor(root) {
    this.root = root;
    this.said = [];
    this.gone = new Set(); // items decided here
    this.data = { items: [], reasons: [], answers: {}, waiting: 0, canDecide: false };
    this.choosing = false; // a defect waits for its reason
    this.view = "overlay";
  }

  update(data, send) {
    this.data = data;
    this.send = send;
    for (const press of this.said) {
      const answer = data.answers[press.key];
      if (answer && !answer.ok && press.decision !== "undo") this.gone.delete(press.item); // it was refused: show it again
    }
    for (const item of this.open().slice(0, 3)) for (const view of VIEWS) if (item[view]) new Image().src = item[view];
    this.draw();
  }

  open() {
    return this.data.items.filter((item) => !this.gone.has(item.id));
  }

  press(decision, reason) {
    const item = decision === "undo" ? null : this.open()[0];
    const last = this.undoable();
    if (!this.data.canDecide || (decision === "undo" ? !last : !item)) return;
    const id = decision === "undo" ? last.item : item.id;
    this.said = [...this.said, { key: uuid(), item: id, decision, reason: reason ?? null }];
    if (decision === "undo") this.gone.delete(id);
    else this.gone.add(id);
    this.choosing = false;
    this.send(this.said);
    this.draw();
  }

  undoable() {
    for (let at = this.said.length - 1; at >= 0; at--) {
      if (this.said[at].decision === "undo") return null;
      const answer = this.data.answers[this.said[at].key];
      if (!answer || answer.ok) return this.said[at];
    }
    return null;
  }

  key(event) {
    const typing = event.composedPath()[0];
    if (typing.closest?.("input, textarea, select, [contenteditable]")) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const pressed = event.key.toLowerCase();
    if (this.choosing) {
      const reason = this.data.reasons[Number(pressed) - 1];
      if (pressed === "escape") this.choosing = false;
      else if (reason) this.press("defect", reason);
      else return;
      event.preventDefault();
      return this.draw();
    }
    if (pressed === "v") this.view = VIEWS[(VIEWS.indexOf(this.view) + 1) % VIEWS.length];
    else if (KEYS[pressed] === "defect") this.choosing = this.data.canDecide && this.open().length > 0;
    else if (KEYS[pressed]) return this.press(KEYS[pressed]);
    else return;
    event.preventDefault();
    this.draw();
  }

  draw() {
    const desk = this.root.querySelector(".desk");
    const item = this.open()[0];
    const decided = [...this.gone].filter((id) => this.data.items.some((one) => one.id === id)).length;
    const left = Math.max(0, this.data.waiting - decided);
    desk.replaceChildren();
    desk.dataset.item = item ? item.id : "";
    desk.dataset.left = left;
    desk.append(this.head(item, left));
    if (item) desk.append(this.pictures(item), this.choosing ? this.reasons() : this.verdicts());
    else desk.append(element("p", "empty", left ? "Loading the next parts …" : "Nothing to review. The queue is empty."));
    desk.append(this.lastLine());
  }

  head(item, left) {
    const head = element("div", "head");
    head.append(element("span", "count", `${left} to review`));
    if (!item) return head;
    head.append(element("b", "", item.product), element("span", "", item.station), element("span", "", item.serial));
    if (item.lot) head.append(element("span", "", `lot ${item.lot}`));
    head.append(element("span", "dim", new Date(item.time).toLocaleString()));
    if (item.kind !== "flagged") head.append(element("span", "tag", item.kind));
    if (item.escalated) head.append(element("span", "tag", "escalated"));
    return head;
  }

  pictures(item) {
    if (!item.frame) return element("p", "empty", "The evidence of this part is no longer kept.");
    const box = element("div", "pictures");
    const chosen = item[this.view] ? this.view : "frame";
    const large = element("figure", "large");
    const image = element("img");
    image.src = item[chosen];
    image.alt = `${chosen} of ${item.serial}`;
    large.append(image, element("figcaption", "", chosen));
    const side = element("div", "side");
    for (const view of VIEWS.filter((one) => item[one] && one !== chosen)) {
      const small = element("figure", "small");
      const picture = element("img");
      picture.src = item[view];
      picture.alt = `${view} of ${item.serial}`;
      small.append(picture, element("figcaption", "", view));
      small.onclick = () => { this.view = view; this.draw(); };
      side.append(small);
    }
    box.append(large, side);
    return box;
  }

  verdicts() {
    const bar = element("div", "bar");
    const choices = [["N", "Normal", "normal"], ["D", "Defect …", "defect"], ["U", "Unsure", "unsure"]];
    for (const [key, label, decision] of choices) {
      const button = this.button(label, key, decision);
      button.onclick = () => {
        if (decision === "defect") { this.choosing = true; this.draw(); } else this.press(decision);
      };
      bar.append(button);
    }
    const undo = this.button("Undo", "Z", "undo");
    undo.disabled = !this.data.canDecide || !this.undoable();
    undo.onclick = () => this.press("undo");
    bar.append(undo, element("span", "dim", "V changes the picture"));
    return bar;
  }

  reasons() {
    const bar = element("div", "bar");
    bar.append(element("span", "", "Which defect?"));
    this.data.reasons.forEach((reason, at) => {
      const button = this.button(reason, String(at + 1), "reason");
      button.onclick = () => this.press("defect", reason);
      bar.append(button);
    });
    const back = this.button("Back", "Esc", "back");
    back.onclick = () => { this.choosing = false; this.draw(); };
    bar.append(back);
    return bar;
  }

  button(label, key, className) {
    const button = element("button", className, label);
    button.append(element("kbd", "", key));
    button.disabled = !this.data.canDecide;
    return button;
  }

  lastLine() {
    const line = element("div", "last dim");
    const press = this.said.at(-1);
    if (!this.data.canDecide) line.textContent = "You may look. Operators and engineers decide.";
    else if (press) {
      const answer = this.data.answers[press.key];
      const what = press.decision === "undo" ? "Undone" : `Last: ${press.reason ?? press.decision}`;
      line.textContent = !answer ? `${what} · saving …` : answer.ok ? `${what} · ${answer.words}` : `Refused: ${answer.words}`;
      line.classList.toggle("refused", Boolean(answer && !answer.ok));
    }
    return line;
  }
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  let desk = desks.get(parentElement);
  if (!desk) {
    desk = new Desk(parentElement);
    desks.set(parentElement, desk);
  }
  desk.update(data, (said) => setStateValue("said", said));
  const listen = (event) => desk.key(event);
  document.addEventListener("keydown", listen);
  return () => document.removeEventListener("keydown", listen);
}
