// The frame of one item, large: its views, opacity, zoom and pan, which stay from item to item.

const VIEWS = ["overlay", "contour", "side", "flicker", "frame"];
const FARTHEST = 16; // zoom
const FLICKER_MS = 400; // slower than three flashes a second (WCAG 2.3.1)
const LOOKS = "goodpart-looks";

class Stage {
  constructor(root, changed) {
    [this.root, this.changed] = [root, changed];
    Object.assign(this, { view: "overlay", opacity: 0.6 }, recall("localStorage", LOOKS, {}));
    if (!VIEWS.includes(this.view)) this.view = "overlay";
    [this.zoom, this.x, this.y] = [1, 0.5, 0.5]; // x, y: what is in the middle, as shares of the pane
    this.pictures = new Pictures(() => this.changed());
    this.item = null;
    new Grip(root, this);
    root.addEventListener("dblclick", () => this.home());
  }

  // The item's picture: loading, ready, failed, or none where its evidence is no longer kept.
  get picture() {
    return this.item?.frame ? this.pictures.get(this.item.frame).state : "none";
  }

  // Whether a person sees now what there is to see.
  get ready() {
    return Boolean(this.item) && ["ready", "none"].includes(this.picture);
  }

  // The pictures of the item on screen, if any, and of the next ones.
  fetch(item, next) {
    const urls = (one) => [one.frame, one.heatmap].filter(Boolean);
    this.pictures.show(item ? urls(item) : []);
    for (const url of next.flatMap(urls)) this.pictures.get(url);
  }

  set(view) {
    this.view = view;
    this.look();
  }

  turn(by) {
    this.set(VIEWS[(VIEWS.indexOf(this.view) + by + VIEWS.length) % VIEWS.length]);
  }

  fade(by) {
    this.opacity = Math.round(10 * Math.min(1, Math.max(0.1, this.opacity + by))) / 10;
    this.look();
  }

  look() {
    remember("localStorage", LOOKS, { view: this.view, opacity: this.opacity });
    this.changed();
  }

  draw(item) {
    this.item = item;
    const frame = this.picture;
    const heat = item.heatmap ? this.pictures.get(item.heatmap).state : "none";
    show(this.root, [item.id, this.view, frame, heat], () => this.panes(item, frame, heat));
    this.root.style.setProperty("--opacity", this.opacity);
    this.place();
  }

  panes(item, frame, heat) {
    if (frame === "none") return element("p", "empty", WORDS.letGo);
    if (frame === "failed") return element("p", "empty", WORDS.unseen);
    if (frame === "loading") return element("p", "empty", WORDS.loading);
    const plain = (name) => this.pane(fill(WORDS.frameOf, item), name, [this.frame(item)]);
    if (heat !== "none" && this.view === "frame") return plain(WORDS.frame);
    if (heat !== "ready") return plain({ loading: WORDS.heatmapComing, failed: WORDS.heatmapUnseen, none: WORDS.noHeatmap }[heat]);
    const heatmap = this.pictures.heatmap(item.heatmap);
    if (this.view === "contour") {
      const lines = heatmap.contour();
      return this.pane(fill(WORDS.outlined, item), WORDS.contour, [this.frame(item), lines]);
    }
    const colours = heatmap.colours();
    colours.className = this.view === "flicker" ? "heat flicker" : "heat";
    colours.style.animationDuration = `${2 * FLICKER_MS}ms`;
    const name = this.view === "flicker" ? WORDS.flicker : WORDS.overlay;
    const hot = this.pane(fill(WORDS.underHeatmap, item), name, [this.frame(item), colours]);
    return this.view === "side" ? [plain(WORDS.frame), hot] : hot;
  }

  frame(item) {
    const kept = this.pictures.get(item.frame).image; // decoded: it shows at once
    const image = kept.parentNode ? kept.cloneNode() : kept;
    image.alt = "";
    image.draggable = false;
    return image;
  }

  pane(alt, name, layers) {
    const pane = element("figure", "pane");
    const layer = element("div", "layer");
    layer.setAttribute("role", "img");
    layer.setAttribute("aria-label", alt);
    layer.append(...layers);
    pane.append(layer, element("figcaption", "", name));
    return pane;
  }

  place() {
    const half = 0.5 / this.zoom;
    [this.x, this.y] = [this.x, this.y].map((one) => Math.min(1 - half, Math.max(half, one)));
    const [left, top] = [this.x, this.y].map((one) => 100 * (0.5 - one * this.zoom));
    for (const layer of this.root.querySelectorAll(".layer")) {
      layer.style.transform = `translate(${left}%, ${top}%) scale(${this.zoom})`;
    }
    this.root.dataset.zoom = this.zoom.toFixed(2);
    this.root.dataset.centre = `${this.x.toFixed(3)} ${this.y.toFixed(3)}`;
  }

  // Zooms about a point of the pane (shares), which stays where it is.
  zoomBy(factor, at = [0.5, 0.5]) {
    const zoom = Math.min(FARTHEST, Math.max(1, this.zoom * factor));
    this.x += (at[0] - 0.5) * (1 / this.zoom - 1 / zoom);
    this.y += (at[1] - 0.5) * (1 / this.zoom - 1 / zoom);
    this.zoom = zoom;
    this.place();
  }

  pan(right, down) {
    this.x += right / this.zoom;
    this.y += down / this.zoom;
    this.place();
  }

  home() {
    [this.zoom, this.x, this.y] = [1, 0.5, 0.5];
    this.place();
  }
}
