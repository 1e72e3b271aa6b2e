// The first view: a photograph, paintings, a few choices, what they would take, and the button that begins.

import * as api from "./api.js";
import {
  changed,
  colorOf,
  draft,
  isWhole,
  load,
  removeStyle,
  request,
  setContent,
  setOption,
  setStyle,
  watch,
} from "./draft.js";
import { afterRest, field, h, icon, iconButton, replace } from "./dom.js";
import { countChanged, find, further, input } from "./options.js";
import { openPainter } from "./painter.js";
import { active, learn, watch as watchRuns } from "./runs.js";
import { bytes, duration, moment, number, plural, size, t } from "./texts.js";

/** Returns the view. `choices` is what the server offers; `shell` is the page around the views: see main.js. */
export function compose(choices, shell) {
  const view = new Compose(choices, shell);
  return {
    element: view.element,
    title: t("compose.name"),
    focus: view.heading,
    close: () => view.close(),
    take: (files) => view.take(files),
  };
}

class Compose {
  constructor(choices, shell) {
    this.choices = choices;
    this.shell = shell;
    this.heading = h("h1", { tabindex: "-1" }, t("compose.title"));
    this.made = h("section.made", { hidden: true, "aria-label": t("made.title") });
    this.photograph = h("section.place", { "aria-label": t("photograph.name") });
    this.paintings = h("section.place", { "aria-label": t("painting.name") });
    this.problem = h("p.problem", { role: "alert" });
    this.settings = h("div.settings");
    this.masks = h("div.masks");
    this.further = h("div");
    this.more = h("details.more", { ontoggle: () => this.renderFurther() }, h("summary"), this.further);
    this.command = h("code");
    this.copy = h(
      "button.quiet",
      { type: "button", onclick: () => shell.copy(this.command.textContent) },
      t("command.copy"),
    );
    this.asCommand = h(
      "details.more",
      { hidden: true },
      h("summary", {}, t("command.title")),
      h("div.command", {}, this.command, this.copy),
    );
    this.foreseen = h("div.foreseen", { role: "status" });
    this.button = h("button.primary", { type: "button", onclick: () => this.paint() });
    this.element = h(
      "div.compose",
      {},
      this.heading,
      this.made,
      h("div.places", {}, this.photograph, this.paintings),
      this.problem,
      h("section.choices", { "aria-label": t("choices.name") }, this.settings, this.masks, this.more, this.asCommand),
      h("div.begin", {}, this.foreseen, this.button),
    );
    this.estimate = afterRest(200, () => this.askEstimate());
    const unwatch = [
      watch((isOther) => this.update(isOther)),
      watchRuns((kind) => kind !== "step" && this.nameButton()),
    ];
    this.unwatch = () => unwatch.forEach((end) => end());
    this.renderSettings();
    this.update();
  }

  close() {
    this.unwatch();
    this.asking?.abort();
    this.closed = true;
  }

  /** Draws what depends on the draft, as far as it has changed. */
  update(isOther = false) {
    const pictures = JSON.stringify([
      draft.content?.id,
      draft.styles.map((style) => [style.picture.id, style.mask]),
      draft.contentMask,
      draft.protect,
    ]);
    if (pictures !== this.drawn) {
      this.drawn = pictures;
      this.renderPhotograph();
      this.renderPaintings();
      this.renderMasks();
    }
    if (isOther) {
      this.renderSettings();
      this.renderFurther();
    } else this.describeRecipe();
    const count = countChanged();
    replace(
      this.more.firstChild,
      t("more.title"),
      count ? h("span.count", {}, plural(count, "more.one", "more.many")) : null,
    );
    this.nameButton();
    this.button.setAttribute("aria-disabled", String(!isWhole()));
    if (!isWhole())
      this.showForeseen([
        h(
          "p.next",
          {},
          draft.content
            ? t("compose.needs.painting")
            : draft.styles.length
              ? t("compose.needs.photograph")
              : t("compose.needs.both"),
        ),
      ]);
    else if (this.foreseen.querySelector(".next")) this.showForeseen([]); // it holds no longer; an estimate follows
    this.estimate();
  }

  nameButton() {
    this.button.textContent = active() ? t("compose.queue") : t("compose.paint");
  }

  showForeseen(lines, isBad = false) {
    this.foreseen.classList.toggle("bad", isBad);
    replace(this.foreseen, lines);
  }

