// Masks, painted over their pictures: which region belongs to which painting, and what keeps the photograph's content.

import * as api from "./api.js";
import { COLORS, changed, draft, setStrength } from "./draft.js";
import { choose, eachFrame, h, icon, iconButton, replace, segments, unique } from "./dom.js";
import { find } from "./options.js";
import { Mask } from "./raster.js";
import { percent, t } from "./texts.js";

/** The long side of a mask, in pixels. A mask need not have its picture's size, only its proportions. */
const SIDE = 1024;

/** So many steps can be undone. */
const STEPS = 20;

/** The colours of a mask that says what is kept: nothing, and all. */
const PROTECTING = ["#000000", "#ffffff"];

/** A smaller share of a mask is no region of its own: an edge, or what JPEG has left. */
const LEAST = 0.001;

/** Opens the painter. `start` is "content" or "protect". */
export function openPainter(choices, shell, start) {
  new Painter(choices, shell).open(start);
}

/** A mask over its picture, with what can be undone. */
class Sheet {
  constructor(key, name, picture, colors) {
    Object.assign(this, { key, name, picture, colors, past: [], future: [], mask: null, touched: false });
  }

  /** Loads the picture, and the mask that it has, if any: {picture: id}. */
  async prepare(given) {
    const { width, height } = this.picture;
    const scale = SIDE / Math.max(width, height);
    const [w, tall] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
    this.pixels = await pixelsOf(api.place.shown(this.picture.id), w, tall);
    this.mask = new Mask(w, tall);
    if (given?.picture)
      this.mask.cells = nearest(await pixelsOf(api.place.shown(given.picture), w, tall, false), this.colors);
  }

  /** Begins with all of it in one region. */
  begin(region) {
    this.mask.cells.fill(region);
    this.touched = true;
  }

  keep() {
    this.past = [...this.past.slice(1 - STEPS), this.mask.cells.slice()];
    this.future = [];
    this.touched = true;
  }

  step(from, to) {
    if (!from.length) return false;
    to.push(this.mask.cells);
    this.mask.cells = from.pop();
    return true;
  }

  get isBlank() {
    return this.mask.cells.every((cell) => cell === 0);
  }

  /** Returns the mask as a PNG. */
  async file() {
    const { width, height, cells } = this.mask;
    const canvas = new OffscreenCanvas(width, height);
    const image = new ImageData(width, height);
    const levels = this.colors.map(channels);
    cells.forEach((cell, i) => image.data.set([...levels[cell], 255], 4 * i));
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas.convertToBlob({ type: "image/png" });
  }
}

class Painter {
  constructor(choices, shell) {
    this.shell = shell;
    this.withProtect = Boolean(find(choices, "protect"));
    this.withStrengths = Boolean(find(choices, "region_strength"));
    this.strengths = new Map(Object.entries(draft.strengths));
    this.colors = [...COLORS];
    this.whole = draft.styles.map((style) => style.mask);
    this.takeColors(this.whole.filter((mask) => typeof mask === "string"));
    this.tool = "brush";
    this.radius = 36;
    this.tolerance = 28;
    this.opacity = 0.55;
    this.cursor = { x: SIDE / 2, y: SIDE / 3 };
    this.sheets = new Map();
    this.build();
  }

  /** Gives regions the colours that paintings have already. */
  takeColors(given) {
    for (const color of given.filter((color) => !this.colors.includes(color))) {
      const free = this.colors.findLastIndex((own) => !given.includes(own));
      if (free >= 0) this.colors[free] = color;
    }
  }

