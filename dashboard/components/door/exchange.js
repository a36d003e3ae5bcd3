export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".door");
  if (root.dataset.ticket) return;
  root.dataset.ticket = "sent";
  post("ticket", { ticket: data.ticket }).then(({ done, words }) => {
    if (done) location.reload();
    else root.textContent = words;
  });
}
