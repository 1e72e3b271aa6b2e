// A run: the picture while it grows, and when it is done.

import * as api from "./api.js";
import { facts } from "./compose.js";
import { load } from "./draft.js";
import { h, replace } from "./dom.js";
import { Losses, Plot } from "./plot.js";
import { get, isActive, isOpen, learn, titleOf, watch } from "./runs.js";
import { duration, number, percent, plural, size, t } from "./texts.js";
import { Viewer } from "./viewer.js";

/** Returns the view of a run. */
export function showRun(id, shell) {
  const view = new RunView(id, shell);
  return {
    element: view.element,
    title: view.run ? titleOf(view.run) : t("run.missing"),
    focus: view.heading,
    close: () => view.close(),
  };
}

const STATES = {
  waiting: () => t("state.waiting"),
  running: () => t("state.running"),
  stopping: () => t("state.stopping"),
  done: () => t("state.done"),
  stopped: () => t("state.stopped"),
  cancelled: () => t("state.cancelled"),
  failed: () => t("state.failed"),
};

/** Returns a run's state in words. */
export const stateOf = (run) => STATES[run.state]?.() ?? run.state;

class RunView {
  constructor(id, shell) {
    this.id = id;
    this.shell = shell;
    this.heading = h("h1", { tabindex: "-1" });
    this.element = h("div.run");
    if (!this.run) {
      this.heading.textContent = t("run.missing");
      replace(this.element, this.heading, h("p", {}, h("a", { href: "#/" }, t("run.to.compose"))));
      return;
    }
    const { estimate, request } = this.run;
    const title = titleOf(this.run);
    this.heading.textContent = title;
    this.viewer = new Viewer(t("viewer.before.alt"), t("viewer.after.alt", { title }));
    this.viewer.setSize(estimate.width, estimate.height);
    this.viewer.setImage(0, api.place.shown(request.content));
    this.state = h("p.state");
    this.bar = h("progress", { "aria-label": t("run.progress") });
    this.left = h("p.time");
    this.place = h("p.figures");
    this.plot = new Plot();
    this.buttons = h("div.buttons");
    this.error = h("p.problem", { role: "alert" });
    this.messages = h("div.messages");
    this.facts = h("div");
    this.command = h("code");
    this.losses = new Losses();
    this.element.append(
      this.viewer.element,
      h(
        "aside",
        { "aria-label": t("run.panel") },
        this.heading,
        this.state,
        this.left,
        this.bar,
        this.place,
        this.error,
        this.buttons,
        this.plot.element,
        this.facts,
        h(
          "div",
          {},
          this.messages,
          h(
            "details.more",
            {},
            h("summary", {}, t("command.title")),
            h(
              "div.command",
              {},
              this.command,
              h(
                "button.quiet",
                { type: "button", onclick: () => shell.copy(this.command.textContent) },
                t("command.copy"),
              ),
            ),
          ),
        ),
      ),
    );
    this.unwatch = watch((kind, changed, more) => this.hear(kind, changed, more));
    this.update();
    this.recallLosses();
  }

  get run() {
    return get(this.id);
  }

  close() {
    this.closed = true;
    this.unwatch?.();
  }

  hear(kind, id, more) {
    if (kind === "all") {
      if (!this.run) return this.shell.go("gallery");
      this.recallLosses(); // some may have been missed
      return this.update();
    }
    if (id !== this.id) return undefined;
    if (kind === "removed") return this.shell.go("gallery");
    if (kind === "run") {
      if (more.before !== this.run.state) this.shell.announce(t("run.now", { state: stateOf(this.run) }));
      return this.update();
    }
    if (kind === "preview") return this.showPicture();
    if (kind === "tile") this.tile = more;
    if (kind === "step") {
      this.tile = null;
      if (this.complete) this.losses.add(more);
      else this.held?.push(more);
      this.announceStep(more);
    }
    return this.updateProgress();
  }

  /** Says how far it is, at every quarter and at every stage. */
  announceStep(step) {
    const quarter = Math.floor((4 * step.evaluation) / step.evaluations);
    if (quarter === this.quarter && step.stage === this.stage) return;
    if (this.quarter !== undefined && isActive(this.run)) this.shell.announce(this.where(step));
    [this.quarter, this.stage] = [quarter, step.stage];
  }

  /** Reads the losses so far; what arrives meanwhile is added after them. */
  async recallLosses() {
    this.complete = false;
    if (this.run.state === "waiting" && !this.run.step) {
      this.complete = true;
      return;
    }
    this.held = [];
    const earlier = await api.log(this.id).catch(() => []);
    this.losses = new Losses();
    for (const step of [...earlier, ...(this.held ?? [])]) this.losses.add(step);
    this.complete = true;
    this.held = null;
    if (!this.closed) this.updateProgress();
  }

  update() {
    const { run } = this;
    this.state.textContent =
      run.state === "waiting" ? plural(run.position ?? 1, "run.position.one", "run.position.many") : stateOf(run);
    this.state.className = `state ${run.state}`;
    this.element.classList.toggle("active", isActive(run));
    this.error.textContent = run.error ?? "";
    this.command.textContent = run.command;
    this.drawButtons();
    this.updateProgress();
    this.showPicture();
    this.showFacts();
    replace(
      this.messages,
      run.messages.length
        ? h("details.more", {}, h("summary", {}, t("run.messages")), h("pre", {}, run.messages.join("\n")))
        : null,
    );
  }

