// A picture to look at closely: alone, under a slider over what it was made from, or beside it; in any magnification.

import { choose, h, iconButton, segments } from "./dom.js";
import { percent, t } from "./texts.js";

const MODES = ["result", "slider", "beside"];
const [STEP, MOST] = [1.25, 16];

/** On a narrower stage the two pictures stand one above the other. */
const NARROW = 560;

export class Viewer {
  /** `before` and `after` are names for those who hear the page. */
  constructor(before, after) {
    this.images = [h("img", { alt: before, draggable: "false" }), h("img", { alt: after, draggable: "false" })];
    this.panes = this.images.map((image, i) => h(`div.pane.${i ? "after" : "before"}`, {}, image));
    this.divider = h(
      "div.divider",
      {
        role: "slider",
        tabindex: "0",
        "aria-label": t("viewer.divider"),
        "aria-valuemin": "0",
        "aria-valuemax": "100",
        onkeydown: (event) => this.dividerKey(event),
      },
      h("span.grip"),
    );
    this.stage = h(
      "div.stage",
      {
        tabindex: "0",
        role: "group",
        "aria-label": t("viewer.stage"),
        onkeydown: (event) => this.stageKey(event),
        ondblclick: (event) => this.toggle(event),
        onpointerdown: (event) => this.press(event),
        onpointermove: (event) => this.drag(event),
        onpointerup: (event) => this.release(event),
        onpointercancel: (event) => this.release(event),
      },
      this.panes,
      this.divider,
    );
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.modes = segments(
      t("viewer.mode"),
      [
        ["result", t("viewer.result")],
        ["slider", t("viewer.slider")],
        ["beside", t("viewer.beside")],
      ],
      "slider",
      (mode) => this.setMode(mode),
      true,
    );
    this.scaleText = h("output.scale", { "aria-label": t("viewer.scale") });
    this.bar = h(
      "div.viewer-bar",
      {},
      this.modes,
      h(
        "div.zoom",
        {},
        iconButton("minus", t("viewer.smaller"), () => this.zoom(1 / STEP)),
        this.scaleText,
        iconButton("plus", t("viewer.larger"), () => this.zoom(STEP)),
        h("button.quiet", { type: "button", onclick: () => this.fit() }, t("viewer.fit")),
        h("button.quiet", { type: "button", onclick: () => this.setScale(1) }, t("viewer.pixels")),
      ),
    );
    this.element = h("div.viewer", {}, this.stage, this.bar);
    this.pointers = new Map();
    this.size = { width: 4, height: 3 };
    this.scale = null; // null: as large as the stage allows
    this.center = { x: 0.5, y: 0.5 };
    this.share = 0.5;
    this.versions = [0, 0];
    new ResizeObserver(() => this.place()).observe(this.stage);
    this.setMode("slider");
  }

  /** Sets the size of the result in pixels; both pictures are shown in it. */
  setSize(width, height) {
    this.size = { width, height };
    this.stage.style.setProperty("--ratio", width / height);
    this.place();
  }

  /** Shows another picture once it has arrived; until then the earlier one stays. */
  async setImage(index, address) {
    const version = ++this.versions[index];
    const image = new Image();
    image.src = address;
    try {
      await image.decode();
    } catch {
      return; // it was replaced or removed meanwhile
    }
    if (version !== this.versions[index]) return;
    this.images[index].src = address;
    this.stage.classList.add(index ? "has-after" : "has-before");
  }

  setMode(mode) {
    this.mode = mode;
    for (const other of MODES) this.stage.classList.toggle(other, other === mode);
    choose(this.modes, mode);
    this.place();
  }

  get pane() {
    const whole = this.stage.getBoundingClientRect();
    const [across, down] = this.mode !== "beside" ? [1, 1] : this.stacked ? [1, 2] : [2, 1];
    return { left: whole.left, top: whole.top, width: whole.width / across, height: whole.height / down };
  }

  get fitting() {
    return Math.min(this.pane.width / this.size.width, this.pane.height / this.size.height) || 1;
  }

