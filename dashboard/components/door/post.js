let WORDS = {}; // what the component says, by name, in the server's language

// Sends to a route of our own; what came of it: whether it is done, whether the page's
// session is over, and the words to show.
async function post(what, body) {
  try {
    const answer = await fetch(`/session/${what}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), credentials: "same-origin",
    });
    const { words } = await answer.json().catch(() => ({ words: `${WORDS.unusable} (${answer.status})` }));
    return { done: answer.ok, out: [401, 409].includes(answer.status), words };
  } catch {
    return { done: false, out: false, words: WORDS.noAnswer };
  }
}

function made(tag, properties, ...children) {
  const one = Object.assign(document.createElement(tag), properties);
  one.append(...children);
  return one;
}

// A form that posts what `values` gives, and then does `next`.
function form(what, label, fields, values, next = () => location.reload()) {
  const words = made("p", { className: "refused", role: "alert" });
  const press = made("button", { type: "submit", textContent: label });
  const whole = made("form", {}, ...fields, press, words);
  whole.onsubmit = async (event) => {
    event.preventDefault();
    press.disabled = true;
    words.textContent = "";
    const { done, words: said } = await post(what, values());
    if (done) return next();
    press.disabled = false;
    words.textContent = said;
    const secret = whole.querySelector("input[type=password]");
    secret.value = "";
    secret.focus();
  };
  return whole;
}

function field(label, properties) {
  const input = made("input", { required: true, ...properties });
  return [made("label", {}, label, input), input];
}
