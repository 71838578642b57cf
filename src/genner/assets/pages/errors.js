const examples = [...document.querySelectorAll(".example")];
const buttons = [...document.querySelectorAll("button")];
function choose(button) {
  const wanted = Object.entries(button.dataset);
  let shown = 0;
  for (const example of examples) {
    example.hidden = !wanted.every(([key, value]) => example.dataset[key] === value);
    shown += !example.hidden;
  }
  for (const other of buttons) other.setAttribute("aria-pressed", String(other === button && wanted.length > 0));
  document.getElementById("shown").textContent = shown;
}
for (const button of buttons) {
  button.disabled = false;
  button.addEventListener("click", () => choose(button));
}
