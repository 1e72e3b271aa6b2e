"""impasto repaints a photograph in the manner of a painting.

The method is that of Gatys, Ecker and Bethge (2015): the weights of a VGG network stay fixed, and the picture
itself is optimised against content, Gram-style and total-variation losses. Three packages:

- ``impasto.export`` writes the network's loss and gradient to ONNX, once;
- ``impasto.runtime`` evaluates those graphs with onnxruntime and updates the picture;
- ``impasto.cli`` is the command line.
"""

__version__ = "0.2.0"
