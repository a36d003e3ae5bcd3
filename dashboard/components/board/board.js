// The board: one tile a station, changed in place, so that nothing flickers and a link keeps its focus. It watches its
// own age: numbers that the server stopped renewing are never shown as if they were of now.

const boards = new WeakMap();
const OLD = 12_000; // milliseconds without news
const FEW = 12; // stations; more of them get smaller tiles

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

class Tile {
  constructor() {
    this.root = element("li", "tile");
    this.root.tabIndex = -1;
    const parts = ["icon", "station", "state", "why", "product", "model", "facts"];
    for (const name of parts) this[name] = element(name === "facts" ? "dl" : "span", name);
    this.icon.ariaHidden = "true";
    [this.head, this.body, this.figure] = [element("h3"), element("div", "body"), element("figure")];
    [this.picture, this.pictured, this.link] = [element("img"), element("figcaption"), element("a")];
    this.head.append(this.icon, this.station, this.state);
    this.figure.append(this.picture, this.pictured);
    this.body.append(this.figure, this.facts);
    const made = element("p", "made");
    made.append(this.product, " · ", this.model);
    this.root.append(this.head, this.why, made, this.body);
    this.lines = new Map();
  }

  update(tile, icon, state) {
    this.root.dataset.level = tile.level;
    this.root.dataset.state = tile.state;
    for (const name of ["station", "why", "product", "model"]) write(this[name], tile[name]);
    write(this.state, state);
    write(this.icon, icon);
    this.why.hidden = !tile.why;
    for (const [at, fact] of tile.facts.entries()) this.line(at, fact);
    this.line("review", { name: WORDS.toReview, value: tile.waiting, more: "", note: "" }, tile.href);
    this.show(tile);
  }

  line(key, fact, href) {
    let line = this.lines.get(key);
    if (!line) {
      line = { row: element("div"), value: element(href ? "a" : "b"), more: element("small") };
      const value = element("dd");
      value.append(line.value, line.more);
      line.row.append(element("dt", "", fact.name), value);
      this.facts.append(line.row);
      this.lines.set(key, line);
    }
    write(line.value, fact.value);
    write(line.more, fact.more);
    if (line.row.title !== fact.note) line.row.title = fact.note;
    if (href && line.value.getAttribute("href") !== href) line.value.href = href;
  }

  show(tile) {
    this.figure.hidden = !tile.picture;
    write(this.pictured, tile.pictured);
    if (!tile.picture || this.shown === tile.picture) return;
    this.shown = tile.picture;
    const next = Object.assign(new Image(), { src: tile.picture });
    const set = () => this.shown === tile.picture && Object.assign(this.picture, { src: tile.picture, alt: tile.alt });
    next.decode().then(set, set); // the one before stays until it is there
  }
}

class Board {
  constructor(root) {
    this.root = root;
    [this.banner, this.old, this.list] = [element("div", "banner"), element("div", "old"), element("ul", "tiles")];
    [this.banner.role, this.old.role] = ["status", "alert"];
    this.old.hidden = true;
    this.list.setAttribute("role", "list"); // Safari forgets it where a list has no bullets
    root.append(this.old, this.banner, this.list);
    this.tiles = new Map();
    const timer = setInterval(() => (root.isConnected ? this.age() : clearInterval(timer)), 1000);
  }

  update(data) {
    this.trouble = data.trouble;
    if (!data.trouble) {
      this.renewed = Date.now();
      this.draw(data);
    }
    this.age();
  }

  draw(data) {
    const names = data.tiles.map((tile) => tile.station);
    if (names.join("\n") !== this.names) {
      this.names = names.join("\n");
      for (const name of names) if (!this.tiles.has(name)) this.tiles.set(name, new Tile());
      for (const name of this.tiles.keys()) if (!names.includes(name)) this.tiles.delete(name);
      this.list.replaceChildren(...names.map((name) => this.tiles.get(name).root));
      this.root.dataset.many = Number(names.length > FEW);
    }
    for (const tile of data.tiles) this.tiles.get(tile.station).update(tile, data.icons[tile.level], data.states[tile.state]);
    const { level, words, tiles } = data.banner;
    this.banner.dataset.level = level;
    const text = JSON.stringify([level, words, tiles]);
    if (this.said === text) return;
    this.said = text;
    const icon = element("span", "icon", data.icons[level]);
    icon.ariaHidden = "true";
    const said = element("b");
    said.append(icon, ` ${words}`);
    this.banner.replaceChildren(said, ...tiles.map((tile) => this.named(tile, data.states[tile.state])));
  }

  named(tile, state) {
    const made = element("button", "", `${tile.station}: ${state}`);
    made.type = "button";
    made.onclick = () => {
      const { root } = this.tiles.get(tile.station);
      root.scrollIntoView({ block: "center" });
      root.focus({ preventScroll: true });
    };
    return made;
  }

  age() {
    if (!this.renewed && !this.trouble) return;
    const seconds = this.renewed ? Math.round((Date.now() - this.renewed) / 1000) : 0;
    const old = this.trouble || seconds * 1000 > OLD;
    this.root.dataset.old = Number(Boolean(old));
    this.old.hidden = !old;
    if (!old) return;
    const why = this.trouble || WORDS.noServer;
    write(this.old, fill(seconds ? WORDS.ofBefore : WORDS.notOfNow, { seconds, why }));
  }
}

export default function ({ data, parentElement }) {
  WORDS = data.words;
  const root = parentElement.querySelector(".board");
  let board = boards.get(root);
  if (!board) {
    board = new Board(root);
    boards.set(root, board);
  }
  board.update(data);
}
