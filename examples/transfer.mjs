// Style transfer with a model folder, for Node and for a page. A picture is { width, height, data }, as ImageData and
// pngjs have it: data is RGBA, pixel by pixel. Planes are what the graphs take: R, G and B, one after the other.

// Recipe `impasto`, in its conventions: onnxruntime does not show a graph's metadata, which has it, in JavaScript.
const RECIPE = "impasto";
const WEIGHTS = { content: 0.09, style: 8, tv: 0.9 };

/** Returns a function from planes to their loss and gradient, against a content picture and a style picture. */
export async function objective({ ort, open }, model, content, style, lowering = "winograd") {
  const small = lowering === "winograd" && content.width * content.height <= 320 * 320 ? "small-" : "";
  const graph = (kind) => open(model, `${RECIPE}.${lowering}.${small}${kind}.onnx`);
  const tensor = (planes, { width, height }) => new ort.Tensor("float32", planes, [1, 3, height, width]);

  const statistics = await graph("statistics");
  const measure = (picture, kind) =>
    statistics.run(
      { image: tensor(toPlanes(picture), picture) },
      statistics.outputNames.filter((name) => name.startsWith(kind)),
    );
  const targets = { ...(await measure(content, "content/")), ...(await measure(style, "style/")) };
  await statistics.release();

  const minimized = await graph("objective");
  const weights = {};
  for (const name of minimized.inputNames.filter((name) => name.endsWith(".weight"))) {
    const [kind] = name.split(/[/.]/);
    weights[name] = new ort.Tensor("float32", [WEIGHTS[kind]], []); // of no dimensions
  }
  return async (planes) => {
    const feeds = { image: tensor(planes, content), ...targets, ...weights };
    const { loss, gradient } = await minimized.run(feeds, ["loss", "gradient"]);
    return { loss: loss.data[0], gradient: gradient.data };
  };
}

/** Moves planes to a lower loss, in steps of Adam and within 0..255. Yields the loss before each step, after it. */
export async function* descend(evaluate, planes, steps, rate = 10) {
  const mean = new Float32Array(planes.length);
  const square = new Float32Array(planes.length);
  for (let step = 1; step <= steps; step++) {
    const { loss, gradient } = await evaluate(planes);
    for (let i = 0; i < planes.length; i++) {
      mean[i] += 0.1 * (gradient[i] - mean[i]);
      square[i] += 0.001 * (gradient[i] ** 2 - square[i]);
      const move = mean[i] / (1 - 0.9 ** step) / (Math.sqrt(square[i] / (1 - 0.999 ** step)) + 1e-8);
      planes[i] = Math.min(255, Math.max(0, planes[i] - rate * move));
    }
    yield loss;
  }
}

/** Returns a picture's planes; what is transparent counts as if it were opaque. */
export function toPlanes({ data }) {
  const pixels = data.length / 4;
  return Float32Array.from({ length: 3 * pixels }, (_, i) => data[4 * (i % pixels) + Math.floor(i / pixels)]);
}

/** Returns planes as a picture's data. */
export function toData(planes) {
  const pixels = planes.length / 3;
  return Uint8ClampedArray.from({ length: 4 * pixels }, (_, i) =>
    i % 4 === 3 ? 255 : planes[(i % 4) * pixels + Math.floor(i / 4)],
  );
}
