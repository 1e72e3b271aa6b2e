// The graphs in onnxruntime-node. It finds the weights beside a graph itself.
import * as ort from "onnxruntime-node";

export { ort };

export const open = (model, graph) => ort.InferenceSession.create(`${model}/${graph}`);
