// Creates DOM elements. Text is inserted as text, never as markup.

/** Creates an element with properties and children; undefined children are left out. */
export function element(name, properties = {}, ...children) {
  const created = Object.assign(document.createElement(name), properties);
  created.append(...children.filter((child) => child !== undefined));
  return created;
}

/** Creates a button. */
export const button = (text, onclick, properties = {}) =>
  element("button", { type: "button", onclick, ...properties }, text);
