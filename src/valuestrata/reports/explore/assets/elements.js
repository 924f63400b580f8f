// Elements are made from texts only, so markup in questions and answers is shown as text.
function element(tag, { text, children = [], ...attributes } = {}) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

// A number of 0..1 as the rest of the page writes it: .512.
function written(value, digits = 3) {
  return value === null ? "–" : value.toFixed(digits).replace(/^0\./, ".");
}

const percent = (value) => (value === null ? "–" : `${Math.round(100 * value)}\u00a0%`);
const count = (value) => value.toLocaleString("en");
const clipped = (text, length) => (text.length <= length ? text : `${text.slice(0, length - 1).trimEnd()}…`);
