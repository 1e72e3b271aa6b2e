// The queue, and the gallery of what was made.

import * as api from "./api.js";
import { h, iconButton, replace } from "./dom.js";
import { stateOf } from "./run.js";
import { ended, forget, isActive, learn, queue, titleOf, watch } from "./runs.js";
import { duration, number, plural, size, t } from "./texts.js";

/** Returns the view of the runs that run and wait. */
export function showQueue(shell) {
  const heading = h("h1", { tabindex: "-1" }, t("queue.title"));
  const list = h("ol.queue");
  const problem = h("p.problem", { role: "alert" });
  const nothing = h("p.nothing", {}, t("queue.empty"), " ", h("a", { href: "#/" }, t("queue.empty.link")));

  async function act(work) {
    problem.textContent = "";
    try {
      await work();
    } catch (error) {
      problem.textContent = error.message;
    }
  }

  function row(run, waiting) {
    const name = titleOf(run);
    const move = (by, icon, label) => {
      const allowed = run.position + by >= 1 && run.position + by <= waiting;
      return iconButton(
        icon,
        label,
        () =>
          act(async () => {
            await api.move(run.id, run.position + by);
            await refresh();
            shell.announce(t("queue.moved", { title: name, position: run.position + by }));
          }),
        { disabled: !allowed, "data-run": run.id, "data-icon": icon },
      );
    };
    const remove = iconButton("close", t("queue.remove", { title: name }), () =>
      act(async () => {
        if (isActive(run) && !(await shell.confirm(t("run.cancel.sure"), t("run.cancel")))) return;
        learn(await api.cancel(run.id));
        heading.focus();
        shell.announce(t("queue.removed", { title: name }));
      }),
    );
    const { estimate, step } = run;
    const about = [
      size(estimate.width, estimate.height),
      plural(estimate.evaluations, "evaluations.one", "evaluations.many"),
    ];
    if (estimate.seconds !== null) about.push(duration(estimate.seconds));
    const picture = run.preview ? api.place.preview(run.id, run.preview) : api.place.thumbnail(run.request.content);
    return h(
      "li",
      { class: isActive(run) ? "now" : "" },
      h("img", { src: picture, alt: "" }),
      h(
        "div.what",
        {},
        h("a", { href: `#/run/${run.id}` }, name),
        h(
          "p.hint",
          {},
          isActive(run) ? stateOf(run) : plural(run.position ?? 1, "run.position.one", "run.position.many"),
          " · ",
          about.join(" · "),
        ),
        isActive(run)
          ? h("progress", {
              max: step?.evaluations ?? estimate.evaluations,
              value: step?.evaluation ?? 0,
              "aria-label": t("run.progress"),
              "data-progress": run.id,
            })
          : null,
      ),
      h(
        "div.actions",
        {},
        isActive(run)
          ? null
          : [move(-1, "up", t("queue.up", { title: name })), move(1, "down", t("queue.down", { title: name }))],
        remove,
      ),
    );
  }

  function draw() {
    const runs = queue();
    const focused = document.activeElement?.dataset ?? {};
    const waiting = runs.filter((run) => run.position).length;
    replace(
      list,
      runs.map((run) => row(run, waiting)),
    );
    list.hidden = !runs.length;
    nothing.hidden = Boolean(runs.length);
    if (focused.run) {
      const same = [...list.querySelectorAll(`[data-run="${CSS.escape(focused.run)}"]`)];
      (
        same.find((button) => button.dataset.icon === focused.icon && !button.disabled) ??
        same.find((button) => !button.disabled)
      )?.focus();
    }
  }

  const refresh = async () => {
    for (const run of await api.runs()) learn(run);
  };

  const unwatch = watch((kind, id, step) => {
    if (kind === "step") {
      const bar = list.querySelector(`[data-progress="${CSS.escape(id)}"]`);
      if (bar) Object.assign(bar, { max: step.evaluations, value: step.evaluation });
    } else if (kind !== "tile" && kind !== "preview") draw();
  });
  draw();
  return {
    element: h("div.list", {}, heading, problem, list, nothing),
    title: t("queue.title"),
    focus: heading,
    close: unwatch,
  };
}

/** Returns the view of the runs that have ended. */
export function showGallery(shell) {
  const heading = h("h1", { tabindex: "-1" }, t("gallery.title"));
  const pictures = h("ul.gallery");
  const without = h("ul.queue");
  const unfinished = h("section", {}, h("h2", {}, t("gallery.without")), without);
  const problem = h("p.problem", { role: "alert" });
  const nothing = h("p.nothing", {}, t("gallery.empty"), " ", h("a", { href: "#/" }, t("queue.empty.link")));

  function tile(run) {
    const { width, height } = run.result;
    const element = h(
      "li",
      {},
      h(
        "a",
        { href: `#/run/${run.id}` },
        h("img", { src: api.place.made(run.id), alt: "", loading: "lazy", width, height }),
        h("span.title", {}, titleOf(run)),
        h("span.hint", {}, size(width, height), run.state === "done" ? null : ` · ${stateOf(run)}`),
      ),
    );
    element.style.setProperty("--ratio", Math.min(Math.max(width / height, 0.5), 3));
    return element;
  }

  function row(run) {
    const remove = iconButton("close", t("gallery.remove", { title: titleOf(run) }), async () => {
      try {
        await api.remove(run.id);
        forget(run.id);
        heading.focus();
      } catch (error) {
        problem.textContent = error.message;
      }
    });
    return h(
      "li",
      {},
      h("img", { src: api.place.thumbnail(run.request.content), alt: "" }),
      h(
        "div.what",
        {},
        h("a", { href: `#/run/${run.id}` }, run.title),
        h("p.hint", {}, stateOf(run), run.error ? ` · ${run.error}` : null),
      ),
      h("div.actions", {}, remove),
    );
  }

  function draw() {
    const runs = ended();
    const made = runs.filter((run) => run.result);
    const others = runs.filter((run) => !run.result);
    replace(pictures, made.map(tile));
    replace(without, others.map(row));
    pictures.hidden = !made.length;
    unfinished.hidden = !others.length;
    nothing.hidden = Boolean(runs.length);
    count.textContent = made.length
      ? plural(made.length, "gallery.one", "gallery.many", { count: number(made.length) })
      : "";
  }

  const count = h("p.hint");
  const unwatch = watch((kind) => ["run", "removed", "all"].includes(kind) && draw());
  draw();
  return {
    element: h("div.list", {}, heading, count, problem, pictures, unfinished, nothing),
    title: t("gallery.title"),
    focus: heading,
    close: unwatch,
  };
}