  async askEstimate() {
    this.asking?.abort();
    if (!isWhole() || this.closed) {
      this.asCommand.hidden = true;
      return;
    }
    const asking = (this.asking = new AbortController());
    try {
      const { estimate, messages, command } = await api.estimate(request(), asking.signal);
      const about =
        estimate.seconds === null ? t("estimate.unknown") : t("estimate.about", { time: duration(estimate.seconds) });
      const figures = [
        size(estimate.width, estimate.height),
        plural(estimate.evaluations, "evaluations.one", "evaluations.many"),
      ];
      if (estimate.stages > 1) figures.push(plural(estimate.stages, "stages.one", "stages.many"));
      if (estimate.memory) figures.push(t("estimate.memory", { bytes: bytes(estimate.memory) }));
      this.showForeseen(
        [
          h("p.time", {}, about),
          h("p.figures", {}, figures.join(" · ")),
          messages.slice(0, -1).map((message) => h("p.figures", {}, withNames(message))),
        ],
        !estimate.fits,
      );
      this.command.textContent = command;
      this.asCommand.hidden = false;
    } catch (error) {
      if (error.name === "AbortError") return;
      this.showForeseen([h("p.next", {}, error.message)], true);
      this.asCommand.hidden = true;
    }
  }

  async paint() {
    if (!isWhole()) {
      this.shell.announce(this.foreseen.textContent);
      this.element.querySelector(".drop input")?.focus();
      return;
    }
    if (this.sending) return;
    this.sending = true;
    this.button.setAttribute("aria-busy", "true");
    try {
      const run = learn(await api.submit(request()));
      if (!this.closed) this.shell.go(`run/${run.id}`);
    } catch (error) {
      this.showForeseen([h("p.next", {}, error.message)], true);
    } finally {
      this.sending = false;
      this.button.removeAttribute("aria-busy");
    }
  }

  // The two places

  renderPhotograph() {
    const picture = draft.content;
    const title = h("div.heading", {}, h("h2", {}, t("photograph.name")));
    if (!picture) {
      replace(
        this.photograph,
        title,
        this.drop("photograph", t("photograph.drop"), false, (files) => this.take(files, "content")),
        this.samples("content"),
      );
      return;
    }
    replace(
      this.photograph,
      title,
      this.target(shown(picture, t("photograph.alt", { name: picture.name })), (files) => this.take(files, "content")),
      this.caption(picture, [
        this.chooser(t("picture.replace"), t("picture.replace.label", { name: picture.name }), false, (files) =>
          this.take(files, "content"),
        ),
        iconButton("close", t("picture.remove", { name: picture.name }), () => {
          setContent(null);
          this.photograph.querySelector("input").focus();
        }),
      ]),
    );
  }

  renderPaintings() {
    const add = (files) => this.take(files, "style");
    const several = draft.styles.length > 1;
    const room = draft.styles.length && draft.styles.length < this.choices.limits.styles;
    const title = h(
      "div.heading",
      {},
      h("h2", {}, several ? t("painting.several") : t("painting.name")),
      room ? this.chooser([icon("plus"), t("painting.add")], null, true, add) : null,
    );
    if (!draft.styles.length) {
      replace(this.paintings, title, this.drop("painting", t("painting.drop"), true, add), this.samples("style"));
      return;
    }
    const items = draft.styles.map((style, i) => {
      const { picture } = style;
      const remove = iconButton("close", t("picture.remove", { name: picture.name }), () => {
        removeStyle(i);
        (this.paintings.querySelector("ul button") ?? this.paintings.querySelector("input")).focus();
      });
      const instead = this.chooser(
        t("picture.replace"),
        t("picture.replace.label", { name: picture.name }),
        false,
        (files) => this.take(files, i),
      );
      return h(
        "li",
        {},
        this.target(shown(picture, t("painting.alt", { name: picture.name })), (files) => this.take(files, i)),
        this.caption(picture, [instead, remove], draft.contentMask ? style.mask : null),
        several ? this.share(style) : null,
      );
    });
    replace(this.paintings, title, h("ul", { class: several ? "paintings several" : "paintings" }, items));
  }

  caption(picture, actions, mask = null) {
    const chip = typeof mask === "string" ? h("span.chip") : null;
    if (chip) chip.style.background = mask;
    return h(
      "div.caption",
      {},
      h(
        "p",
        {},
        chip,
        h("b", { title: picture.name }, picture.name),
        h("span", {}, size(picture.width, picture.height)),
      ),
      h("div.actions", {}, actions),
    );
  }

