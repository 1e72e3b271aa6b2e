// The page around the views: signing in, the header, which view is shown, and what all views say and ask.

import * as api from "./api.js";
import { compose } from "./compose.js";
import { recall } from "./draft.js";
import { h, replace } from "./dom.js";
import { showGallery, showQueue } from "./gallery.js";
import { showRun } from "./run.js";
import * as runs from "./runs.js";
import { percent, t } from "./texts.js";

const spoken = h("p.unseen", { role: "status" });
const main = h("main", { id: "main" });
const now = h("a.now", { hidden: true });
const offline = h("p.offline", { role: "alert", hidden: true }, t("server.gone"));
const links = [
  ["", t("nav.paint")],
  ["queue", t("nav.queue")],
  ["gallery", t("nav.gallery")],
].map(([place, text]) => h("a", { href: `#/${place}` }, text));
const waiting = h("span.count");
links[1].append(waiting);

let view = null;
let choices = null;

/** What the views need of the page around them. */
const shell = { go, announce, copy, confirm };

function go(place) {
  if (location.hash !== `#/${place}`) history.pushState(null, "", `#/${place}`);
  show();
}

/** Has a screen reader say something. */
function announce(text) {
  spoken.textContent = "";
  setTimeout(() => (spoken.textContent = text), 50);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    announce(t("command.copied"));
    toast(t("command.copied"));
  } catch {
    toast(t("command.uncopied"));
  }
}

function toast(text) {
  const element = h("p.toast", { "aria-hidden": "true" }, text);
  document.body.append(element);
  setTimeout(() => element.remove(), 2500);
}

/** Asks whether something is to be done; returns the answer. */
function confirm(question, yes) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog.confirm",
      {
        "aria-label": question,
        onclose: () => {
          resolve(dialog.returnValue === "yes");
          dialog.remove();
        },
      },
      h(
        "form",
        { method: "dialog" },
        h("p", {}, question),
        h(
          "div.buttons",
          {},
          h("button.primary", { value: "yes" }, yes),
          h("button", { value: "", autofocus: true }, t("confirm.no")),
        ),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

function show(isFirst = false) {
  const [, place = "", id] = location.hash.split("/");
  view?.close();
  if (place === "run") view = showRun(id, shell);
  else if (place === "queue") view = showQueue(shell);
  else if (place === "gallery") view = showGallery(shell);
  else view = compose(choices, shell);
  replace(main, view.element);
  document.title = `${view.title} – impasto`;
  for (const link of links) {
    if (link.hash === `#/${place}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (isFirst !== true) {
    scrollTo(0, 0);
    view.focus.focus({ preventScroll: true });
  }
  showNow();
}

/** Shows in the header how many runs wait, and how far the present one is. */
function showNow() {
  const active = runs.active();
  const count = runs.queue().length;
  waiting.hidden = !count;
  replace(waiting, count, h("span.unseen", {}, t("nav.queue.count")));
  offline.hidden = runs.connected || !wasConnected;
  wasConnected ||= runs.connected;
  now.hidden = !active || location.hash === `#/run/${active.id}`;
  if (!active) return;
  now.href = `#/run/${active.id}`;
  const done = active.step ? active.step.evaluation / active.step.evaluations : 0;
  now.style.setProperty("--done", done);
  now.textContent = t("nav.now", { done: percent(done) });
}

let wasConnected = false;

/** Says that the server does not know this page: it has no token, or that of an earlier server. */
function refuse() {
  view?.close();
  view = null;
  offline.hidden = true;
  replace(main, h("div.list", {}, h("h1", {}, t("session.title")), h("p", {}, t("session.hint"))));
}

/** Exchanges the token in the address for a cookie, and takes it out of the address. */
async function signIn() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(null, "", location.pathname);
  await api.signIn(token);
}

function takeDropped(event) {
  const files = [...((event.clipboardData ?? event.dataTransfer)?.files ?? [])];
  if (!files.length || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  if (!view?.take) go("");
  view.take(files);
}

async function begin() {
  api.speak(t("server.gone"), t("server.failed"));
  const skip = h(
    "a.skip",
    {
      href: "#main",
      onclick: (event) => {
        event.preventDefault();
        view?.focus.focus();
      },
    },
    t("nav.skip"),
  );
  const logo = h(
    "a.logo",
    { href: "#/", "aria-label": t("nav.home") },
    h("img", { src: "icon.svg", alt: "", width: 28, height: 28 }),
    "impasto",
  );
  document.body.replaceChildren(
    skip,
    h("header", {}, logo, h("nav", { "aria-label": t("nav.name") }, links), now),
    offline,
    main,
    spoken,
  );
  try {
    await signIn();
    choices = await api.choices();
    await recall();
    await runs.begin();
  } catch (error) {
    if (error.status === 401) refuse();
    else replace(main, h("div.list", {}, h("h1", {}, t("server.title")), h("p", {}, error.message)));
    return;
  }
  runs.watch((kind) => (kind === "refused" ? refuse() : showNow()));
  addEventListener("hashchange", () => (location.hash.startsWith("#token=") ? location.reload() : show()));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", takeDropped);
  addEventListener("paste", takeDropped);
  show(true);
}

begin();