  build() {
    this.title = h("h2", { id: unique("painter") }, t("painter.title"));
    this.tabs = h("div.tabs");
    this.under = h("canvas.under", { "aria-hidden": "true" });
    this.over = h("canvas.over", { "aria-hidden": "true" });
    this.ring = h("span.ring", { "aria-hidden": "true" });
    const help = h("p.unseen", { id: unique("help") }, t("painter.keys"));
    this.easel = h(
      "div.easel",
      {
        tabindex: "0",
        role: "application",
        "aria-label": t("painter.canvas"),
        "aria-describedby": help.id,
        onpointerdown: (event) => this.press(event),
        onpointermove: (event) => this.drag(event),
        onpointerup: (event) => this.release(event),
        onpointercancel: (event) => this.release(event),
        onpointerleave: () => this.showRing(false),
        onkeydown: (event) => this.key(event),
        onblur: () => this.lift(),
        onfocus: () => this.showRing(this.easel.matches(":focus-visible")),
      },
      this.under,
      this.over,
      this.ring,
    );
    this.wait = h("p.nothing", {}, t("painter.loading"));
    this.tools = segments(
      t("painter.tool"),
      [
        ["brush", t("painter.brush")],
        ["fill", t("painter.fill")],
        ["eraser", t("painter.eraser")],
      ],
      this.tool,
      (tool) => this.setTool(tool),
      true,
    );
    for (const [name, label] of [
      ["brush", 0],
      ["fill", 1],
      ["eraser", 2],
    ])
      this.tools.querySelectorAll("label span")[label].prepend(icon(name));
    this.sliders = h("div.sliders");
    this.regions = h("div.regions");
    this.says = h("p.hint", { role: "status" });
    this.undoButton = iconButton("undo", t("painter.undo"), () => this.undo());
    this.redoButton = iconButton("redo", t("painter.redo"), () => this.redo());
    this.clearButton = h("button.quiet", { type: "button", onclick: () => this.clear() }, t("painter.clear"));
    this.history = h("div.actions", {}, this.undoButton, this.redoButton, this.clearButton);
    this.problem = h("p.problem", { role: "alert" });
    this.done = h("button.primary", { type: "button", onclick: () => this.finish() }, t("painter.done"));
    this.dialog = h(
      "dialog.painter",
      {
        "aria-labelledby": this.title.id,
        onclose: () => this.leave(),
        onkeydown: (event) => this.shortcut(event),
        oncancel: (event) => this.refuseToLose(event),
      },
      h(
        "div.top",
        {},
        this.title,
        this.tabs,
        h(
          "div.actions",
          {},
          h("button", { type: "button", onclick: () => this.dialog.close() }, t("painter.cancel")),
          this.done,
        ),
      ),
      h("div.floor", {}, help, this.easel, this.wait),
      h("div.side", {}, this.tools, this.regions, this.sliders, this.history, this.says, this.problem),
    );
    this.paintOver = eachFrame(() => this.renderOver());
    new ResizeObserver(() => this.place()).observe(this.dialog);
  }

  open(start) {
    document.body.append(this.dialog);
    this.dialog.showModal();
    this.select(start);
  }

  leave() {
    this.dialog.remove();
  }

  /** Escape closes the dialog only while nothing would be lost. */
  refuseToLose(event) {
    if (this.changedStrength || [...this.sheets.values()].some((sheet) => sheet.touched)) event.preventDefault();
  }

  /** Shows the mask of a picture: "content", "protect", or the number of a painting. */
  async select(key) {
    this.selected = key;
    this.renderTabs();
    this.wait.hidden = false;
    this.easel.hidden = true;
    try {
      const sheet = await this.sheet(key);
      if (this.selected !== key) return;
      this.now = sheet;
    } catch {
      this.wait.textContent = t("painter.failed");
      return;
    }
    this.wait.hidden = true;
    this.easel.hidden = false;
    this.region =
      key === "protect" ? 1 : this.region && this.region < this.count ? this.region : Math.min(1, this.count - 1);
    const { width, height } = this.now.mask;
    for (const canvas of [this.under, this.over]) Object.assign(canvas, { width, height });
    this.under.getContext("2d").putImageData(this.now.pixels, 0, 0);
    this.cursor = { x: width / 2, y: height / 2 };
    this.renderRegions();
    this.setTool(this.tool);
    this.place();
    this.renderOver();
    this.showHistory();
  }

  async sheet(key) {
    if (!this.sheets.has(key)) {
      const sheet = this.newSheet(key);
      await sheet.prepare(this.given(key));
      this.sheets.set(key, sheet);
    }
    return this.sheets.get(key);
  }

