// Elements of the page. Text always becomes a text node, so nothing that a file or a server says is read as markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Returns an element: h("button.primary", {type: "submit", onclick: paint}, "Paint").
 * Names that begin with "on" are listeners. Properties that are false, null or undefined are left out; true stands for
 * an attribute without a value. Children may be nodes, texts, lists of them, or null.
 */
export function h(selector, attributes = {}, ...children) {
  const [tag, ...classes] = selector.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  return filled(element, attributes, children);
}

/** Returns an element of a drawing; see `h`. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Gives an element new children. */
export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

let last = 0;

/** Returns an id that no other element has. */
export function unique(prefix) {
  last += 1;
  return `${prefix}-${last}`;
}

/** Returns a label and its control, with a hint under it that a screen reader reads, too. */
export function field(label, control, hint = null, kind = "field") {
  control.id ||= unique("field");
  const note = hint === null ? null : h("p.hint", { id: `${control.id}-hint` }, hint);
  if (note) control.setAttribute("aria-describedby", note.id);
  return h(`div.${kind}`, {}, h("label", { for: control.id }, label), control, note);
}

/**
 * Returns radio buttons that look like one control. `choices` are pairs of value and label.
 */
export function segments(label, choices, value, change, hidden = false) {
  const name = unique("segments");
  return h(
    "fieldset.segments",
    { class: hidden ? "segments bare" : "segments" },
    h(hidden ? "legend.unseen" : "legend", {}, label),
    h(
      "div",
      {},
      choices.map(([own, text]) =>
        h(
          "label",
          {},
          h("input", { type: "radio", name, value: own, checked: own === value, onchange: () => change(own) }),
          h("span", {}, text),
        ),
      ),
    ),
  );
}

/** Chooses another of the radio buttons that `segments` returned. */
export function choose(fieldset, value) {
  for (const input of fieldset.querySelectorAll("input")) input.checked = input.value === value;
}

const PATHS = {
  photograph: "M4 5h16v14H4zM4 16l5-5 4 4 2-2 5 4M15.5 9h.01",
  painting: "M4 4h16v16H4zM7.5 7.5h9v9h-9zM8 14c2-3 4 1 8-4",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  up: "M12 19V5M6 11l6-6 6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  brush: "M20 4c-5 3-8 6-10 9l2 2c3-2 6-5 8-11zM9.5 14c-3 0-3 3-5.5 5 4 1 7 0 7.5-3z",
  fill: "M11 4l8 8-7 7-8-8 7-7zM4 11h14M20.5 15.5c1 1.5 1 3 0 3s-1-1.5 0-3z",
  eraser: "M9 19l-5-5L14 4l6 6-9 9zM9 9l6 6M9 19h11",
  undo: "M9 6L4 11l5 5M4 11h10a6 6 0 010 9h-3",
  redo: "M15 6l5 5-5 5M20 11H10a6 6 0 000 9h3",
  check: "M5 12l5 5 9-11",
};

/** Returns a small drawing. A screen reader leaves it out: the text or the label beside it says what it means. */
export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
}

/** Returns a button that shows only an icon, and its label to those who point at it or hear it. */
export function iconButton(name, label, onclick, more = {}) {
  return h("button.icon-button", { type: "button", "aria-label": label, title: label, onclick, ...more }, icon(name));
}

/** Calls a function at most once a frame, with its last arguments. */
export function eachFrame(work) {
  let given = null;
  return (...values) => {
    if (given === null) {
      requestAnimationFrame(() => {
        const now = given;
        given = null;
        work(...now);
      });
    }
    given = values;
  };
}

/** Calls a function when nothing has been asked of it for so many milliseconds. */
export function afterRest(milliseconds, work) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), milliseconds);
  };
}
