// Heatmaps, from grey pictures that are 0 .. 255 over their own range: in colours, and as contour lines.

const HEAT = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]]; // dark to hot
const LEVELS = [[0.5, 1.5], [0.75, 3]]; // of the range, and how wide the line is
const LINES = 1200; // pixels of the longer side that lines are drawn on

function colourOf(value) {
  const place = Math.min(value * (HEAT.length - 1), HEAT.length - 1.000001);
  const [from, to] = [HEAT[Math.floor(place)], HEAT[Math.floor(place) + 1]];
  return from.map((one, at) => one + (to[at] - one) * (place % 1));
}

// As a canvas keeps them: red, green, blue, and the hotter the more it covers.
const PALETTE = new Uint32Array(Uint8ClampedArray.from(
  Array.from({ length: 256 }, (_, grey) => [...colourOf(grey / 255), grey]).flat(),
).buffer);

function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  return canvas;
}

class Heatmap {
  constructor(image) {
    [this.width, this.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvasOf(this.width, this.height).getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, this.width, this.height).data;
    this.grey = new Uint8Array(this.width * this.height);
    for (let at = 0; at < this.grey.length; at++) this.grey[at] = pixels[4 * at];
  }

  colours() {
    const canvas = canvasOf(this.width, this.height);
    const context = canvas.getContext("2d");
    const picture = context.createImageData(this.width, this.height);
    const pixels = new Uint32Array(picture.data.buffer);
    for (let at = 0; at < pixels.length; at++) pixels[at] = PALETTE[this.grey[at]];
    context.putImageData(picture, 0, 0);
    return canvas;
  }

  contour() {
    const scale = Math.max(1, LINES / Math.max(this.width, this.height));
    const canvas = canvasOf(Math.round(this.width * scale), Math.round(this.height * scale));
    const context = canvas.getContext("2d");
    context.lineCap = "round";
    for (const [level, width] of LEVELS) {
      const path = this.path(255 * level, scale);
      for (const [colour, more] of [["#000c", 2.5], ["#fff", 0]]) { // white on black shows on any picture
        context.strokeStyle = colour;
        context.lineWidth = width + more;
        context.stroke(path);
      }
    }
    return canvas;
  }

  // Marching squares: in each cell of four values, lines between the points of its edges where the level is crossed.
  path(level, scale) {
    const path = new Path2D();
    const { grey, width } = this;
    for (let at = 0; at < width * (this.height - 1); at++) {
      const above = (grey[at] > level) + (grey[at + 1] > level) + (grey[at + width] > level) + (grey[at + width + 1] > level);
      if (above % 4 === 0 || at % width === width - 1) continue;
      this.cross(path, level, scale, at);
    }
    return path;
  }

  cross(path, level, scale, at) {
    const { grey, width } = this;
    const [x, y] = [at % width, Math.floor(at / width)];
    const corners = [grey[at], grey[at + 1], grey[at + width + 1], grey[at + width]];
    const crossed = [];
    for (let edge = 0; edge < 4; edge++) {
      const [from, to] = [corners[edge], corners[(edge + 1) % 4]];
      if ((from > level) === (to > level)) continue;
      const share = (level - from) / (to - from);
      crossed.push([[x + share, y], [x + 1, y + share], [x + 1 - share, y + 1], [x, y + 1 - share]][edge]);
    }
    for (let one = 0; one + 1 < crossed.length; one += 2) {
      path.moveTo((crossed[one][0] + 0.5) * scale, (crossed[one][1] + 0.5) * scale);
      path.lineTo((crossed[one + 1][0] + 0.5) * scale, (crossed[one + 1][1] + 0.5) * scale);
    }
  }
}

// Pictures fetched ahead, the last ones kept. An entry is {image, state: loading | ready | failed, heatmap, tries}.
// What is on screen is never let go. Where it failed it is fetched again while it stays there, `tries` times at most.
class Pictures {
  constructor(changed, { most = 48, tries = 100, pause = 3000 } = {}) {
    Object.assign(this, { changed, most, tries, pause, kept: new Map(), shown: new Set() });
  }

  // What is on screen now. What failed before it came there is fetched anew.
  show(urls) {
    const before = this.shown;
    this.shown = new Set(urls);
    for (const url of urls) if (!before.has(url) && this.kept.get(url)?.state === "failed") this.kept.delete(url);
    for (const url of urls) this.get(url);
  }

  get(url) {
    let entry = this.kept.get(url);
    if (entry) this.kept.delete(url);
    else {
      entry = { image: null, state: "loading", heatmap: null, tries: this.tries };
      this.fetch(url, entry);
    }
    this.kept.set(url, entry); // as the newest
    for (const old of this.kept.keys()) {
      if (this.kept.size <= this.most) break;
      if (old !== url && !this.shown.has(old)) this.kept.delete(old);
    }
    return entry;
  }

  fetch(url, entry) {
    entry.image = new Image();
    entry.image.src = url;
    const done = (state) => {
      entry.state = state;
      if (state === "failed") setTimeout(() => this.again(url, entry), this.pause);
      this.changed();
    };
    entry.image.decode().then(() => done("ready"), () => done("failed"));
  }

  // It counts as failed until it is there.
  again(url, entry) {
    if (this.shown.has(url) && this.kept.get(url) === entry && entry.tries-- > 0) this.fetch(url, entry);
  }

  heatmap(url) {
    const entry = this.get(url);
    if (entry.state === "ready") entry.heatmap ??= new Heatmap(entry.image);
    return entry.heatmap;
  }
}