  newSheet(key) {
    if (key === "content") return new Sheet(key, t("photograph.name"), draft.content, this.colors);
    if (key === "protect") return new Sheet(key, t("protect.name"), draft.content, PROTECTING);
    return new Sheet(key, draft.styles[key].picture.name, draft.styles[key].picture, this.colors);
  }

  given(key) {
    if (key === "content") return draft.contentMask;
    return key === "protect" ? draft.protect : draft.styles[key].mask;
  }

  /** How many regions there are: one for each painting, and two at least. */
  get count() {
    return Math.min(this.colors.length, Math.max(2, draft.styles.length, this.added ?? 0, 1 + this.highest()));
  }

  highest() {
    const cells = [...this.sheets.values()]
      .filter((sheet) => sheet.key !== "protect" && sheet.mask)
      .map((sheet) => Math.max(...sheet.mask.counts().keys()));
    const whole = this.whole.filter((mask) => typeof mask === "string").map((mask) => this.colors.indexOf(mask));
    return Math.max(0, ...cells, ...whole);
  }

  // What is beside the picture

  renderTabs() {
    const entries = [
      ["content", t("photograph.name"), draft.content],
      ...draft.styles.map((style, i) => [i, style.picture.name, style.picture]),
    ];
    if (this.withProtect) entries.push(["protect", t("protect.name"), draft.content]);
    const tabs = entries.map(([key, name, picture]) =>
      h(
        "button.tab",
        { type: "button", "aria-pressed": String(key === this.selected), onclick: () => this.select(key) },
        h("img", { src: api.place.thumbnail(picture.id), alt: "" }),
        h("span", {}, name),
      ),
    );
    replace(this.tabs, tabs);
  }

  renderRegions() {
    const { key } = this.now;
    this.title.textContent =
      key === "protect" ? t("protect.title") : key === "content" ? t("painter.title") : t("painter.painting");
    if (key === "protect") {
      replace(this.regions, h("p.hint", {}, t("protect.help")));
      return;
    }
    const regions = Array.from({ length: this.count }, (_, region) => region);
    const add =
      this.count < this.colors.length
        ? h(
            "button.quiet",
            {
              type: "button",
              onclick: () => {
                this.added = this.count + 1;
                this.region = this.count - 1;
                this.renderRegions();
              },
            },
            icon("plus"),
            t("regions.add"),
          )
        : null;
    replace(
      this.regions,
      typeof key === "number" ? this.wholeChoice(key, regions) : null,
      this.locked
        ? null
        : [
            this.palette(
              t("regions.paint"),
              regions.map((region) => [region, this.nameOf(region)]),
              this.region,
              (region) => this.setRegion(region),
            ),
            add,
          ],
    );
  }

  /** Returns radio buttons for regions, each with its colour. */
  palette(legend, choices, chosen, change) {
    const name = unique("region");
    const entries = choices.map(([region, text]) => {
      const chip = h("span.chip");
      if (region === null) chip.classList.add("hand");
      else chip.style.background = this.colors[region];
      return h(
        "label",
        {},
        h("input", { type: "radio", name, checked: region === chosen, onchange: () => change(region) }),
        h("span", {}, chip, text),
      );
    });
    return h("fieldset.palette", {}, h("legend", {}, legend), entries);
  }

  /** What a painting gives: all of it to one region, or what is marked in it by hand. */
  wholeChoice(key, regions) {
    const choices = [
      ...regions.map((region) => [region, t("regions.whole", { region: region + 1 })]),
      [null, t("regions.by.hand")],
    ];
    const chosen = this.isWhole(key) ? this.colors.indexOf(this.whole[key]) : null;
    return this.palette(t("regions.of.painting"), choices, chosen, (region) => {
      if (region === null && chosen !== null) this.now.begin(chosen);
      this.whole[key] = region === null ? null : this.colors[region];
      this.renderRegions();
      this.renderOver();
      this.showHistory();
      this.regions.querySelector("input:checked").focus();
    });
  }

