"""The exporter: weights and recipes -> a model folder of ONNX graphs. Needs onnx; the runtime does not."""

from impasto.export.provision import ensure

__all__ = ["ensure"]
