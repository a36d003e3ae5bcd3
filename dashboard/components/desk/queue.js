// The items that this desk holds, which of them is on screen, and which verdicts may be taken back.

class Queue {
  constructor() {
    this.held = []; // as the server lists them
    this.past = null; // the newest of one's verdicts of this shift, as the server lists them
    this.older = null; // a page of older ones, likewise
    this.pages = []; // what each page lies before that one turned to, from newer to older
    this.gone = new Set(); // items with a verdict that the server has not answered yet
    this.back = new Map(); // cards whose verdict was taken back here, the last one at the end, until one goes on
    this.hoped = new Set(); // those of them that a reload found again, until the server has said whether they are still ours
    this.passed = new Set(); // items that "next" went over
    this.card = null; // what is on screen: it stays there until the person goes on, whatever the server lists
    this.away = null; // its id, where the server lists it no more
    this.filter = null; // the part of the queue that the server lists, as text
  }

  get current() {
    return this.card?.id ?? null;
  }

  get lost() {
    return this.card !== null && this.card.id === this.away;
  }

  // What came back is kept beside the page, since a reload is no reason to let it go: closing the page is.
  restore(key) {
    this.key = key;
    for (const card of recall("sessionStorage", key, [])) {
      this.back.set(card.id, card);
      this.hoped.add(card.id);
    }
  }

  keep() {
    remember("sessionStorage", this.key, [...this.back.values()].filter((card) => !this.passed.has(card.id)));
  }

  // The lists of a run hold what it answered; what is unanswered changes them here.
  update(data, presses) {
    [this.held, this.past, this.older] = [data.items, data.past, data.older];
    const listed = new Set(this.held.map((item) => item.id));
    const known = data.known || !data.canDecide; // or the server does not know yet what came back here
    const left = (id) => known && !data.trouble && !listed.has(id) && !presses.of(id).length;
    if (known && !data.trouble) {
      if (this.hoped.has(this.current) && left(this.current)) this.leave();
      this.hoped.clear();
    }
    for (const id of [...this.back.keys()]) if (left(id) && id !== this.current) this.back.delete(id);
    const filter = JSON.stringify(data.filter);
    if (filter !== this.filter && left(this.current)) this.leave(); // another filter is the person's own act
    this.filter = filter;
    this.away = left(this.current) ? this.current : null;
    this.gone.clear();
    for (const press of presses.unsaved) this.note(press);
    this.settle();
  }

  // What a press changes before the server knows of it.
  note(press) {
    if (press.made) return; // many parts: the server lists those that came back
    this.back.delete(press.item);
    if (press.decision === "undo") {
      this.gone.delete(press.item);
      this.back.set(press.item, press.card);
      if (this.away === press.item) this.away = null;
    } else {
      this.gone.add(press.item);
    }
  }

  // What came back by an undo, the last one first, then the others as the server lists them.
  open() {
    const listed = new Map(this.held.map((item) => [item.id, item]));
    const back = [...this.back.values()].reverse().map((card) => listed.get(card.id) ?? card);
    const stays = this.card && !listed.has(this.card.id) && !this.back.has(this.card.id) ? [this.card] : [];
    const rest = this.held.filter((item) => !this.back.has(item.id));
    return [...stays, ...back, ...rest].filter((item) => !this.gone.has(item.id));
  }

  item() {
    return this.card;
  }

  // What the server is told: the item on screen and what came back and was not passed over, which stay with this desk, and
  // the page of past verdicts that one looks at.
  told() {
    const back = [...this.back.keys()].reverse().filter((id) => !this.passed.has(id));
    return { shown: this.current, back, before: this.before };
  }

  // The parts that come after the one on screen: first the one that a verdict leads to, then as "next" goes.
  next(most) {
    const open = this.open();
    const at = open.findIndex((item) => item.id === this.current);
    const rest = [...open.slice(at + 1), ...open.slice(0, Math.max(at, 0))];
    const first = open.find((item) => item.id !== this.current && !this.passed.has(item.id));
    return [...new Set([first ?? rest[0], ...rest])].filter(Boolean).slice(0, most);
  }

  // Keeps what is on screen; where that is gone, the first in the queue's order that was not passed over.
  settle() {
    const open = this.open();
    const first = open.find((item) => !this.passed.has(item.id)) ?? open[0] ?? null;
    this.card = open.find((item) => item.id === this.current) ?? first;
    this.passed.delete(this.current);
  }

  step(by) {
    if (this.lost) this.leave();
    const open = this.open();
    if (!open.length) return;
    if (!this.card) return this.settle();
    if (by > 0) this.passed.add(this.current);
    const at = open.findIndex((item) => item.id === this.current);
    this.go(open[(at + by + open.length) % open.length].id);
  }

  go(id) {
    this.card = this.open().find((item) => item.id === id) ?? this.card;
    this.passed.delete(id);
  }

  leave() {
    this.back.delete(this.current);
    this.card = null;
  }

  // The newest verdicts that may be taken back, newest first.
  undoable(presses) {
    const pending = presses.unsaved.filter((press, at) =>
      press.decision !== "undo" && !presses.unsaved.slice(at + 1).some((later) => later.item === press.item));
    return [...pending.reverse(), ...this.known(this.past, presses)];
  }

  // The page of them that one looks at: its rows, whether there are newer ones and older ones; null: it is not here yet.
  page(presses) {
    const before = this.before;
    if (before === null) return { rows: this.undoable(presses), newer: false, older: this.past.more !== null };
    if (this.older?.before !== before) return null;
    return { rows: this.known(this.older, presses), newer: true, older: this.older.more !== null };
  }

  known(page, presses) {
    return page.rows.filter((one) => !presses.of(one.item).length);
  }

  get before() {
    return this.pages.at(-1) ?? null;
  }

  // Turns to the page of older verdicts, or back to the one of newer ones.
  turn(older) {
    if (!older) this.pages.pop();
    else this.pages.push((this.before === null ? this.past : this.older).more);
  }
}
