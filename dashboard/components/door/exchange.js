export default function (component) {
  const { data, parentElement } = component;
  WORDS = data.words;
  const root = parentElement.querySelector(".door");
  if (root.dataset.ticket) return;
  root.dataset.ticket = "sent";
  root.textContent = WORDS.signingIn;
  post("ticket", { ticket: data.ticket }).then(({ done, words }) => {
    if (done) location.reload();
    else root.textContent = words;
  });
}