  share(style) {
    const text = h("output");
    const show = () => {
      const whole = draft.styles.reduce((sum, other) => sum + other.share, 0);
      text.textContent = number(style.share / (whole || 1), "percent");
    };
    const control = h("input", {
      type: "range",
      min: "0.05",
      max: "1",
      step: "0.05",
      value: style.share,
      oninput: () => {
        style.share = Number(control.value);
        changed();
      },
    });
    const unwatch = watch(() => (text.isConnected ? show() : unwatch()));
    show();
    const whole = field(t("painting.share", { name: style.picture.name }), control, null, "field.share");
    whole.append(text);
    return whole;
  }

  /** Returns an empty place: a file may be dropped on it, and choosing one is a click, or the space bar. */
  drop(kind, text, many, take) {
    const chooser = this.file(many, take, kind === "photograph" ? t("photograph.choose") : t("painting.choose"));
    return this.target(h("label.drop", {}, chooser, icon(kind), h("b", {}, text), h("span", {}, t("drop.hint"))), take);
  }

  file(many, take, label) {
    const element = h("input.unseen", {
      type: "file",
      accept: this.choices.accept,
      multiple: many,
      "aria-label": label,
      onchange: () => {
        const files = [...element.files];
        element.value = "";
        take(files);
      },
    });
    return element;
  }

  chooser(text, label, many, take) {
    return h("label.chooser.quiet", {}, this.file(many, take, label), text);
  }

  /** Makes an element take what is dropped on it. */
  target(element, take) {
    element.addEventListener("dragover", () => element.classList.add("over"));
    element.addEventListener("dragleave", () => element.classList.remove("over"));
    element.addEventListener("drop", (event) => {
      element.classList.remove("over");
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      event.stopPropagation();
      take([...event.dataTransfer.files]);
    });
    return element;
  }

  samples(role) {
    const own = this.choices.samples.filter((sample) => sample.sample === role);
    if (!own.length) return null;
    const set = (sample) => (role === "content" ? setContent(sample) : setStyle(sample));
    return h(
      "p.samples",
      {},
      h("span", {}, t("samples.title")),
      own.map((sample) =>
        h(
          "button.sample",
          { type: "button", onclick: () => this.filled(() => set(sample)) },
          h("img", { src: api.place.thumbnail(sample.id), alt: "" }),
          h("span", {}, sample.name.replace(/\.\w+$/, "")),
        ),
      ),
    );
  }

  /** Changes the draft, and then moves the focus on: to the place that is still empty, or to the button. */
  filled(change) {
    change();
    (this.element.querySelector(".drop input") ?? this.button).focus({ preventScroll: true });
  }

  /**
   * Takes files: for the photograph ("content"), as more paintings ("style"), in the place of the painting of a number,
   * or where there is room.
   */
  async take(files, where = null) {
    this.problem.textContent = "";
    for (const file of files) {
      if (file.size > this.choices.limits.bytes) {
        this.problem.textContent = t("upload.large", { name: file.name, most: bytes(this.choices.limits.bytes) });
        continue;
      }
      const at = where ?? (draft.content ? "style" : "content");
      this.shell.announce(t("upload.reading", { name: file.name }));
      this.element.classList.add("reading");
      try {
        const picture = await api.upload(file.name, file);
        this.shell.announce(t("upload.read", { name: picture.name, size: size(picture.width, picture.height) }));
        if (picture.record && files.length === 1) this.showMade(picture, at);
        else this.put(picture, at);
      } catch (error) {
        this.problem.textContent = t("upload.refused", { name: file.name, error: error.message });
      } finally {
        this.element.classList.remove("reading");
      }
      if (where === "content" || typeof where === "number") break;
    }
    await this.refreshMade();
  }

  put(picture, at) {
    if (at === "content") this.filled(() => setContent(picture));
    else if (at === "style" && draft.styles.length >= this.choices.limits.styles) {
      this.problem.textContent = plural(this.choices.limits.styles, "upload.most.one", "upload.most.many");
    } else this.filled(() => setStyle(picture, at === "style" ? undefined : at));
  }

  // A picture that was made here

