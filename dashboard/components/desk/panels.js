// What stands around the picture: the part, the next ones, the verdict keys, one's last verdicts, the score afterwards.

const CHOICES = [["normal", "N"], ["defect", "D"], ["unsure", "U"]];

// A verdict as people read it: a defect by its reason. `reasons` are pairs of code and words.
function verdictOf({ decision, reason }, reasons) {
  if (decision !== "defect") return WORDS.decisions[decision];
  return reasons.find(([code]) => code === reason)?.[1] ?? reason;
}

// What a verdict was of: a part, or many at once.
function nameOf({ card, made }) {
  return made ? fill(WORDS.parts, { n: made.length }) : card.serial;
}

function headPanel(item, left, most, unsaved, lost) {
  const count = element("span", "count", fill(WORDS.left, { n: left >= most ? `${most - 1}+` : left }));
  const pending = unsaved ? element("span", "tag pending", fill(WORDS.unsaved, { n: unsaved })) : null;
  if (!item) return [count, pending];
  const parts = [element("b", "", item.product), element("span", "", item.station), element("span", "serial", item.serial)];
  if (item.lot) parts.push(element("span", "", fill(WORDS.lot, item)));
  if (item.model) parts.push(element("span", "", fill(WORDS.model, item)));
  parts.push(element("time", "dim", new Date(item.time).toLocaleString()));
  if (item.failed) parts.push(element("span", "tag", fill(WORDS.failed, item)));
  for (const said of item.said) parts.push(element("span", "tag", said));
  if (lost) parts.push(element("span", "tag", WORDS.lost));
  return [count, pending, ...parts];
}

function stripPanel(open, { current, lost }, go, step) {
  const [back, next] = [button(WORDS.back, "←", "step", () => step(-1)), button(WORDS.next, "→", "step", () => step(1))];
  for (const one of [back, next]) one.disabled = open.length < 2 && !lost;
  const list = element("div", "list");
  list.append(...open.map((item, at) => {
    const one = button("", "", "next", () => go(item.id));
    one.setAttribute("aria-label", fill(WORDS.partAt, { ...item, at: at + 1, n: open.length }));
    if (item.id === current) one.setAttribute("aria-current", "true");
    const image = item.thumbnail ? element("img") : element("span", "none", WORDS.noPicture);
    if (item.thumbnail) Object.assign(image, { src: item.thumbnail, alt: "" });
    one.append(image);
    return one;
  }));
  return [back, list, next];
}

function viewsPanel(stage) {
  const group = element("div", "group");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", WORDS.view);
  for (const view of VIEWS) {
    const one = button(WORDS[view], "", "view", () => stage.set(view));
    one.setAttribute("aria-pressed", String(stage.view === view));
    group.append(one);
  }
  group.append(element("kbd", "", "V"));
  const fade = element("div", "group");
  fade.append(
    button("", "[", "small", () => stage.fade(-0.1), WORDS.fainter),
    element("span", "opacity", `${Math.round(100 * stage.opacity)} %`),
    button("", "]", "small", () => stage.fade(0.1), WORDS.stronger),
  );
  const zoom = element("div", "group");
  zoom.append(
    button("", "−", "small", () => stage.zoomBy(1 / 1.5), WORDS.zoomOut),
    button("", "0", "small", () => stage.home(), WORDS.whole),
    button("", "+", "small", () => stage.zoomBy(1.5), WORDS.zoomIn),
  );
  return [group, fade, zoom];
}

function verdictPanel(desk) {
  const { canDecide } = desk.data;
  const unseen = desk.stage.picture === "failed";
  const bar = CHOICES.map(([decision, key]) => {
    const one = button(WORDS.choices[decision], key, decision, () => (decision === "defect" ? desk.ask(true) : desk.decide(decision)));
    one.disabled = !canDecide || !desk.queue.item() || unseen && decision !== "unsure";
    return one;
  });
  const undo = button(WORDS.undo, "Z", "undo", () => desk.undoLast());
  undo.disabled = !canDecide || !desk.undoable().length;
  return [...bar, element("span", "gap"), undo, button(WORDS.keys, "?", "keys", () => desk.help(true))];
}

function reasonPanel(desk) {
  const bar = desk.data.reasons.map(([reason, words], at) => button(words, String(at + 1), "reason", () => desk.decide("defect", reason)));
  return [element("span", "ask", WORDS.which), ...bar, button(WORDS.cancel, "Esc", "step", () => desk.ask(false))];
}

function judgedPanel(last, reasons) {
  const title = element("h2", "", WORDS.last);
  if (!last) return [title, element("p", "dim", WORDS.scoreHere)];
  const { answer } = last;
  const what = last.decision === "undo" ? WORDS.undone : verdictOf(last, reasons);
  const made = [title, element("p", "", `${nameOf(last)}: ${what}`)];
  made.push(element("p", answer.ok ? "dim" : "refused", answer.ok ? answer.words : fill(WORDS.refused, answer)));
  const figures = answer.figures ?? {};
  if (!figures.score) return made;
  const words = [fill(WORDS.score, figures), figures.p && `p ${figures.p}`, figures.model, figures.verdict];
  made.push(element("p", "figures", words.filter(Boolean).join(" · ")));
  if (figures.bars) made.push(histogram(figures), element("p", "dim", fill(WORDS.scores, figures)));
  else made.push(element("p", "dim", WORDS.uncertified));
  return made;
}

// A page of one's verdicts: its rows, and the ways to newer and older ones; null while it is fetched.
function pastPanel(page, desk) {
  const title = element("h2", "", WORDS.past);
  if (!page) return [title, element("p", "dim", WORDS.fetching)];
  const list = element("ul", "said");
  list.append(...page.rows.map((one) => pastRow(one, desk)));
  const turns = element("div", "turns");
  if (page.newer) turns.append(button(WORDS.newer, "", "small", () => desk.turn(false)));
  if (page.older) turns.append(button(WORDS.older, "", "small", () => desk.turn(true)));
  return [title, page.rows.length ? list : element("p", "dim", page.older || page.newer ? WORDS.noneHere : WORDS.noneYet), turns];
}

function pastRow(one, desk) {
  const row = element("li");
  const verdict = verdictOf(one, desk.data.reasons);
  const undo = button(WORDS.undo, "", "small", () => desk.undo(one));
  const label = one.made ? fill(WORDS.undoMany, { verdict, n: one.made.length }) : fill(WORDS.undoOf, { verdict, serial: one.card.serial });
  undo.setAttribute("aria-label", label);
  const time = new Date(one.time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  row.append(element("span", "", `${nameOf(one)}: ${verdict}`), element("time", "dim", time), undo);
  return row;
}

function helpPanel(close) {
  const list = element("dl");
  for (const [key, what] of WORDS.help) list.append(element("dt", "", key), element("dd", "", what));
  return [element("h2", "", WORDS.keys), list, button(WORDS.close, "Esc", "step", close)];
}
