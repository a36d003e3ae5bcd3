// Sends to a route of our own; what came of it: whether it is done, and the words to show.
async function post(what, body) {
  try {
    const answer = await fetch(`/session/${what}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), credentials: "same-origin",
    });
    const { words } = await answer.json().catch(() => ({ words: `no usable answer (${answer.status})` }));
    return { done: answer.ok, out: answer.status === 401, words };
  } catch {
    return { done: false, out: false, words: "the dashboard does not answer: try again" };
  }
}

function made(tag, properties, ...children) {
  const one = Object.assign(document.createElement(tag), properties);
  one.append(...children);
  return one;
}