  showMade(picture, at) {
    this.given = { picture, at };
    const { record } = picture;
    const again = async () => {
      await load(record.request);
      this.hideMade();
    };
    const goOn = async () => {
      await load({ ...record.request, options: { ...record.request.options, init: { picture: picture.id } } });
      this.hideMade();
    };
    const use = () => {
      this.hideMade();
      this.put(picture, at);
    };
    const title = h("h2", { tabindex: "-1" }, t("made.title"));
    const lines = [
      [t("made.date"), moment(record.date)],
      [t("details.size"), size(picture.width, picture.height)],
      [t("details.evaluations"), number(record.evaluations)],
      [t("details.loss"), number(record.loss)],
      [t("details.seconds"), duration(record.seconds)],
      [t("details.reason"), record.reason],
      ...Object.entries(record.request.options)
        .filter(([, value]) => value !== null && typeof value !== "object")
        .map(([name, value]) => [name.replaceAll("_", " "), String(value)]),
    ];
    const ready = !record.missing.length;
    replace(
      this.made,
      h("img", { src: api.place.thumbnail(picture.id), alt: picture.name }),
      h(
        "div",
        {},
        title,
        h(
          "p",
          {},
          ready
            ? t("made.ready", { name: picture.name })
            : t("made.missing", { name: picture.name, missing: record.missing.join(", ") }),
        ),
        h(
          "div.buttons",
          {},
          h("button", { type: "button", onclick: again }, ready ? t("made.again") : t("made.fill")),
          h("button", { type: "button", onclick: goOn }, t("made.on")),
          h(
            "button.quiet",
            { type: "button", onclick: use },
            at === "content" ? t("made.photograph") : t("made.painting"),
          ),
          h("button.quiet", { type: "button", onclick: () => this.hideMade() }, t("made.close")),
        ),
        h(
          "details.more",
          {},
          h("summary", {}, t("made.details")),
          facts(lines),
          h("div.command", {}, h("code", {}, record.command)),
        ),
      ),
    );
    this.made.hidden = false;
    title.focus();
  }

  hideMade() {
    this.given = null;
    this.made.hidden = true;
    this.heading.focus();
  }

  /** Looks again for the inputs of a picture that was made here: the one that was missing may have come. */
  async refreshMade() {
    if (!this.given?.picture.record.missing.length) return;
    const picture = await api.picture(this.given.picture.id).catch(() => null);
    if (this.given && picture?.record && picture.record.missing.length < this.given.picture.record.missing.length)
      this.showMade(picture, this.given.at);
  }

  // Choices

  /** The recipe that the draft names, or the default one. */
  get recipe() {
    const { recipes } = this.choices;
    const wanted = draft.options.recipe;
    return recipes.find((one) => (wanted ? one.name === wanted : one.default)) ?? recipes[0];
  }

  renderSettings() {
    const { recipes } = this.choices;
    const choice = h(
      "select",
      {
        onchange: ({ target }) => {
          const { name, default: isDefault } = recipes[target.selectedIndex];
          setOption("recipe", isDefault ? undefined : name);
        },
      },
      recipes.map((one) => h("option", { value: one.name, selected: one === this.recipe }, one.name)),
    );
    this.evaluations = input(find(this.choices, "evaluations"), { inputmode: "numeric" });
    this.sizeDefault = h("option", { value: "" });
    const recipe = field(t("recipe.name"), choice, "");
    this.description = recipe.lastChild;
    replace(
      this.settings,
      this.sizeField(),
      recipe,
      this.colorsField(),
      this.rangedField("boldness", [-1, 1, 0.1], 0, "decimal", t("boldness.name"), t("boldness.hint")),
      this.rangedField("strength", [0, 1, 0.05], 1, "percent", t("strength.name"), t("strength.hint")),
      field(t("evaluations.name"), this.evaluations, t("evaluations.hint")),
    );
    this.describeRecipe();
  }

  /** Says what the recipe is, and what it would choose. */
  describeRecipe() {
    this.description.textContent = this.recipe.description;
    this.evaluations.placeholder = this.recipe.evaluations;
    this.sizeDefault.textContent = t("size.default", { size: this.recipe.size });
  }

