// Whatever a person does counts, in the page or in a field of it; what a page does by itself does not.
const SIGNS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"];

// What one changes of one's own, under its name: the password first, then what `fields` has.
function own(name, what, label, fields, values, done) {
  const [nowLabel, now] = field(WORDS.password, { type: "password", autocomplete: "current-password", maxLength: 200 });
  const ask = form(what, label, [nowLabel, ...fields], () => ({ password: now.value, ...values() }), () => done(whole));
  const whole = made("details", {}, made("summary", { textContent: name }), ask);
  return whole;
}

function ownPin() {
  const [label, pin] = field(WORDS.newPin, { type: "password", inputMode: "numeric", autocomplete: "off", maxLength: 8 });
  const done = (whole) => whole.replaceChildren(made("p", { textContent: WORDS.pinSet }));
  return own(WORDS.ownPin, "own_pin", WORDS.setPin, [label], () => ({ pin: pin.value }), done);
}

function ownPassword() {
  const [label, fresh] = field(WORDS.newPassword, { type: "password", autocomplete: "new-password", maxLength: 200 });
  const [againLabel, again] = field(WORDS.again, { type: "password", autocomplete: "new-password", maxLength: 200 });
  const compare = () => again.setCustomValidity(again.value === fresh.value ? "" : WORDS.notSame);
  fresh.oninput = again.oninput = compare;
  const signIn = () => location.reload();  // a new password signs out everywhere, here too
  return own(
    WORDS.ownPassword, "own_password", WORDS.setPassword, [label, againLabel], () => ({ new: fresh.value }), signIn,
  );
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
    root.replaceChildren(who, leave, ...(data.password ? [ownPin(), ownPassword()] : []));
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
