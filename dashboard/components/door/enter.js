function pinForm(names) {
  let chosen = names[0];
  const [label, pin] = field(WORDS.pin, { type: "password", inputMode: "numeric", autocomplete: "off", maxLength: 8 });
  const choices = names.map((name) => {
    const one = made("input", { type: "radio", name: "who", checked: name === chosen });
    one.onchange = () => { chosen = name; pin.value = ""; pin.focus(); };
    return made("label", { className: "who" }, one, name);
  });
  const group = made("div", { role: "radiogroup", ariaLabel: WORDS.who }, ...choices);
  return form("pin", WORDS.goOn, [group, label], () => ({ name: chosen, pin: pin.value }));
}

function passwordForm() {
  const [nameLabel, name] = field(WORDS.name, { type: "text", name: "username", autocomplete: "username", maxLength: 200 });
  const [label, password] = field(WORDS.password, {
    type: "password", name: "password", autocomplete: "current-password", maxLength: 200,
  });
  return form("password", WORDS.signIn, [nameLabel, label], () => ({ name: name.value, password: password.value }));
}

export default function (component) {
  const { data, parentElement } = component;
  WORDS = data.words;
  const root = parentElement.querySelector(".door");
  const shown = JSON.stringify(data);
  if (root.dataset.shown !== shown) {
    root.dataset.shown = shown;
    root.replaceChildren(...(data.pins.length ? [pinForm(data.pins)] : []), ...(data.password ? [passwordForm()] : []));
    root.querySelector("input:not([type=radio])")?.focus();
  }

  // Somebody may have signed in meanwhile, in another tab: to sign in here too would sign them out there.
  const look = async () => {
    const { done } = await post("known", {});
    if (done) location.reload();
  };
  window.addEventListener("focus", look);
  look();
  return () => window.removeEventListener("focus", look);
}
