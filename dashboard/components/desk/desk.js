// The desk: one for each mounted element. It lives across the server's runs, so that no key is lost between two of them.

const desks = new WeakMap();
const AREAS = ["head", "strip", "stage", "views", "bar", "status", "normals", "judged", "past", "trouble"];
const [ZOOM, MOVE] = [1.5, 0.15];
const TELL_MS = 250; // of rest, before the server is told what is on screen
const AHEAD = 6; // parts whose pictures are fetched before they come on screen

// The browser's own; but many layouts have brackets under AltGr, which Windows calls Ctrl and Alt, and Macs under Option.
function isShortcut(event) {
  const { key, ctrlKey, metaKey, altKey } = event;
  const typed = event.getModifierState("AltGraph") || altKey && !ctrlKey;
  return metaKey || (ctrlKey || altKey) && !(typed && ["[", "]"].includes(key));
}

// By the key's place where it gives no digit: AZERTY has those under Shift.
function digitOf({ key, code, shiftKey }) {
  if (/^[0-9]$/.test(key)) return key;
  return shiftKey ? undefined : /^Digit([0-9])$/.exec(code)?.[1];
}

class Desk {
  constructor(root) {
    this.root = root;
    this.areas = Object.fromEntries(AREAS.map((name) => [name, element("div", name)]));
    this.dialog = element("dialog", "help");
    this.dialog.setAttribute("aria-label", WORDS.keys);
    this.dialog.append(...helpPanel(() => this.help(false)));
    const { head, strip, stage, views, bar, status, normals, judged, past, trouble } = this.areas;
    const [main, side] = [element("div", "main"), element("aside", "side")];
    main.append(head, trouble, stage, views, bar, status, strip);
    side.append(normals, judged, past);
    root.append(main, side, this.dialog);
    root.setAttribute("role", "region");
    root.setAttribute("aria-label", WORDS.desk);
    strip.setAttribute("aria-label", WORDS.strip);
    strip.setAttribute("role", "group");
    for (const live of [status, trouble]) live.setAttribute("aria-live", "polite");
    this.queue = new Queue();
    this.stage = new Stage(stage, () => this.draw());
    this.normals = new Normals(() => this.draw());
    this.choosing = null; // the item whose defect waits for its reason
    this.note("");
    const listen = (event) => (root.isConnected ? this.key(event) : document.removeEventListener("keydown", listen));
    document.addEventListener("keydown", listen);
    window.addEventListener("beforeunload", (event) => {
      if (root.isConnected && this.presses.unsaved.length) event.preventDefault();
    });
  }

  update(data, send) {
    if (this.data?.user !== data.user) {
      this.presses = new Presses(data.user);
      this.queue.restore(`goodpart-back-${data.user}`);
    }
    [this.data, this.send] = [data, send];
    const answered = this.presses.acknowledge(data.answers);
    for (const { id } of answered) if (!data.answers[id].ok) this.note(fill(WORDS.refused, data.answers[id]), true);
    this.queue.update(data, this.presses);
    const unanswered = this.presses.unsaved.length && !answered.length;
    if (unanswered && (!this.sentOnce || data.trouble)) this.submit(); // after a reload or an outage
    else if (!data.known) this.tell();
    this.draw();
  }

  submit() {
    this.sentOnce = true;
    // With the number of the attempt: a state that is as it was would not be sent.
    const attempt = (this.attempt = (this.attempt ?? 0) + 1);
    this.send({ attempt, presses: this.presses.sent(), ...this.queue.told() });
  }

