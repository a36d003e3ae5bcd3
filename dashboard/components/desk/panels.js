// What stands around the picture: the part, the next ones, the verdict keys, one's last verdicts, the score afterwards.

const CHOICES = [["normal", "N", "Normal"], ["defect", "D", "Defect …"], ["unsure", "U", "Unsure"]];
const HELP = [
  ["N", "Normal: a false alarm"],
  ["D, then 1 … 9", "Defect, with its reason"],
  ["U", "Unsure: an engineer decides"],
  ["Z", "Undo your last verdict; older ones on the right"],
  ["→ or J, ← or K", "Next part, back, without a verdict"],
  ["V, Shift + V", "Next view, the one before"],
  ["[ and ]", "Heatmap fainter, stronger"],
  ["+ − 0", "Zoom in, out, whole picture; also the wheel and dragging"],
  ["Shift + arrows", "Move the zoomed picture"],
  ["?", "These keys; Esc closes"],
];

function verdictOf(one) {
  return one.decision === "defect" ? one.reason : one.decision;
}

function headPanel(item, left, most, unsaved) {
  const count = element("span", "count", `${left >= most ? `${most - 1}+` : left} to review`);
  const pending = unsaved ? element("span", "tag pending", `${unsaved} unsaved`) : null;
  if (!item) return [count, pending];
  const parts = [element("b", "", item.product), element("span", "", item.station), element("span", "serial", item.serial)];
  if (item.lot) parts.push(element("span", "", `lot ${item.lot}`));
  parts.push(element("time", "dim", new Date(item.time).toLocaleString()));
  if (item.failed) parts.push(element("span", "tag", `not inspected: ${item.failed}`));
  for (const said of item.said) parts.push(element("span", "tag", said));
  return [count, pending, ...parts];
}

function stripPanel(open, current, go, step) {
  const [back, next] = [button("Back", "←", "step", () => step(-1)), button("Next", "→", "step", () => step(1))];
  for (const one of [back, next]) one.disabled = open.length < 2;
  const list = element("div", "list");
  list.append(...open.map((item, at) => {
    const one = button("", "", "next", () => go(item.id));
    one.setAttribute("aria-label", `Part ${item.serial} at ${item.station}, ${at + 1} of ${open.length}`);
    if (item.id === current) one.setAttribute("aria-current", "true");
    const image = item.thumbnail ? element("img") : element("span", "none", "no picture");
    if (item.thumbnail) Object.assign(image, { src: item.thumbnail, alt: "" });
    one.append(image);
    return one;
  }));
  return [back, list, next];
}

function viewsPanel(stage) {
  const group = element("div", "group");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "View");
  for (const [view, name] of Object.entries(VIEWS)) {
    const one = button(name, "", "view", () => stage.set(view));
    one.setAttribute("aria-pressed", String(stage.view === view));
    group.append(one);
  }
  group.append(element("kbd", "", "V"));
  const fade = element("div", "group");
  fade.append(
    button("", "[", "small", () => stage.fade(-0.1), "Heatmap fainter"),
    element("span", "opacity", `${Math.round(100 * stage.opacity)} %`),
    button("", "]", "small", () => stage.fade(0.1), "Heatmap stronger"),
  );
  const zoom = element("div", "group");
  zoom.append(
    button("", "−", "small", () => stage.zoomBy(1 / 1.5), "Zoom out"),
    button("", "0", "small", () => stage.home(), "Whole picture"),
    button("", "+", "small", () => stage.zoomBy(1.5), "Zoom in"),
  );
  return [group, fade, zoom];
}

function verdictPanel(desk) {
  const { canDecide } = desk.data;
  const unseen = desk.stage.picture === "failed";
  const bar = CHOICES.map(([decision, key, label]) => {
    const one = button(label, key, decision, () => (decision === "defect" ? desk.ask(true) : desk.decide(decision)));
    one.disabled = !canDecide || !desk.queue.item() || unseen && decision !== "unsure";
    return one;
  });
  const undo = button("Undo", "Z", "undo", () => desk.undo());
  undo.disabled = !canDecide || !desk.undoable().length;
  return [...bar, element("span", "gap"), undo, button("Keys", "?", "keys", () => desk.help(true))];
}

function reasonPanel(desk) {
  const bar = desk.data.reasons.map((reason, at) => button(reason, String(at + 1), "reason", () => desk.decide("defect", reason)));
  return [element("span", "ask", "Which defect?"), ...bar, button("Cancel", "Esc", "step", () => desk.ask(false))];
}

function judgedPanel(last) {
  if (!last) return [element("h2", "", "Last verdict"), element("p", "dim", "The score of a part shows here, once it is decided.")];
  const { answer } = last;
  const what = last.decision === "undo" ? "undone" : verdictOf(last);
  const made = [element("h2", "", "Last verdict"), element("p", "", `${last.card.serial}: ${what}`)];
  made.push(element("p", answer.ok ? "dim" : "refused", answer.ok ? answer.words : `Refused: ${answer.words}`));
  const figures = answer.figures ?? {};
  if (!figures.score) return made;
  const words = [`score ${figures.score}`, figures.p && `p ${figures.p}`, figures.model, figures.verdict];
  made.push(element("p", "figures", words.filter(Boolean).join(" · ")));
  if (figures.bars) made.push(histogram(figures), element("p", "dim", `${figures.n} scores of this station in 30 days`));
  else made.push(element("p", "dim", "Nothing certified decided this part: there is no threshold to show."));
  return made;
}

function pastPanel(past, act) {
  const list = element("ul", "said");
  for (const one of past) {
    const row = element("li");
    const what = element("span", "", `${one.card.serial}: ${verdictOf(one)}`);
    const undo = button("Undo", "", "small", () => act(one));
    undo.setAttribute("aria-label", `Undo ${verdictOf(one)} of part ${one.card.serial}`);
    row.append(what, element("time", "dim", new Date(one.time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })), undo);
    list.append(row);
  }
  if (!past.length) return [element("h2", "", "Your verdicts of this shift"), element("p", "dim", "None yet.")];
  return [element("h2", "", "Your verdicts of this shift"), list];
}

function helpPanel(close) {
  const list = element("dl");
  for (const [key, what] of HELP) list.append(element("dt", "", key), element("dd", "", what));
  return [element("h2", "", "Keys"), list, button("Close", "Esc", "step", close)];
}
