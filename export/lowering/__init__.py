"""Lowerings: what turns the logical graph into ONNX nodes."""