  // Tells the server what is on screen now: once, however fast one goes from part to part.
  tell() {
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.root.isConnected && this.data.canDecide && this.submit(), TELL_MS);
  }

  decide(decision, reason) {
    const item = this.queue.item();
    const meant = decision === "defect" ? this.choosing : item?.id;
    if (!this.data.canDecide || !item || item.id !== meant) return;
    if (this.stage.picture === "loading") return this.say(WORDS.lookFirst);
    if (this.stage.picture === "failed" && decision !== "unsure") return this.say(WORDS.unseen);
    this.choosing = null;
    this.press(item, decision, reason);
    this.say(`${item.serial}: ${verdictOf({ decision, reason }, this.data.reasons)}`);
  }

  undo(one) {
    if (!this.data.canDecide || !one) return;
    this.choosing = null;
    if (one.made) this.sendMany(one);
    else this.press(one.card, "undo", null);
    this.say(`${nameOf(one)}: ${WORDS.undone}`);
  }

  // One key takes one verdict back: those of many parts at once were asked for twice.
  undoLast() {
    const [last] = this.undoable();
    if (last?.made) this.say(fill(WORDS.manyBack, { n: last.made.length }));
    else this.undo(last);
  }

  sendMany(one) {
    this.presses.addMany(one);
    this.submit();
  }

  press(card, decision, reason) {
    this.presses.add(card, decision, reason);
    this.queue.note(this.presses.unsaved.at(-1));
    if (decision === "undo") this.queue.go(card.id);
    this.queue.settle();
    this.submit();
    this.draw();
  }

  undoable() {
    return this.queue.undoable(this.presses);
  }

  turn(older) {
    this.queue.turn(older);
    this.submit();
    this.draw();
  }

  step(by) {
    this.choosing = null;
    this.queue.step(by);
    this.tell();
    this.draw();
  }

  go(id) {
    this.choosing = null;
    this.queue.go(id);
    this.tell();
    this.draw();
  }

  ask(open) {
    if (open && this.stage.picture === "failed") return this.say(WORDS.unseen);
    const item = this.queue.item();
    this.choosing = open && this.data.canDecide && item ? item.id : null;
    this.draw();
  }

  help(open) {
    if (open) this.dialog.showModal();
    else this.dialog.close();
  }

  note(words, refused = false) {
    [this.words, this.refused] = [words, refused];
  }

  say(words) {
    this.note(words);
    this.draw();
  }

  key(event) {
    const at = event.composedPath()[0];
    if (at.closest?.("input, textarea, select, [contenteditable]")) return;
    if (isShortcut(event) || event.repeat && !event.key.startsWith("Arrow")) return;
    if (this.dialog.open) return; // Esc closes it by itself
    if (at.closest?.("button") && ["Enter", " "].includes(event.key)) return;
    const act = this.choosing ? this.reasonKey(event) : this.actOf(event);
    if (!act) return;
    event.preventDefault();
    act();
  }

  reasonKey(event) {
    const reason = this.data.reasons[Number(digitOf(event)) - 1];
    if (reason) return () => this.decide("defect", reason[0]);
    return event.key === "Escape" ? () => this.ask(false) : null;
  }

  actOf(event) {
    const { stage } = this;
    if (event.shiftKey && event.key.startsWith("Arrow")) {
      const way = { Left: [-1, 0], Right: [1, 0], Up: [0, -1], Down: [0, 1] }[event.key.slice(5)];
      return () => stage.pan(MOVE * way[0], MOVE * way[1]);
    }
    const acts = {
      n: () => this.decide("normal"), u: () => this.decide("unsure"), d: () => this.ask(true), z: () => this.undoLast(),
      arrowright: () => this.step(1), j: () => this.step(1), arrowleft: () => this.step(-1), k: () => this.step(-1),
      v: () => stage.turn(event.shiftKey ? -1 : 1), "[": () => stage.fade(-0.1), "]": () => stage.fade(0.1),
      "+": () => stage.zoomBy(ZOOM), "=": () => stage.zoomBy(ZOOM), "-": () => stage.zoomBy(1 / ZOOM),
      0: () => stage.home(), "?": () => this.help(true),
    };
    return acts[event.key.toLowerCase()] ?? acts[digitOf(event)];
  }

  draw() {
    if (!this.data) return;
    const { areas, data, queue, presses } = this;
    queue.keep();
    const [item, open, unsaved] = [queue.item(), queue.open(), presses.unsaved.length];
    if (this.choosing !== null && this.choosing !== item?.id) this.choosing = null;
    const left = Math.max(0, data.waiting >= data.most ? data.waiting : data.waiting - this.decidedHere());
    this.stage.fetch(item, queue.next(AHEAD));
    const { lost } = queue;
    show(areas.head, [item, left, unsaved, lost], () => headPanel(item, left, data.most, unsaved, lost));
    show(areas.trouble, data.trouble, () => data.trouble && element("p", "", this.troubled()));
    if (item) this.stage.draw(item);
    else this.empty(left);
    show(areas.views, [Boolean(item), this.stage.view, this.stage.opacity], () => (item ? viewsPanel(this.stage) : []));
    const past = this.undoable();
    const unseen = this.stage.picture === "failed";
    if (unseen) this.choosing = null;
    show(areas.bar, [this.choosing !== null, data.canDecide, open.length > 0, unseen, past.length > 0, data.reasons], () =>
      (this.choosing !== null ? reasonPanel(this) : verdictPanel(this)));
    show(areas.strip, [open.map((one) => one.id), queue.current, lost], () =>
      stripPanel(open, queue, (id) => this.go(id), (by) => this.step(by)));
    show(areas.status, this.words || data.canDecide, () =>
      element("p", this.refused ? "refused" : "dim", this.words || this.greeting()));
    const near = !item ? [] : this.stage.ready ? this.normals.of(item.id) : "loading"; // never before the picture
    areas.normals.hidden = !item;
    show(areas.normals, [item?.id, near], () => normalsPanel(near));
    show(areas.judged, [presses.last?.id], () => judgedPanel(presses.last, data.reasons));
    const page = queue.page(presses);
    show(areas.past, page && { ...page, rows: page.rows.map((one) => [one.item, one.time, one.made?.length]) }, () => pastPanel(page, this));
    Object.assign(this.root.dataset, {
      item: item?.id ?? "", ready: Number(this.stage.ready), left, unsaved, view: this.stage.view,
    });
  }

  decidedHere() {
    return this.queue.held.filter((item) => this.queue.gone.has(item.id)).length;
  }

  empty(left) {
    this.stage.item = null;
    const words = this.data.trouble ? "" : left ? WORDS.loadingNext : WORDS.empty;
    show(this.areas.stage, ["empty", words], () => element("p", "empty", words));
  }

  troubled() {
    const kept = this.presses.unsaved.length ? ` ${WORDS.kept}` : "";
    return `${this.data.trouble}${kept}`;
  }

  greeting() {
    return this.data.canDecide ? "" : WORDS.mayLook;
  }
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  WORDS = data.words;
  const root = parentElement.querySelector(".desk");
  let desk = desks.get(root);
  if (!desk) {
    desk = new Desk(root);
    desks.set(root, desk);
  }
  const before = desk.queue.filter;
  desk.update(data, (state) => setStateValue("sent", state));
  // After a choice of a filter its box would keep the keys; one that is open already is in use.
  const chosen = before !== null && desk.queue.filter !== before;
  const at = document.activeElement;
  const choosing = at?.getAttribute("aria-expanded") === "true";
  if (at === document.body || (chosen && !choosing)) root.focus({ preventScroll: true });
}
