// Presses that the server has not answered yet. They are sent whole until they are, and survive a reload of the page.

class Presses {
  constructor(user) {
    this.key = `goodpart-presses-${user}`;
    this.unsaved = recall("sessionStorage", this.key, []);
    this.last = null; // the last answered one, with its answer
  }

  add(card, decision, reason) {
    const press = { id: uuid(), item: card.id, decision, reason: reason ?? null, card, time: new Date().toISOString() };
    this.unsaved.push(press);
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
    return this.unsaved.map(({ id, item, decision, reason }) => ({ id, item, decision, reason }));
  }
}
