// Every text of the page, and how numbers are written. Words in braces are values; tests compare keys and uses.

const TEXTS = {
  "nav.skip": "Skip to the page",
  "nav.home": "impasto: paint a picture",
  "nav.name": "Pages",
  "nav.paint": "Paint",
  "nav.queue": "Queue",
  "nav.queue.count": " in it",
  "nav.gallery": "Gallery",
  "nav.now": "Painting, {done}",

  "session.title": "Open the whole address",
  "session.hint":
    "The page opens only for those who have its token. Open the address that impasto serve has printed last, with all that follows the #.",
  "server.title": "The page cannot begin",
  "server.gone":
    "The server does not answer. Is impasto serve still running? This page goes on by itself when it is back.",
  "server.failed": "The server has failed",

  "compose.name": "Paint",
  "compose.title": "Repaint a photograph in the manner of a painting",
  "compose.paint": "Paint",
  "compose.queue": "Add to the queue",
  "compose.needs.both": "Give a photograph and a painting to begin.",
  "compose.needs.photograph": "Now a photograph.",
  "compose.needs.painting": "Now a painting.",

  "photograph.name": "Photograph",
  "photograph.drop": "Drop a photograph",
  "photograph.choose": "Choose a photograph",
  "photograph.alt": "The photograph {name}",
  "painting.name": "Painting",
  "painting.several": "Paintings",
  "painting.drop": "Drop a painting, or several",
  "painting.choose": "Choose one painting, or several to blend",
  "painting.alt": "The painting {name}",
  "painting.add": "Blend in another",
  "painting.share": "Share of {name}",
  "drop.hint": "or click to choose a file",
  "samples.title": "Or try a drawn sample",
  "picture.replace": "Replace",
  "picture.replace.label": "Replace {name}",
  "picture.remove": "Remove {name}",
  "upload.reading": "Reading {name}",
  "upload.read": "{name}, {size} pixels",
  "upload.large": "{name} is too large: at most {most} are taken.",
  "upload.refused": "{name}: {error}",
  "upload.most.one": "One painting is all that is taken.",
  "upload.most.many": "At most {count} paintings can be blended.",

  "choices.name": "How it is painted",
  "size.name": "Size",
  "size.hint": "The long side, in pixels",
  "size.default": "The recipe’s ({size})",
  "size.small": "Small (256)",
  "size.medium": "Medium (512)",
  "size.large": "Large (1024)",
  "size.huge": "Very large (2048)",
  "size.content": "The photograph’s own",
  "size.other": "Another size …",
  "size.other.label": "Long side in pixels, or width x height",
  "size.other.hint": "800 or 640x480",
  "recipe.name": "Recipe",
  "colors.name": "Colours",
  "colors.style": "The painting’s",
  "colors.keep": "The photograph’s",
  "colors.pixels": "The photograph’s, in place",
  "colors.match": "Matched",
  "colors.lab": "Matched in CIELAB",
  "colors.style.hint": "The painting’s colours come along",
  "colors.keep.hint": "Only light and dark are painted",
  "colors.pixels.hint": "Only light and dark are painted; each colour stays where it is",
  "colors.match.hint": "The painting takes the photograph’s colours first",
  "colors.lab.hint": "The painting takes the photograph’s colours first, as the eye compares them",
  "boldness.name": "Boldness",
  "boldness.hint": "From a hint of the painting, on the left, to its large forms first, on the right",
  "strength.name": "Strength",
  "strength.hint": "Less lets the photograph shine through",
  "evaluations.name": "Evaluations",
  "evaluations.hint": "More take longer and come closer",
  "evaluations.one": "{count} evaluation",
  "evaluations.many": "{count} evaluations",
  "stages.one": "{count} stage",
  "stages.many": "{count} stages",
  "estimate.about": "About {time}",
  "estimate.unknown": "Ready",
  "estimate.memory": "{bytes} of memory",
  "more.title": "More options",
  "more.one": "{count} changed",
  "more.many": "{count} changed",
  "option.default": "default: {value}",
  "option.usual": "as by default",
  "option.hint": "{help} Default: {value}.",
  "option.on": "on",
  "option.off": "off",
  "option.given": "a picture",
  "option.choose": "a picture …",
  "command.title": "As a command",
  "command.copy": "Copy",
  "command.copied": "Copied",
  "command.uncopied": "The browser did not allow that: select the text and copy it",

  "regions.name": "Regions",
  "regions.hint": "Which painting paints where",
  "regions.set": "Each painting has its own part of the photograph",
  "regions.paint": "Paint region",
  "regions.region": "{region}: {names}",
  "regions.strength": "Strength of region {region}",
  "regions.add": "Another region",
  "regions.none": "{region}: no painting yet",
  "regions.whole": "All of it to region {region}",
  "regions.by.hand": "Parts, marked by hand",
  "regions.of.painting": "What it gives",
  "protect.name": "Protected",
  "protect.title": "Protect parts of the photograph",
  "protect.hint": "What is to stay as it is",
  "protect.set": "Parts of the photograph stay as they are",
  "protect.help": "Paint white over what is to keep the photograph’s content.",
  "protect.kept": "protected",
  "protect.free": "painted",
  "mask.paint": "Mark …",
  "mask.edit": "Change …",
  "mask.remove": "Remove: {name}",
  "mask.file.content": "regions.png",
  "mask.file.painting": "{name}-regions.png",
  "mask.file.protect": "protected.png",

  "painter.title": "Which painting paints where",
  "painter.painting": "What this painting gives",
  "painter.loading": "One moment …",
  "painter.failed": "This picture could not be read.",
  "painter.canvas": "Mask over the picture",
  "painter.keys":
    "Arrow keys move the brush, with Shift in longer steps. Space puts it down and lifts it, or fills. B is the brush, F fills, E is the eraser; brackets change the size; Control Z undoes.",
  "painter.tool": "Tool",
  "painter.brush": "Brush",
  "painter.fill": "Fill",
  "painter.eraser": "Eraser",
  "painter.eraser.hint": "The eraser gives back to the first region.",
  "painter.fill.hint": "Fills what is joined and alike in colour.",
  "painter.size": "Size of the brush",
  "painter.tolerance": "How unlike colours may be",
  "painter.opacity": "How strong the mask looks",
  "painter.undo": "Undo",
  "painter.redo": "Do again",
  "painter.clear": "Clear",
  "painter.cancel": "Cancel",
  "painter.done": "Done",
  "painter.locked": "All of this painting goes to one region. Choose to mark by hand to give it parts.",
  "painter.at": "{x} across, {y} down",
  "painter.pen.down": "The brush is down: arrow keys paint.",

  "made.title": "This picture was painted by impasto",
  "made.ready": "{name} says how it was made, and all that it was made from is here.",
  "made.missing": "{name} says how it was made. Give these files, too, to make it again: {missing}",
  "made.again": "Make it again",
  "made.fill": "Take its options",
  "made.on": "Go on from it",
  "made.photograph": "Use it as a photograph",
  "made.painting": "Use it as a painting",
  "made.close": "Not now",
  "made.details": "How it was made",
  "made.date": "Painted",

  "run.missing": "This picture is not there any more",
  "run.to.compose": "Paint another",
  "run.panel": "How it goes",
  "run.progress": "Evaluations",
  "run.now": "Now: {state}",
  "run.position.one": "Next in the queue",
  "run.position.many": "Number {count} in the queue",
  "run.begins": "Opening the network and measuring the pictures",
  "run.soon": "A moment …",
  "run.left": "About {time} left",
  "run.evaluation": "Evaluation {evaluation} of {evaluations}",
  "run.stage": "stage {stage} of {stages}, {size}",
  "run.tile": "tile {tile} of {tiles}",
  "run.stop": "Stop and keep",
  "run.cancel": "Cancel",
  "run.cancel.sure": "Cancel this one? Its picture so far is not kept.",
  "run.resume": "Go on",
  "run.longer": "Paint further",
  "run.change": "Paint again …",
  "run.remove": "Delete",
  "run.remove.sure": "Delete this picture and all that belongs to it? It cannot be brought back.",
  "run.png": "Download PNG",
  "run.jpg": "Download JPEG",
  "run.messages": "What the command says",
  "confirm.no": "No",
  "state.waiting": "Waiting",
  "state.running": "Painting",
  "state.stopping": "Stopping after this evaluation",
  "state.done": "Done",
  "state.stopped": "Stopped and kept",
  "state.cancelled": "Cancelled",
  "state.failed": "Failed",
  "details.size": "Size",
  "details.recipe": "Recipe",
  "details.default": "the default",
  "details.evaluations": "Evaluations",
  "details.loss": "Loss",
  "details.share": "{loss}, {share} of the start’s",
  "details.seconds": "Time",
  "details.reason": "Ended because",
  "details.device": "Computed on",

  "plot.label": "The loss, as a share of the start’s: {values}",
  "plot.all": "loss",
  "plot.content": "content",
  "plot.style": "style",
  "plot.tv": "smoothness",

  "viewer.before.alt": "The photograph",
  "viewer.after.alt": "The painted picture: {title}",
  "viewer.stage": "Picture. Plus and minus change its size, 0 fits it, 1 shows its pixels, arrow keys move it.",
  "viewer.divider": "Border between photograph and painted picture",
  "viewer.share": "{share} painted",
  "viewer.mode": "How the pictures are shown",
  "viewer.result": "Result",
  "viewer.slider": "Slider",
  "viewer.beside": "Side by side",
  "viewer.scale": "Magnification",
  "viewer.smaller": "Smaller",
  "viewer.larger": "Larger",
  "viewer.fit": "Fit",
  "viewer.pixels": "Pixels",

  "queue.title": "Queue",
  "queue.empty": "Nothing is being painted, and nothing waits.",
  "queue.empty.link": "Paint a picture",
  "queue.up": "Earlier: {title}",
  "queue.down": "Later: {title}",
  "queue.remove": "Remove from the queue: {title}",
  "queue.moved": "{title} is number {position} in the queue",
  "queue.removed": "{title} is no longer in the queue",
  "gallery.title": "Gallery",
  "gallery.one": "One picture",
  "gallery.many": "{count} pictures",
  "gallery.empty": "What you paint will hang here.",
  "gallery.without": "Ended without a picture",
  "gallery.remove": "Delete: {title}",

  "unit.second": "a second",
  "unit.seconds": "{count} s",
  "unit.minutes": "{count} min",
  "unit.hours": "{hours} h {minutes} min",
  "unit.megabytes": "{count} MB",
  "unit.gigabytes": "{count} GB",
};