  place() {
    this.stacked = this.stage.clientWidth < NARROW;
    this.stage.classList.toggle("stacked", this.stacked);
    const { width, height } = this.pane;
    const scale = this.scale ?? this.fitting;
    const [w, tall] = [this.size.width * scale, this.size.height * scale];
    const start = (room, length, part) =>
      length <= room ? (room - length) / 2 : clamp(room / 2 - part * length, room - length, 0);
    const [x, y] = [start(width, w, this.center.x), start(height, tall, this.center.y)];
    this.offset = { x, y, scale };
    for (const image of this.images) {
      image.style.width = `${w}px`;
      image.style.height = `${tall}px`;
      image.style.transform = `translate(${x}px, ${y}px)`;
      image.style.imageRendering = scale >= 2 ? "pixelated" : "auto";
    }
    this.stage.classList.toggle("zoomed", w > width + 1 || tall > height + 1);
    // The slider lies within the picture, so that its ends are the picture's.
    const [left, right] = [Math.max(0, x), Math.min(width, x + w)];
    const at = left + this.share * (right - left);
    this.bounds = { left, right };
    this.panes[1].style.clipPath = this.mode === "slider" ? `inset(0 0 0 ${at}px)` : "none";
    this.divider.style.transform = `translateX(${at}px)`;
    this.divider.setAttribute("aria-valuenow", Math.round(100 * this.share));
    this.divider.setAttribute("aria-valuetext", t("viewer.share", { share: percent(1 - this.share) }));
    this.scaleText.textContent = percent(scale);
  }

  fit() {
    this.scale = null;
    this.place();
  }

  zoom(factor, at = null) {
    this.setScale((this.scale ?? this.fitting) * factor, at);
  }

  /** Sets the magnification; the point of the picture that lies at `at` of the pane stays there. */
  setScale(scale, at = null) {
    const least = this.fitting;
    const { width, height } = this.pane;
    const point = at ?? { x: width / 2, y: height / 2 };
    const part = {
      x: this.part(point.x, this.offset.x, this.size.width),
      y: this.part(point.y, this.offset.y, this.size.height),
    };
    this.scale = scale <= least && scale !== 1 ? null : Math.min(scale, MOST);
    const now = this.scale ?? least;
    this.center = {
      x: part.x + (width / 2 - point.x) / (this.size.width * now),
      y: part.y + (height / 2 - point.y) / (this.size.height * now),
    };
    this.settle();
  }

  part(point, offset, length) {
    return (point - offset) / (length * this.offset.scale);
  }

  /** Moves the picture by so many pixels of the screen. */
  pan(dx, dy) {
    this.center.x -= dx / (this.size.width * this.offset.scale);
    this.center.y -= dy / (this.size.height * this.offset.scale);
    this.settle();
  }

  settle() {
    const { width, height } = this.pane;
    const scale = this.scale ?? this.fitting;
    const held = (part, room, length) => (length <= room ? 0.5 : clamp(part, room / 2 / length, 1 - room / 2 / length));
    this.center.x = held(this.center.x, width, this.size.width * scale);
    this.center.y = held(this.center.y, height, this.size.height * scale);
    this.place();
  }

  setShare(share) {
    this.share = clamp(share, 0, 1);
    this.place();
  }

  dividerKey(event) {
    const steps = {
      ArrowLeft: -0.02,
      ArrowDown: -0.02,
      ArrowRight: 0.02,
      ArrowUp: 0.02,
      PageDown: -0.1,
      PageUp: 0.1,
      Home: -1,
      End: 1,
    };
    if (!(event.key in steps)) return;
    event.preventDefault();
    event.stopPropagation();
    this.setShare(this.share + steps[event.key]);
  }

  stageKey(event) {
    if (event.target !== this.stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (event.key in moves && this.stage.classList.contains("zoomed")) this.pan(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(STEP);
    else if (event.key === "-") this.zoom(1 / STEP);
    else if (event.key === "0") this.fit();
    else if (event.key === "1") this.setScale(1);
    else return;
    event.preventDefault();
  }

  point(event) {
    const { left, top, width, height } = this.pane;
    return { x: (event.clientX - left) % width, y: (event.clientY - top) % height };
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 200), this.point(event));
  }

  toggle(event) {
    if (this.scale === null) this.setScale(Math.max(1, 2 * this.fitting), this.point(event));
    else this.fit();
  }

  press(event) {
    if (event.button !== 0) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    const slides = this.mode === "slider" && this.pointers.size === 1;
    this.slides = slides && (this.divider.contains(event.target) || !this.stage.classList.contains("zoomed"));
    if (this.slides) this.slide(event);
  }

  drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers.values()].filter((pointer) => pointer.pointerId !== event.pointerId);
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      const [a, b] = [this.point(event), this.point(other)];
      this.zoom(apart(event) / Math.max(1, apart(before)), { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
    } else if (this.slides) this.slide(event);
    else this.pan(event.clientX - before.clientX, event.clientY - before.clientY);
    this.pointers.set(event.pointerId, event);
  }

  release(event) {
    this.pointers.delete(event.pointerId);
  }

  slide(event) {
    const { left, right } = this.bounds;
    this.setShare((event.clientX - this.pane.left - left) / Math.max(1, right - left));
  }
}

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}
