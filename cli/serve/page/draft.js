// What is to be painted next. It outlives a reload of the page; the pictures are the server's.

import * as api from "./api.js";

const KEY = "impasto draft";

/** The colours of regions, in the order in which paintings get them. */
export const COLORS = ["#2f6fd6", "#e0861a", "#2f9e5b", "#c43c6c", "#8453c9", "#1d9fb3", "#d6bf1c", "#7d4c2b"];

/** The weight of a painting in a blend before it is changed: there is room for more, and for less. */
const SHARE = 0.5;

const empty = () => ({ content: null, styles: [], options: {}, contentMask: null, strengths: {}, protect: null });

/**
 * content: a picture as the server describes it, or null. styles: a list of {picture, share, mask}, where mask is the
 * colour of the region that all of it paints, or {picture: id}. options: those that differ from their defaults.
 * contentMask and protect: {picture: id}, or null. strengths: the colour of a region -> how strongly it is painted, if
 * that is not 1.
 */
export let draft = empty();

const watchers = new Set();

/** Calls a function after every change of the draft: with true if it is another draft. */
export function watch(change) {
  watchers.add(change);
  return () => watchers.delete(change);
}

/** Keeps the draft, and tells those who watch it. */
export function changed(isOther = false) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...draft, content: draft.content?.id, styles: draft.styles.map(kept) }));
  } catch {
    // A browser may refuse to keep anything. The draft then lasts as long as the page.
  }
  for (const watcher of [...watchers]) watcher(isOther);
}

const kept = (style) => ({ ...style, picture: style.picture.id });

/** Returns the colour that the region of the painting with this number has. */
export const colorOf = (number) => COLORS[number % COLORS.length];

/** Sets the photograph. Masks of another one do not fit it. */
export function setContent(picture) {
  Object.assign(draft, { content: picture, contentMask: null, strengths: {}, protect: null });
  changed();
}

/** Adds a painting, or puts it in the place of another. */
export function setStyle(picture, number = draft.styles.length) {
  draft.styles[number] = { picture, share: draft.styles[number]?.share ?? SHARE, mask: colorOf(number) };
  changed();
}

export function removeStyle(number) {
  draft.styles.splice(number, 1);
  changed();
}

/** Sets how strongly the region of a colour is painted; the draft's change is yet to be told. */
export function setStrength(color, strength) {
  if (Number(strength) === 1) delete draft.strengths[color];
  else draft.strengths[color] = Number(strength);
}

/** Sets an option; undefined stands for its default. */
export function setOption(name, value) {
  if (value === undefined) delete draft.options[name];
  else draft.options[name] = value;
  changed();
}

export const isWhole = () => draft.content !== null && draft.styles.length > 0;

/** Returns the draft as the server takes a request. */
export function request() {
  const options = { ...draft.options };
  const shares = draft.styles.map((style) => style.share);
  if (shares.some((share) => share !== shares[0])) options.style_blend = shares.join(",");
  if (draft.contentMask) {
    options.content_mask = draft.contentMask;
    options.style_mask = draft.styles.map((style) => style.mask);
    const strengths = Object.entries(draft.strengths).map(([color, strength]) => `${color}=${strength}`);
    if (strengths.length) options.region_strength = strengths;
  }
  if (draft.protect) options.protect = draft.protect;
  return { content: draft.content?.id, styles: draft.styles.map((style) => style.picture.id), options };
}

/** Makes a request the draft; inputs that are missing, which are null in it, are left out. */
export async function load({ content, styles, options }) {
  const {
    style_blend: blend,
    content_mask: contentMask,
    style_mask: masks,
    region_strength: strengths,
    protect,
    ...others
  } = options ?? {};
  const shares = typeof blend === "string" ? blend.split(",").map(Number) : [];
  const found = await Promise.all([content, ...styles].map(known));
  draft = empty();
  draft.content = found[0];
  draft.styles = found
    .slice(1)
    .map((picture, i) => ({ picture, share: shares[i] ?? SHARE, mask: masks?.[i] ?? colorOf(i) }));
  draft.styles = draft.styles.filter((style) => style.picture);
  draft.options = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== null));
  if (draft.content) Object.assign(draft, { contentMask: contentMask ?? null, protect: protect ?? null });
  if (draft.contentMask) for (const strength of strengths ?? []) setStrength(...strength.split("="));
  changed(true);
}

/** Takes up the draft of an earlier page, as far as its pictures are still there. */
export async function recall() {
  try {
    const { content, styles, options, contentMask, strengths, protect } = JSON.parse(localStorage.getItem(KEY)) ?? {};
    if (!content && !styles?.length) return;
    const pictures = await Promise.all([content, ...styles.map((style) => style.picture)].map(known));
    draft = { ...empty(), content: pictures[0], options: options ?? {} };
    draft.styles = styles.map((style, i) => ({ ...style, picture: pictures[i + 1] })).filter((style) => style.picture);
    if (draft.content) Object.assign(draft, { contentMask, strengths: strengths ?? {}, protect });
  } catch {
    draft = empty(); // it was another version's
  }
}

async function known(id) {
  return id ? api.picture(id).catch(() => null) : null;
}
