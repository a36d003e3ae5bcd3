// The accepted normals that look most like a part: asked for once its picture is on screen, and kept.

class Normals {
  constructor(changed, most = 48) {
    Object.assign(this, { changed, most, kept: new Map() });
  }

  // What is known of an item's: a list, "loading", or "failed". What failed is asked for again with the next part.
  of(item) {
    if (!this.kept.has(item)) {
      this.kept.set(item, "loading");
      this.ask(item);
      for (const old of this.kept.keys()) {
        if (this.kept.size <= this.most) break;
        this.kept.delete(old);
      }
    }
    return this.kept.get(item);
  }

  async ask(item) {
    let found = "failed";
    try {
      const answer = await fetch(`/normals/${item}`);
      if (answer.ok) found = (await answer.json()).normals;
    } catch { /* as failed */ }
    for (const [other, its] of this.kept) if (its === "failed") this.kept.delete(other);
    if (this.kept.has(item)) this.kept.set(item, found);
    this.changed();
  }
}

function normalsPanel(found) {
  const title = element("h2", "", WORDS.nearest);
  const words = { loading: WORDS.looking, failed: WORDS.unloaded }[found];
  if (words || !found.length) return [title, element("p", "dim", words ?? WORDS.noneAlike)];
  const list = element("div", "near");
  list.append(...found.map((one) => {
    const [figure, opened, image] = [element("figure"), element("a"), element("img")];
    Object.assign(opened, { href: one.full, target: "_blank", rel: "noopener" });
    Object.assign(image, { src: one.small, alt: fill(WORDS.normalOf, one) });
    opened.append(image);
    const time = new Date(one.time).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
    const words = element("div", "words");
    words.append(element("b", "", one.part), element("time", "", time));
    figure.append(opened, words);
    return figure;
  }));
  return [title, list];
}
