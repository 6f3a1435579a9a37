// Nodes of the page, each made in one expression.

// An attribute named `on...` is a listener, one that is `true` stands without a value; `false` and null are left out, of
// attributes and of children.
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const element = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);

export const drawing = (name, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

export const button = (text, onclick, attributes = {}) =>
  element("button", { type: "button", onclick, ...attributes }, text);

// A control under its label; `note` says what to put there.
export function field(text, control, note = null) {
  return element("label", { class: "field" }, element("span", {}, text), control, note && element("small", {}, note));
}

export const checkbox = (text, attributes = {}) =>
  element("label", { class: "check" }, element("input", { type: "checkbox", ...attributes }), text);

const cell = (name, content, attributes = {}) => {
  const number = typeof content === "number" ? { class: "number" } : {};
  return element(name, { ...number, ...attributes }, content instanceof Node ? content : String(content));
};

// A table that scrolls by itself where it is too wide. Cells are texts, numbers or nodes.
export function table(label, head, rows) {
  return element(
    "div",
    { class: "wide", tabindex: 0, role: "region", "aria-label": label },
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, ...head.map((text) => cell("th", text, { scope: "col" })))),
      element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells.map((content) => cell("td", content))))),
    ),
  );
}

// Names and values, one under another.
export const facts = (pairs) =>
  element("dl", {}, ...pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));

export const options = (select, entries) =>
  select.replaceChildren(...entries.map(([text, value]) => new Option(text, value)));

export const moment = (text) => new Date(text).toLocaleString();

export const count = (number, word, many = `${word}s`) => `${number} ${number === 1 ? word : many}`;
