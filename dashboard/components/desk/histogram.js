// Where the score of a part that was decided lies among those of its station. In bins of severity: 0 is the review limit.

const [WIDE, HIGH, BASE] = [280, 96, 72];

function histogram(figures) {
  const places = [figures.x, ...figures.limits.map((one) => one.x), ...figures.bars.map(([bin]) => bin)];
  const [low, high] = [Math.min(...places) - 2, Math.max(...places) + 3];
  const x = (place) => ((place - low) / (high - low)) * WIDE;
  const most = Math.max(1, ...figures.bars.map(([, n]) => n));
  const limits = figures.limits.map((one) => fill(WORDS.above, one)).join(", ");
  const words = `${fill(WORDS.among, figures)}; ${limits}`;
  const chart = drawing("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": words, class: "histogram" });
  for (const [bin, n] of figures.bars) {
    const tall = Math.max(1, (Math.sqrt(n / most)) * (BASE - 14)); // square roots, so that single parts show
    chart.append(drawing("rect", { x: x(bin), y: BASE - tall, width: Math.max(0.8, x(bin + 1) - x(bin) - 0.4), height: tall, class: "count" }));
  }
  chart.append(drawing("line", { x1: 0, x2: WIDE, y1: BASE, y2: BASE, class: "axis" }));
  for (const [at, limit] of figures.limits.entries()) {
    chart.append(drawing("line", { x1: x(limit.x), x2: x(limit.x), y1: 14, y2: BASE, class: "limit" }));
    chart.append(label(x(limit.x), BASE + 11 + 11 * at, `${limit.name} ${limit.score}`, "limit"));
  }
  chart.append(drawing("line", { x1: x(figures.x), x2: x(figures.x), y1: 12, y2: BASE, class: "here" }));
  chart.append(label(x(figures.x), 9, fill(WORDS.thisPart, figures), "here"));
  return chart;
}

function label(at, y, text, className) {
  const anchor = at < WIDE * 0.25 ? "start" : at > WIDE * 0.75 ? "end" : "middle";
  return drawing("text", { x: at, y, "text-anchor": anchor, class: className }, text);
}
