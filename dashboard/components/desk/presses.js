// Presses that the server has not answered yet. They are sent whole until they are, and survive a reload of the page.

class Presses {
  constructor(user) {
    this.key = `goodpart-presses-${user}`;
    this.unsaved = recall("sessionStorage", this.key, []);
    this.last = null; // the last answered one, with its answer
  }

  add(card, decision, reason) {
    this.put({ item: card.id, decision, reason: reason ?? null, card });
  }

  // The undo of one verdict on many parts: it has no card.
  addMany({ item, made }) {
    this.put({ item, decision: "undo", reason: null, made });
  }

  put(press) {
    this.unsaved.push({ id: uuid(), time: new Date().toISOString(), ...press });
    this.keep();
  }

  // Takes the server's answers; gives the presses that were answered now.
  acknowledge(answers) {
    const answered = this.unsaved.filter((press) => answers[press.id]);
    if (!answered.length) return answered;
    this.unsaved = this.unsaved.filter((press) => !answers[press.id]);
    for (const press of answered) this.last = { ...press, answer: answers[press.id] };
    this.keep();
    return answered;
  }

  keep() {
    remember("sessionStorage", this.key, this.unsaved);
  }

  of(item) {
    return this.unsaved.filter((press) => press.item === item);
  }

  sent() {
    return this.unsaved.map(({ id, item, decision, reason, made }) => ({ id, item, decision, reason, made: made ?? null }));
  }
}
