"""The contenders: how each is started, and which of them are compared with each other.

Kept results know a contender by its name only: a name that has results stays here, and keeps its meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: Precision of the activations. TF32, which CUDA's contenders have as they come, counts as float32.
SINGLE, HALF, BRAIN = "fp32", "fp16", "bf16"

#: Kinds of contenders: impasto itself; a framework that style transfers are written in; OpenVINO by itself, over
#: impasto's own graph, which is no program for style transfers, but shows what onnxruntime's plug-in costs.
IMPASTO, FRAMEWORK, OPENVINO = "impasto", "framework", "openvino"


@dataclass(frozen=True)
class Entry:
    """A contender, before it is started.

    Attributes
    ----------
    environment
        The environment under ``.bench`` that it runs in.
    module
        Its module in `benchmarks`.
    variant
        One of the ways to compute that the module knows.
    precision
        ``fp32``, ``fp16`` or ``bf16``.
    """

    environment: str
    module: str
    variant: str
    precision: str = SINGLE

    @property
    def kind(self) -> str:
        """One of the three kinds above."""
        return {"on_impasto": IMPASTO, "on_openvino": OPENVINO}.get(self.module, FRAMEWORK)


#: impasto as it comes, and the same where bfloat16 is multiplied faster.
OURS, OURS_BRAIN = "impasto", "impasto-openvino-bf16"

#: Precision -> the impasto that others of that precision are compared with.
LEADERS = {SINGLE: OURS, BRAIN: OURS_BRAIN}

CONTENDERS: Mapping[str, Entry] = {
    OURS: Entry("impasto", "on_impasto", "auto"),
    "impasto-low-memory": Entry("impasto", "on_impasto", "low-memory"),
    "impasto-direct": Entry("impasto", "on_impasto", "direct"),
    "impasto-openvino-fp32": Entry("impasto-openvino", "on_impasto", "openvino-fp32"),
    OURS_BRAIN: Entry("impasto-openvino", "on_impasto", "openvino-bf16", BRAIN),
    "torch": Entry("torch", "on_torch", "eager"),
    "torch-channels-last": Entry("torch", "on_torch", "channels-last"),
    "torch-compile": Entry("torch", "on_torch", "compile"),
    "torch-bf16": Entry("torch", "on_torch", "bf16", BRAIN),
    "torch-bf16-compile": Entry("torch", "on_torch", "bf16-compile", BRAIN),
    "keras": Entry("keras", "on_keras", "function"),
    "keras-bf16": Entry("keras", "on_keras", "bf16", BRAIN),
    "openvino-fp32": Entry("openvino", "on_openvino", "fp32"),
    "openvino-bf16": Entry("openvino", "on_openvino", "bf16", BRAIN),
}

#: The same with ``--device cuda``.
CUDA_CONTENDERS: Mapping[str, Entry] = {
    OURS: Entry("impasto", "on_impasto", "auto"),
    "impasto-lbfgs-device": Entry("impasto", "on_impasto", "lbfgs-device"),
    "impasto-no-tf32": Entry("impasto", "on_impasto", "no-tf32"),
    "impasto-fp16": Entry("impasto", "on_impasto", "fp16", HALF),
    "impasto-no-cuda-graph": Entry("impasto", "on_impasto", "no-cuda-graph"),
    "torch": Entry("torch", "on_torch", "eager"),
    "torch-channels-last": Entry("torch", "on_torch", "channels-last"),
    "torch-compile": Entry("torch", "on_torch", "compile"),
}

ENVIRONMENTS = tuple(dict.fromkeys(entry.environment for entry in CONTENDERS.values()))

_ALL = {**CUDA_CONTENDERS, **CONTENDERS}  # a name has one precision and one kind on all devices


def precision_of(name: str) -> str:
    """Return the precision of a contender."""
    return _ALL[name].precision


def leader(name: str) -> str:
    """Return the impasto that a contender is compared with: bfloat16 with bfloat16, all others with the default."""
    return LEADERS.get(precision_of(name), OURS)


def alike(names: Iterable[str], kind: str, precision: str) -> list[str]:
    """Return those of the contenders that have this kind and this precision."""
    return [name for name in names if (_ALL[name].kind, _ALL[name].precision) == (kind, precision)]