  isWhole(key) {
    return typeof this.whole[key] === "string";
  }

  /** Names a region by the paintings that paint it. */
  nameOf(region) {
    const own = draft.styles.filter((_, i) =>
      this.isWhole(i)
        ? this.whole[i] === this.colors[region]
        : (this.sheets.get(i)?.mask.cells.includes(region) ?? true),
    );
    const names = own.map((style) => style.picture.name.replace(/\.\w+$/, ""));
    return names.length
      ? t("regions.region", { region: region + 1, names: names.join(", ") })
      : t("regions.none", { region: region + 1 });
  }

  /** Names a region of a mask, which may be that of what is protected. */
  nameIn(sheet, region) {
    if (sheet.key !== "protect") return this.nameOf(region);
    return region ? t("protect.kept") : t("protect.free");
  }

  setRegion(region) {
    this.region = region;
    this.setTool(this.tool === "eraser" ? "brush" : this.tool);
  }

  setTool(tool) {
    this.tool = tool;
    choose(this.tools, tool);
    const own = (label, key, least, most, step = 1) =>
      slider(label, this[key], [least, most, step], (value) => {
        this[key] = value;
        this.showRing(true);
        this.paintOver();
      });
    replace(
      this.sliders,
      tool === "fill" ? own(t("painter.tolerance"), "tolerance", 0, 128) : own(t("painter.size"), "radius", 2, 160),
      own(t("painter.opacity"), "opacity", 0.1, 1, 0.05),
      this.now?.key === "content" && this.withStrengths ? this.strength() : null,
      tool === "eraser" && this.now?.key === "content"
        ? h("p.hint", {}, t("painter.eraser.hint"))
        : tool === "fill"
          ? h("p.hint", {}, t("painter.fill.hint"))
          : null,
    );
  }

  /** Returns the slider for how much the style of the present region counts. */
  strength() {
    const color = this.colors[this.region];
    const label = t("regions.strength", { region: this.region + 1 });
    return slider(label, this.strengths.get(color) ?? 1, [0.1, 3, 0.1], (value) => {
      this.strengths.set(color, value);
      this.changedStrength = true;
    });
  }

  /** Returns the strengths of the regions that the photograph's mask has. */
  usedStrengths(content) {
    const used = content?.mask.counts();
    return [...this.strengths].filter(([color]) => !used || used.has(this.colors.indexOf(color)));
  }

  showHistory() {
    this.undoButton.disabled = !this.now.past.length;
    this.redoButton.disabled = !this.now.future.length;
    const { counts, total } = this.shares();
    const shares = [...counts]
      .sort((a, b) => a[0] - b[0])
      .map(([region, pixels]) => `${this.nameIn(this.now, region)} ${percent(pixels / total)}`);
    this.tools.hidden = this.sliders.hidden = this.history.hidden = this.locked;
    this.says.textContent = this.locked ? t("painter.locked") : shares.join(" · ");
  }

  shares() {
    return { counts: this.now.mask.counts(), total: this.now.mask.cells.length };
  }

  /** Whether the picture cannot be painted on, because all of it is one region. */
  get locked() {
    return typeof this.now.key === "number" && this.isWhole(this.now.key);
  }

  // The canvas

  place() {
    if (!this.now || this.easel.hidden) return;
    const floor = this.easel.parentElement;
    const { width, height } = this.now.mask;
    const style = getComputedStyle(floor);
    const [room, tall] = [
      floor.clientWidth - 2 * parseFloat(style.paddingLeft),
      floor.clientHeight - 2 * parseFloat(style.paddingTop),
    ];
    this.zoom = Math.min(room / width, tall / height);
    this.easel.style.width = `${width * this.zoom}px`;
    this.easel.style.height = `${height * this.zoom}px`;
  }

