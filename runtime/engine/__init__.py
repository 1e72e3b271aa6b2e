"""The engine: graphs opened by onnxruntime, and the objective that they evaluate."""
