// The items that this desk holds, which of them is on screen, and which verdicts may be taken back.

class Queue {
  constructor() {
    this.held = []; // as the server lists them
    this.past = []; // one's verdicts of this shift, newest first, as the server lists them
    this.gone = new Set(); // items with a verdict that the server has not answered yet
    this.back = new Map(); // cards whose verdict was taken back here, until the server lists them again
    this.passed = new Set(); // items that "next" went over
    this.current = null; // the id of what is on screen
  }

  // The lists of a run hold what it answered; what is unanswered changes them here.
  update(data, presses) {
    this.held = data.items;
    this.past = data.past;
    this.gone.clear();
    this.back.clear();
    for (const press of presses.unsaved) this.note(press);
    this.settle();
  }

  // What a press changes before the server knows of it.
  note(press) {
    if (press.decision === "undo") {
      this.gone.delete(press.item);
      this.back.set(press.item, press.card);
    } else {
      this.back.delete(press.item);
      this.gone.add(press.item);
    }
  }

  open() {
    const listed = new Set(this.held.map((item) => item.id));
    const back = [...this.back.values()].filter((card) => !listed.has(card.id));
    return [...back, ...this.held].filter((item) => !this.gone.has(item.id));
  }

  item() {
    return this.open().find((item) => item.id === this.current) ?? null;
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
    if (open.some((item) => item.id === this.current)) return;
    this.current = (open.find((item) => !this.passed.has(item.id)) ?? open[0])?.id ?? null;
    this.passed.delete(this.current);
  }

  step(by) {
    const open = this.open();
    if (!open.length) return;
    if (by > 0) this.passed.add(this.current);
    const at = open.findIndex((item) => item.id === this.current);
    this.go(open[(at + by + open.length) % open.length].id);
  }

  go(id) {
    this.current = id;
    this.passed.delete(id);
  }

  // The verdicts that may be taken back, newest first.
  undoable(presses) {
    const pending = presses.unsaved.filter((press, at) =>
      press.decision !== "undo" && !presses.unsaved.slice(at + 1).some((later) => later.item === press.item));
    const known = this.past.filter((one) => !presses.of(one.item).length);
    return [...pending.reverse(), ...known];
  }
}
