// The graphs in onnxruntime-web, as WebAssembly: for a page, where `model` is an address, and for Node. It looks for
// nothing beside a graph, and is told where the weights are.
import * as ort from "onnxruntime-web";

export { ort };

export const open = (model, graph) =>
  ort.InferenceSession.create(`${model}/${graph}`, {
    externalData: [{ path: "weights.data", data: `${model}/weights.data` }],
  });
