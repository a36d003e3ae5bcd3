// Whatever a person does counts, in the page or in a field of it; what a page does by itself does not.
const SIGNS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"];

function ownPin() {
  const [nowLabel, now] = field(WORDS.password, { type: "password", autocomplete: "current-password", maxLength: 200 });
  const [label, pin] = field(WORDS.newPin, { type: "password", inputMode: "numeric", autocomplete: "off", maxLength: 8 });
  const done = () => whole.replaceChildren(made("p", { textContent: WORDS.pinSet }));
  const ask = form("own_pin", WORDS.setPin, [nowLabel, label], () => ({ password: now.value, pin: pin.value }), done);
  const whole = made("details", {}, made("summary", { textContent: WORDS.ownPin }), ask);
  return whole;
}

export default function (component) {
  const { data, parentElement } = component;
  WORDS = data.words;
  const root = parentElement.querySelector(".door");
  const leave = made("button", { type: "button", textContent: WORDS.leave });
  leave.onclick = async () => {
    await post("end", {});
    location.reload();
  };
  const shown = JSON.stringify(data);
  if (root.dataset.shown !== shown) {
    root.dataset.shown = shown;
    const who = made("p", {}, made("strong", { textContent: data.name }), ` · ${data.role}`);
    root.replaceChildren(who, leave, ...(data.password ? [ownPin()] : []));
  }

  let active = true;  // whoever opens a page is there
  const touched = () => { active = true; };
  const beat = async () => {
    const told = active;
    active = false;
    const { done, out } = await post("beat", { active: told, page: data.page });
    if (out) location.reload();
    else if (!done) active ||= told;
  };
  for (const sign of SIGNS) window.addEventListener(sign, touched, { capture: true, passive: true });
  const timer = setInterval(beat, data.every);
  beat();
  return () => {
    clearInterval(timer);
    for (const sign of SIGNS) window.removeEventListener(sign, touched, { capture: true });
  };
}
