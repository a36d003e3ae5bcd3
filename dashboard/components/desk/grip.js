// What a mouse, a wheel and fingers do to the stage: dragging moves the picture, two fingers zoom it as well.

class Grip {
  constructor(root, stage) {
    [this.root, this.stage] = [root, stage];
    this.held = new Map(); // where each pointer that is down is, by its id
    root.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    root.addEventListener("pointerdown", (event) => this.grab(event));
    root.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) root.addEventListener(end, (event) => this.drop(event));
  }

  wheel(event) {
    const box = boxOf(event);
    if (!box) return;
    event.preventDefault();
    this.stage.zoomBy(Math.exp(-event.deltaY / 400), placeIn(box, event.clientX, event.clientY));
  }

  grab(event) {
    const box = boxOf(event);
    if (!box || event.button !== 0) return;
    this.box = box;
    this.held.set(event.pointerId, [event.clientX, event.clientY]);
    this.root.setPointerCapture(event.pointerId);
    this.root.classList.add("grabbed");
  }

  // What was between the fingers stays there. It zooms first: the whole picture cannot be moved.
  move(event) {
    if (!this.held.has(event.pointerId)) return;
    const before = between(this.held);
    this.held.set(event.pointerId, [event.clientX, event.clientY]);
    const now = between(this.held);
    if (before.apart) this.stage.zoomBy(now.apart / before.apart, placeIn(this.box, before.x, before.y));
    this.stage.pan((before.x - now.x) / this.box.width, (before.y - now.y) / this.box.height);
  }

  drop(event) {
    this.held.delete(event.pointerId);
    if (!this.held.size) this.root.classList.remove("grabbed");
  }
}

function boxOf(event) {
  return event.target.closest(".pane")?.getBoundingClientRect();
}

function placeIn(box, x, y) {
  return [(x - box.left) / box.width, (y - box.top) / box.height];
}

// The middle of the first two pointers, and how far they are apart.
function between(held) {
  const [from, to = from] = held.values();
  return { x: (from[0] + to[0]) / 2, y: (from[1] + to[1]) / 2, apart: Math.hypot(from[0] - to[0], from[1] - to[1]) };
}
