// The loss while a picture is painted: its terms, and all of it, as shares of the start's loss on a logarithmic axis.

import { eachFrame, h, replace, svg } from "./dom.js";
import { percent, t } from "./texts.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [320, 170, 44, 4, 8, 22];

/**
 * Losses of two stages do not compare, as they are of two sizes. A share does: a stage begins with the share that the
 * one before has left, and its losses count in proportion to its first.
 */
export class Losses {
  constructor() {
    this.points = [];
    this.last = 0;
    this.stage = 0;
  }

  /** Takes an evaluation in; those that did not lower the loss are trials of a line search, and are not drawn. */
  add(step) {
    if (step.loss === null || step.evaluation <= this.last) return;
    this.last = step.evaluation;
    if (step.stage !== this.stage) {
      this.stage = step.stage;
      this.unit = (this.points.at(-1)?.all ?? 1) / step.loss;
    } else if (!step.improved) return;
    const terms = {};
    for (const [name, value] of Object.entries(step.terms)) {
      const kind = name.split("/")[0];
      terms[kind] = (terms[kind] ?? 0) + value * this.unit;
    }
    this.points.push({ evaluation: step.evaluation, stage: step.stage, all: step.loss * this.unit, terms });
  }
}

const NAMES = { content: () => t("plot.content"), style: () => t("plot.style"), tv: () => t("plot.tv") };

/** A drawing of losses; `show` draws what they are now. */
export class Plot {
  constructor() {
    this.drawing = svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    this.legend = h("ul.legend");
    this.element = h("div", {}, this.drawing, this.legend);
    this.show = eachFrame((losses, evaluations) => this.draw(losses, evaluations));
  }

  draw(losses, evaluations) {
    this.element.hidden = losses.points.length < 2;
    if (this.element.hidden) return;
    const points = thinned(losses.points);
    const kinds = Object.keys(points.at(-1).terms).filter((kind) => points.some((point) => point.terms[kind] > 0));
    const series = kinds.map((kind) => [kind, points.map((point) => point.terms[kind] ?? 0)]);
    series.push(["all", points.map((point) => point.all)]);
    const [low, high] = limits(series.flatMap(([, values]) => values));
    const across = (evaluation) => LEFT + ((WIDTH - LEFT - RIGHT) * (evaluation - 1)) / Math.max(1, evaluations - 1);
    const up = (value) => {
      const part = (Math.log10(Math.max(value, low)) - Math.log10(low)) / (Math.log10(high) - Math.log10(low));
      return TOP + (HEIGHT - TOP - BOTTOM) * (1 - part);
    };
    const line = ([kind, values]) =>
      svg("path", {
        class: `line ${kind}`,
        d: values
          .map((value, i) => `${i ? "L" : "M"}${across(points[i].evaluation).toFixed(1)} ${up(value).toFixed(1)}`)
          .join(""),
      });
    replace(
      this.drawing,
      powers(low, high).map((value) => [
        svg("path", { class: "grid", d: `M${LEFT} ${up(value)}H${WIDTH - RIGHT}` }),
        svg("text", { class: "tick", x: LEFT - 6, y: up(value) + 4, "text-anchor": "end" }, percent(value)),
      ]),
      points
        .filter((point, i) => i && point.stage !== points[i - 1].stage)
        .map((point) => svg("path", { class: "stage", d: `M${across(point.evaluation)} ${TOP}V${HEIGHT - BOTTOM}` })),
      series.map(line),
      svg("text", { class: "tick", x: LEFT, y: HEIGHT - 4 }, "1"),
      svg("text", { class: "tick", x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, String(evaluations)),
    );
    const now = Object.fromEntries(series.map(([kind, values]) => [kind, percent(values.at(-1))]));
    const named = [["all", t("plot.all")], ...kinds.map((kind) => [kind, NAMES[kind]?.() ?? kind])];
    const entries = named.map(([kind, name]) => [kind, name, now[kind]]);
    this.drawing.setAttribute(
      "aria-label",
      t("plot.label", { values: entries.map(([, name, value]) => `${name} ${value}`).join(", ") }),
    );
    replace(
      this.legend,
      entries.map(([kind, name, value]) =>
        h("li", {}, h("span", { class: `swatch ${kind}` }), `${name} `, h("b", {}, value)),
      ),
    );
  }
}

/** Returns the ends of the axis: powers of ten, or halves of them, around the values that are not tiny. */
function limits(values) {
  const high = Math.max(...values);
  const low = Math.max(Math.min(...values.filter((value) => value > 0)), high / 1e4);
  const [bottom, top] = [Math.floor(Math.log10(low) * 2) / 2, Math.ceil(Math.log10(high) * 2) / 2];
  return [10 ** bottom, 10 ** Math.max(top, bottom + 0.5)];
}

/** Returns no more points than can be told apart: each of some, and the last. */
function thinned(points) {
  const stride = Math.ceil(points.length / (2 * WIDTH));
  return points.filter((_, i) => i % stride === 0 || i === points.length - 1);
}

/** Returns the powers of ten within the ends. */
function powers(low, high) {
  const found = [];
  for (let exponent = Math.ceil(Math.log10(low) - 1e-9); 10 ** exponent <= high * 1.001; exponent++)
    found.push(10 ** exponent);
  return found;
}