  renderOver() {
    const { mask, colors, key } = this.now;
    const context = this.over.getContext("2d");
    const image = new ImageData(mask.width, mask.height);
    const data = new Uint32Array(image.data.buffer);
    const alpha = Math.round(255 * this.opacity);
    const levels = colors
      .map(channels)
      .map(
        ([r, g, b], region) => (((key === "protect" && !region ? 0 : alpha) << 24) | (b << 16) | (g << 8) | r) >>> 0,
      );
    const whole = this.locked ? levels[this.colors.indexOf(this.whole[key])] : null;
    if (whole !== null) data.fill(whole);
    else for (let i = 0; i < data.length; i++) data[i] = levels[mask.cells[i]];
    context.putImageData(image, 0, 0);
    this.easel.classList.toggle("locked", this.locked);
  }

  at(event) {
    const box = this.easel.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.now.mask.width,
      y: ((event.clientY - box.top) / box.height) * this.now.mask.height,
    };
  }

  showRing(visible) {
    this.ring.hidden = !visible || !this.now || this.locked;
    if (this.ring.hidden) return;
    const radius = this.tool === "fill" ? 5 : this.radius * this.zoom;
    this.ring.style.width = this.ring.style.height = `${2 * radius}px`;
    const [x, y] = [this.cursor.x, this.cursor.y].map((place) => place * this.zoom - radius);
    this.ring.style.transform = `translate(${x}px, ${y}px)`;
  }

  press(event) {
    if (event.button !== 0) return;
    this.easel.focus({ preventScroll: true });
    event.preventDefault();
    this.easel.setPointerCapture(event.pointerId);
    this.lift();
    this.cursor = this.at(event);
    this.down();
    this.pressed = this.tool !== "fill";
  }

  drag(event) {
    const before = this.cursor;
    if (!this.pressed) {
      this.cursor = this.at(event);
      this.showRing(true);
      return;
    }
    const points = event.getCoalescedEvents?.() ?? [];
    for (const point of points.length ? points : [event]) this.moveTo(this.at(point), before);
  }

  release() {
    if (this.pressed) this.lift();
    this.pressed = false;
  }

  /** Begins a stroke at the cursor, or fills there. */
  down() {
    if (this.locked) {
      this.says.textContent = t("painter.locked");
      return;
    }
    this.now.keep();
    if (this.tool === "fill") {
      this.now.mask.fill(this.cursor, this.now.pixels.data, this.tolerance, this.region);
      this.showHistory();
    } else {
      this.drawing = true;
      this.now.mask.stroke(this.cursor, this.cursor, this.radius, this.tool === "eraser" ? 0 : this.region);
    }
    this.paintOver();
    this.showRing(true);
  }

  moveTo(point) {
    if (this.drawing) {
      this.now.mask.stroke(this.cursor, point, this.radius, this.tool === "eraser" ? 0 : this.region);
      this.paintOver();
    }
    this.cursor = point;
    this.showRing(true);
  }

  lift() {
    if (!this.drawing) return;
    this.drawing = false;
    this.showHistory();
    this.renderRegions();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 64 : 16;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) {
      const [dx, dy] = moves[event.key];
      const { width, height } = this.now.mask;
      this.moveTo({
        x: Math.min(Math.max(this.cursor.x + dx, 0), width),
        y: Math.min(Math.max(this.cursor.y + dy, 0), height),
      });
      this.shell.announce(t("painter.at", { x: percent(this.cursor.x / width), y: percent(this.cursor.y / height) }));
    } else if (event.key === " " || event.key === "Enter") {
      if (this.drawing) this.lift();
      else this.down();
      this.says.textContent = this.drawing ? t("painter.pen.down") : this.says.textContent;
    } else return;
    event.preventDefault();
  }

  shortcut(event) {
    const isText = event.target.matches("select, input:not([type=range]):not([type=radio])");
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") event.shiftKey ? this.redo() : this.undo();
    else if (event.ctrlKey || event.metaKey || event.altKey || isText) return;
    else if (event.key === "b") this.setTool("brush");
    else if (event.key === "f") this.setTool("fill");
    else if (event.key === "e") this.setTool("eraser");
    else if (event.key === "[" || event.key === "]") {
      this.radius = Math.min(Math.max(this.radius * (event.key === "]" ? 1.25 : 0.8), 2), 160);
      this.setTool(this.tool);
      this.showRing(true);
    } else return;
    event.preventDefault();
  }

  undo() {
    this.turn(this.now.past, this.now.future);
  }

  redo() {
    this.turn(this.now.future, this.now.past);
  }

  turn(from, to) {
    if (!this.now.step(from, to)) return;
    this.renderOver();
    this.renderRegions();
    this.showHistory();
  }

  clear() {
    if (this.locked) return;
    this.now.keep();
    this.now.mask.cells = new Uint8Array(this.now.mask.cells.length);
    this.renderOver();
    this.renderRegions();
    this.showHistory();
  }

  // The end

  /** Gives the masks to the server, and puts them into the draft. */
  async finish() {
    this.done.disabled = true;
    this.problem.textContent = "";
    try {
      const given = async (sheet, name) => ({ picture: (await api.upload(name, await sheet.file())).id });
      const content = this.sheets.get("content");
      const protect = this.sheets.get("protect");
      let contentMask = draft.contentMask;
      if (content?.touched) contentMask = content.isBlank ? null : await given(content, t("mask.file.content"));
      const masks = await Promise.all(
        draft.styles.map(async (style, i) => {
          if (this.isWhole(i)) return this.whole[i];
          const sheet = this.sheets.get(i);
          return sheet?.touched || typeof style.mask === "string"
            ? given(await this.sheet(i), t("mask.file.painting", { name: style.picture.name.replace(/\.\w+$/, "") }))
            : style.mask;
        }),
      );
      if (protect?.touched) draft.protect = protect.isBlank ? null : await given(protect, t("mask.file.protect"));
      draft.contentMask = contentMask;
      draft.strengths = {};
      for (const [color, strength] of this.usedStrengths(content)) setStrength(color, strength);
      masks.forEach((mask, i) => (draft.styles[i].mask = mask));
      changed();
      this.dialog.close();
    } catch (error) {
      this.problem.textContent = error.message;
    } finally {
      this.done.disabled = false;
    }
  }
}

