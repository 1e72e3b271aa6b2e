"""Lowerings, which turn the logical graph into ONNX nodes."""