  sizeField() {
    const own = draft.options.size;
    const sizes = [
      ["256", t("size.small")],
      ["512", t("size.medium")],
      ["1024", t("size.large")],
      ["2048", t("size.huge")],
      ["content", t("size.content")],
    ];
    const isOther = own !== undefined && !sizes.some(([value]) => value === own);
    const other = h("input", {
      type: "text",
      "aria-label": t("size.other.label"),
      placeholder: t("size.other.hint"),
      hidden: !isOther,
      value: isOther ? own : "",
      onchange: () => setOption("size", other.value.trim() || undefined),
    });
    const choice = h(
      "select",
      {
        onchange: () => {
          other.hidden = choice.value !== "other";
          if (other.hidden) setOption("size", choice.value || undefined);
        },
      },
      this.sizeDefault,
      sizes.map(([value, text]) => h("option", { value, selected: value === own }, text)),
      h("option", { value: "other", selected: isOther }, t("size.other")),
    );
    const whole = field(t("size.name"), choice, t("size.hint"));
    choice.after(other);
    return whole;
  }

  colorsField() {
    const option = find(this.choices, "colors");
    const names = {
      style: t("colors.style"),
      keep: t("colors.keep"),
      "keep-pixels": t("colors.pixels"),
      match: t("colors.match"),
      "match-lab": t("colors.lab"),
    };
    const hints = {
      style: t("colors.style.hint"),
      keep: t("colors.keep.hint"),
      "keep-pixels": t("colors.pixels.hint"),
      match: t("colors.match.hint"),
      "match-lab": t("colors.lab.hint"),
    };
    const chosen = draft.options.colors ?? option.default;
    const choice = h(
      "select",
      {
        onchange: ({ target: { value } }) => {
          hint.textContent = hints[value] ?? "";
          setOption("colors", value === option.default ? undefined : value);
        },
      },
      option.choices.map((value) => h("option", { value, selected: value === chosen }, names[value] ?? value)),
    );
    const whole = field(t("colors.name"), choice, hints[chosen] ?? "");
    const hint = whole.lastChild;
    return whole;
  }

  /** Returns a slider for an option that is a number from `min` to `max`, and is left out where it is `usual`. */
  rangedField(option, [min, max, step], usual, style, name, hint) {
    const text = h("output");
    const show = () => (text.textContent = number(Number(control.value), style));
    const control = h("input", {
      type: "range",
      min,
      max,
      step,
      value: draft.options[option] ?? usual,
      oninput: show,
      onchange: () => setOption(option, Number(control.value) === usual ? undefined : Number(control.value)),
    });
    show();
    const whole = field(name, control, hint, "field.ranged");
    control.before(text);
    return whole;
  }

  renderMasks() {
    const edit = (start) => openPainter(this.choices, this.shell, start);
    const row = (name, hint, isSet, start, clear) =>
      h(
        "div.row",
        {},
        h("div", {}, h("b", {}, name), h("p.hint", {}, hint)),
        h(
          "div.actions",
          {},
          h("button", { type: "button", onclick: () => edit(start) }, isSet ? t("mask.edit") : t("mask.paint")),
          isSet
            ? iconButton("close", t("mask.remove", { name }), () => {
                clear();
                changed();
                this.masks.querySelector("button").focus();
              })
            : null,
        ),
      );
    const rows = [];
    if (isWhole()) {
      rows.push(
        row(
          t("regions.name"),
          draft.contentMask ? t("regions.set") : t("regions.hint"),
          draft.contentMask,
          "content",
          () => {
            draft.contentMask = null;
            draft.styles.forEach((style, i) => (style.mask = colorOf(i)));
            draft.strengths = {};
          },
        ),
      );
      if (find(this.choices, "protect"))
        rows.push(
          row(
            t("protect.name"),
            draft.protect ? t("protect.set") : t("protect.hint"),
            draft.protect,
            "protect",
            () => (draft.protect = null),
          ),
        );
    }
    replace(this.masks, rows);
  }

  renderFurther() {
    if (!this.more.open) return;
    replace(
      this.further,
      further(this.choices, (message) => (this.problem.textContent = message)),
    );
  }
}

/** Returns what the command line says, with the names of paintings in the place of the colours of their regions. */
function withNames(message) {
  return draft.styles.reduce(
    (text, { mask, picture }) => (typeof mask === "string" ? text.replaceAll(mask, picture.name) : text),
    message,
  );
}

/** Returns a picture in its own proportions. */
function shown(picture, alt) {
  const element = h("div.filled", {}, h("img", { src: api.place.shown(picture.id), alt }));
  element.style.setProperty("--ratio", picture.width / picture.height);
  return element;
}

/** Returns a list of names and values. */
export function facts(lines) {
  return h(
    "dl.facts",
    {},
    lines.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}