/** Returns a text, with values in the place of its words in braces. */
export function t(key, values = {}) {
  const text = TEXTS[key];
  if (text === undefined) throw new Error(`no text ${key}`);
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

/** Returns the text for one, or that for many. */
export function plural(count, one, many) {
  return t(count === 1 ? one : many, { count: number(count) });
}

const LANGUAGE = "en";

/** Writes a number with three digits at least; as a percentage if `style` says so. */
export function number(value, style = "decimal") {
  const digits =
    style === "percent" ? { maximumFractionDigits: 0 } : Number.isInteger(value) ? {} : { maximumSignificantDigits: 3 };
  return new Intl.NumberFormat(LANGUAGE, { style, ...digits }).format(value);
}

/** Writes a share in percent, with more digits if it is small. */
export function percent(share) {
  return new Intl.NumberFormat(LANGUAGE, {
    style: "percent",
    maximumSignificantDigits: share >= 0.095 ? 3 : 2,
    maximumFractionDigits: share >= 0.095 ? 0 : 3,
    roundingPriority: "lessPrecision",
  }).format(share);
}

/** Writes a date and a time of day. */
export function moment(text) {
  return new Date(text).toLocaleString(LANGUAGE, { dateStyle: "long", timeStyle: "short" });
}

export const size = (width, height) => `${width} × ${height}`;

/** Writes a time in seconds so roughly as it is known. */
export function duration(seconds) {
  if (seconds < 1.5) return t("unit.second");
  if (seconds < 90) return t("unit.seconds", { count: Math.round(seconds) });
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return t("unit.minutes", { count: minutes });
  return t("unit.hours", { hours: Math.floor(minutes / 60), minutes: minutes % 60 });
}

export function bytes(count) {
  if (count < 1e9) return t("unit.megabytes", { count: number(Math.round(count / 1e6)) });
  return t("unit.gigabytes", { count: number(Math.round(count / 1e8) / 10) });
}