/** Returns a slider with its label; its value is told whenever it changes. */
function slider(label, value, [min, max, step], change) {
  const id = unique("slider");
  const control = h("input", {
    id,
    type: "range",
    min,
    max,
    step,
    value,
    oninput: () => change(Number(control.value)),
  });
  return h("div.field", {}, h("label", { for: id }, label), control);
}

/** Returns a picture's pixels in the size of a mask. Colours of masks are not mixed. */
async function pixelsOf(address, width, height, smooth = true) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = smooth;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** Returns red, green and blue of #rrggbb. */
function channels(color) {
  return [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
}

/**
 * Returns, for each pixel, the number of the nearest colour. Colours of larger areas that are none of these yet take
 * the place of the last ones: so a mask that was drawn elsewhere keeps its regions.
 */
function nearest(image, colors) {
  const pixels = new Uint32Array(image.data.buffer);
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
  const hex = (pixel) =>
    `#${[0, 8, 16].map((shift) => ((pixel >> shift) & 255).toString(16).padStart(2, "0")).join("")}`;
  const areas = [...counts].filter(([, count]) => count >= LEAST * pixels.length).map(([pixel]) => hex(pixel));
  if (colors.length > PROTECTING.length) {
    const foreign = areas.filter((color) => !colors.includes(color)).slice(0, colors.length);
    const free = colors
      .map((color, i) => i)
      .filter((i) => !areas.includes(colors[i]))
      .reverse();
    foreign.forEach((color, i) => free[i] !== undefined && (colors[free[i]] = color));
  }
  const levels = colors.map(channels);
  const known = new Map();
  const find = (pixel) => {
    const own = [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
    const apart = levels.map((level) => level.reduce((sum, value, i) => sum + (value - own[i]) ** 2, 0));
    return apart.indexOf(Math.min(...apart));
  };
  return Uint8Array.from(pixels, (pixel) => {
    if (!known.has(pixel)) known.set(pixel, find(pixel));
    return known.get(pixel);
  });
}
