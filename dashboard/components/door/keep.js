// Whatever a person does counts, in the page or in a field of it; what a page does by itself does not.
const SIGNS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"];

export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".door");
  const leave = made("button", { type: "button", textContent: "Sign out or switch user" });
  leave.onclick = async () => {
    await post("end", {});
    location.reload();
  };
  root.replaceChildren(made("p", {}, made("strong", { textContent: data.name }), ` · ${data.role}`), leave);

  let active = true;  // whoever opens a page is there
  const touched = () => { active = true; };
  const beat = async () => {
    const told = active;
    active = false;
    const { done, out } = await post("beat", { active: told });
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
