// All runs that the server knows, kept up to date by its events. Every view reads them here.

import * as api from "./api.js";

const known = new Map();
const watchers = new Set();
let source = null;
let ready = null;

/** Milliseconds before the server is asked for its events again. */
const PAUSE = 2000;

/** States in which a run has not ended. */
const OPEN = ["waiting", "running", "stopping"];

export const isOpen = (run) => OPEN.includes(run.state);
export const isActive = (run) => run.state === "running" || run.state === "stopping";

/** Returns a run, or undefined. */
export const get = (id) => known.get(id);

/** Returns a run's title: the names of its pictures, without what their files are. */
export const titleOf = (run) =>
  run.title.replace(/\.(avif|bmp|gif|hei[cf]|jp2|jpe?g|png|ppm|tga|tiff?|webp)\b/gi, "").replace(" x ", " × ");

/** Returns the runs that run or wait, in their order. */
export function queue() {
  const open = [...known.values()].filter(isOpen);
  return open.sort((a, b) => (a.position ?? 0) - (b.position ?? 0));
}

/** Returns the runs that have ended, the latest first. */
export function ended() {
  const all = [...known.values()].filter((run) => !isOpen(run));
  return all.sort((a, b) => (b.ended ?? b.created).localeCompare(a.ended ?? a.created));
}

/** Returns the run that is painted now, or undefined. */
export const active = () => queue().find(isActive);

/**
 * Calls `change(kind, id, more)` whenever something happens: kind is "run", "step", "tile", "preview", "removed",
 * "all", "connection", or "refused" where the server does not know this page. Returns a function that ends it.
 */
export function watch(change) {
  watchers.add(change);
  return () => watchers.delete(change);
}

function tell(kind, id, more) {
  for (const watcher of [...watchers]) watcher(kind, id, more);
}

/** Takes over what an answer of the server says of a run. */
export function learn(run) {
  const before = known.get(run.id);
  known.set(run.id, run);
  tell("run", run.id, { before: before?.state });
  return run;
}

/** Leaves out a run that was removed. */
export function forget(id) {
  if (known.delete(id)) tell("removed", id);
}

/** Whether events arrive. */
export let connected = false;

async function fetchAll() {
  const all = await api.runs();
  known.clear();
  for (const run of all) known.set(run.id, run);
  tell("all", null);
}

function connect() {
  if (source) return;
  source = new EventSource("/api/events");
  source.onopen = () => {
    connected = true;
    tell("connection", null);
    ready = fetchAll().catch(() => {});
  };
  source.onerror = () => {
    connected = false;
    tell("connection", null);
    if (source?.readyState === EventSource.CLOSED) askWhy();
  };
  const on = (name, work) => source.addEventListener(name, (event) => work(JSON.parse(event.data)));
  on("run", learn);
  on("step", ({ run, step }) => {
    const own = known.get(run);
    if (own) own.step = step;
    tell("step", run, step);
  });
  on("tile", (tile) => tell("tile", tile.run, tile));
  on("preview", ({ run, version }) => {
    const own = known.get(run);
    if (own) own.preview = version;
    tell("preview", run);
  });
  on("removed", ({ run }) => forget(run));
  on("lost", () => fetchAll().catch(() => {}));
}

/** The server has refused the stream, after which a browser does not try again: this may be another server by now. */
async function askWhy() {
  disconnect();
  try {
    await fetchAll();
  } catch (error) {
    if (error.status === 401) {
      tell("refused", null);
      return;
    }
  }
  setTimeout(connect, PAUSE);
}

function disconnect() {
  source?.close();
  source = null;
}

/**
 * Begins to watch the server. A page that nobody sees does not: a browser has few connections to one server, and
 * several pages may be open.
 */
export async function begin() {
  connect();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) disconnect();
    else connect();
  });
  ready ??= fetchAll();
  await ready;
}