  showPicture() {
    const { run, viewer } = this;
    const address = run.result ? api.place.result(run.id) : run.preview ? api.place.preview(run.id, run.preview) : null;
    if (run.result) viewer.setSize(run.result.width, run.result.height);
    if (address && address !== this.shown) viewer.setImage(1, address);
    this.shown = address;
  }

  where(step) {
    const parts = [t("run.evaluation", { evaluation: number(step.evaluation), evaluations: number(step.evaluations) })];
    if (step.stages > 1)
      parts.push(t("run.stage", { stage: step.stage, stages: step.stages, size: size(step.width, step.height) }));
    return parts.join(" · ");
  }

  updateProgress() {
    const { run } = this;
    if (!run) return;
    const { step, estimate } = run;
    const open = isOpen(run);
    this.bar.hidden = !open;
    this.left.hidden = !open;
    this.place.hidden = !open;
    const evaluations = step?.evaluations ?? estimate.evaluations;
    this.bar.max = evaluations;
    if (step || !isActive(run)) this.bar.value = step?.evaluation ?? 0;
    else this.bar.removeAttribute("value");
    const left = step?.left ?? (step ? null : estimate.seconds);
    this.left.textContent =
      left === null || left === undefined ? t("run.soon") : t("run.left", { time: duration(left) });
    const tile =
      this.tile && this.tile.tiles > 1 ? t("run.tile", { tile: this.tile.tile, tiles: this.tile.tiles }) : null;
    const where = step ? this.where(step) : isActive(run) ? t("run.begins") : "";
    this.place.textContent = [where, tile].filter(Boolean).join(" · ");
    this.plot.show(this.losses, evaluations);
  }

  drawButtons() {
    const { run } = this;
    const names = this.names();
    const key = JSON.stringify([run.state, names]);
    if (key === this.drawn) return; // the focus stays where it is
    this.drawn = key;
    const had = this.buttons.contains(document.activeElement);
    replace(
      this.buttons,
      names.map((name) => this.button(name)),
    );
    if (had) (this.buttons.querySelector("a, button:not([disabled])") ?? this.heading).focus();
  }

  /** Returns the names of the buttons that a run in this state has. */
  names() {
    const { state, result, can_resume: canResume } = this.run;
    if (state === "waiting") return ["cancel"];
    if (state === "running") return ["stop", "cancel"];
    if (state === "stopping") return ["cancel"];
    const names = result ? ["png", "jpg"] : [];
    if (canResume) names.unshift("resume");
    if (result) names.push("longer");
    return [...names, "change", "remove"];
  }

  button(name) {
    const { run, shell } = this;
    const act = (work) => async () => {
      try {
        await work();
      } catch (error) {
        this.error.textContent = error.message;
      }
    };
    const make = (text, work, kind = "") => h(`button${kind}`, { type: "button", onclick: act(work) }, text);
    const link = (text, suffix, kind = "") =>
      h(`a.button${kind}`, { href: api.place.download(run.id, suffix), download: "" }, text);
    switch (name) {
      case "png":
        return link(t("run.png"), "png", run.state === "done" ? ".primary" : "");
      case "jpg":
        return link(t("run.jpg"), "jpg");
      case "stop":
        return make(t("run.stop"), async () => learn(await api.stop(run.id)), ".primary");
      case "resume":
        return make(t("run.resume"), async () => learn(await api.resume(run.id)), ".primary");
      case "longer":
        return make(t("run.longer"), async () =>
          shell.go(`run/${learn(await api.resume(run.id, { evaluations: this.run.estimate.evaluations })).id}`),
        );
      case "change":
        return make(t("run.change"), async () => {
          await load(run.request);
          shell.go("");
        });
      case "remove":
        return make(
          t("run.remove"),
          async () => {
            if (!(await shell.confirm(t("run.remove.sure"), t("run.remove")))) return;
            await api.remove(run.id);
            shell.go("gallery");
          },
          ".quiet",
        );
      default:
        return make(
          t("run.cancel"),
          async () => {
            if (isActive(this.run) && !(await shell.confirm(t("run.cancel.sure"), t("run.cancel")))) return;
            learn(await api.cancel(run.id));
          },
          ".quiet",
        );
    }
  }

  showFacts() {
    const { run } = this;
    const { result, request } = run;
    if (isOpen(run) || !result) {
      replace(this.facts);
      return;
    }
    const lines = [
      [t("details.size"), size(result.width, result.height)],
      [t("details.recipe"), request.options?.recipe ?? t("details.default")],
      [t("details.evaluations"), number(result.evaluations)],
      [
        t("details.loss"),
        result.share === null
          ? number(result.loss)
          : t("details.share", { loss: number(result.loss), share: percent(result.share) }),
      ],
      [t("details.seconds"), duration(result.seconds)],
      [t("details.reason"), result.reason],
      [t("details.device"), result.device],
    ];
    replace(this.facts, facts(lines));
  }
}
