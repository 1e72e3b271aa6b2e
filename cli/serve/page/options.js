// Controls for the options of a transfer. They are made from the command line's own declarations.

import * as api from "./api.js";
import { draft, setOption } from "./draft.js";
import { field, h } from "./dom.js";
import { t } from "./texts.js";

/** Options that have a place of their own in the page. */
const ELSEWHERE = [
  "size",
  "recipe",
  "colors",
  "boldness",
  "strength",
  "evaluations",
  "style_blend",
  "content_mask",
  "style_mask",
  "region_strength",
  "protect",
];

/** Returns all other options, group by group. `refuse` shows why a picture was not taken. */
export function further(choices, refuse) {
  return choices.groups
    .map((group) => [
      group,
      choices.options.filter((option) => option.group === group && !ELSEWHERE.includes(option.name)),
    ])
    .filter(([, options]) => options.length)
    .map(([group, options]) =>
      h(
        "fieldset.group",
        {},
        h("legend", {}, group),
        h(
          "div.grid",
          {},
          options.map((option) => control(option, choices, refuse)),
        ),
      ),
    );
}

/** Returns how many of the further options differ from their defaults. */
export const countChanged = () => Object.keys(draft.options).filter((name) => !ELSEWHERE.includes(name)).length;

/** Returns an option by its name, or undefined where the command has no such option. */
export const find = (choices, name) => choices.options.find((option) => option.name === name);

const title = (option) => option.flag.replace(/^-+/, "").replaceAll("-", " ");

/** A default that is longer stands in the hint rather than in the field. */
const SHORT = 12;

const isShort = (option) => option.default_text.length <= SHORT;
const hint = (option) =>
  isShort(option) ? option.help : t("option.hint", { help: option.help, value: option.default_text });
const usual = (option) => (isShort(option) ? t("option.default", { value: option.default_text }) : t("option.usual"));

function control(option, choices, refuse) {
  if (option.kind === "flag") return flag(option);
  if (option.kind === "picture") return picture(option, choices, refuse);
  const element = option.kind === "choice" ? select(option, option.choices) : input(option);
  return field(title(option), element, hint(option));
}

/** Returns a field for a text or a number. */
export function input(option, more = {}) {
  const whole = option.kind === "integer";
  const isNumber = whole || option.kind === "number";
  return h("input", {
    type: isNumber ? "number" : "text",
    step: isNumber ? (whole ? "1" : "any") : null,
    min: option.min,
    max: option.max,
    placeholder: isShort(option) ? option.default_text : "",
    autocomplete: "off",
    spellcheck: "false",
    value: draft.options[option.name],
    onchange: ({ target }) => setOption(option.name, read(target, isNumber)),
    ...more,
  });
}

function read(target, isNumber) {
  const text = target.value.trim();
  if (!text) return undefined;
  return isNumber ? Number(text) : text;
}

function select(option, values, more = [], change = (value) => setOption(option.name, value || undefined)) {
  const chosen = draft.options[option.name];
  return h(
    "select",
    { onchange: ({ target }) => change(target.value) },
    h("option", { value: "" }, usual(option)),
    values.map((value) => h("option", { value, selected: value === chosen }, value)),
    more,
  );
}

/** A flag whose default depends on the recipe has three states. */
function flag(option) {
  if (option.default === null) {
    const chosen = draft.options[option.name];
    const element = h(
      "select",
      { onchange: ({ target }) => setOption(option.name, target.value ? target.value === "on" : undefined) },
      h("option", { value: "" }, usual(option)),
      h("option", { value: "on", selected: chosen === true }, t("option.on")),
      h("option", { value: "off", selected: chosen === false }, t("option.off")),
    );
    return field(title(option), element, hint(option));
  }
  const element = h("input", {
    type: "checkbox",
    checked: draft.options[option.name] ?? option.default,
    onchange: ({ target }) => setOption(option.name, target.checked === option.default ? undefined : target.checked),
  });
  return field(title(option), element, option.help, "field.check");
}

/** A word, or a picture of the user's. */
function picture(option, choices, refuse) {
  const own = draft.options[option.name];
  const file = h("input.unseen", {
    type: "file",
    accept: choices.accept,
    tabindex: "-1",
    "aria-hidden": "true",
    onchange: async () => {
      const [chosen] = file.files;
      file.value = "";
      if (!chosen) return;
      try {
        const { id } = await api.upload(chosen.name, chosen);
        setOption(option.name, { picture: id });
        other.textContent = chosen.name;
        other.hidden = false;
        element.value = "given";
      } catch (error) {
        element.value = "";
        refuse(error.message);
      }
    },
  });
  const other = h(
    "option",
    { value: "given", hidden: !own?.picture, selected: Boolean(own?.picture) },
    t("option.given"),
  );
  const change = (value) => {
    if (value === "given") return;
    setOption(option.name, value === "choose" ? undefined : value || undefined);
    if (value !== "choose") return;
    element.value = "";
    file.click();
  };
  const more = [other, h("option", { value: "choose" }, t("option.choose"))];
  const element = select(option, option.choices ?? [], more, change);
  const whole = field(title(option), element, hint(option));
  whole.append(file);
  return whole;
}
