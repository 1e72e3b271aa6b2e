"""Open graphs: their inputs and outputs, on the device that they run on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.engine.failures import shortage
from impasto.runtime.engine.library import FATAL, import_onnxruntime, one_line
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.plugins import turn
from impasto.runtime.engine.providers import provider_of
from impasto.runtime.engine.staging import Landing
from impasto.runtime.errors import TransferError
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.metadata import Metadata
from impasto.shortage import is_shortage
from impasto.wording import option

#: An array that lies on a session's device: onnxruntime's `OrtValue`.
DeviceArray = Any


class Runner:
    """One graph, ready to run on one device.

    Attributes
    ----------
    name
        The name of its file.
    placement
        The device, and how it is used.
    device
        Its name, such as ``cpu`` or ``cuda:0``.
    has_failed
        Whether onnxruntime has failed to run it, for lack of memory for instance.
    outputs
        The names of its outputs, in order.
    """

    def __init__(self, inference: Any, name: str, placement: Placement) -> None:
        self._inference = inference
        self._giving_back = _run_options(placement.device, give_back=True)
        self._options = self._giving_back if placement.low_memory else _run_options(placement.device)
        self.name, self.placement, self.has_failed = name, placement, False
        self.device = placement.device
        self.outputs: tuple[str, ...] = tuple(x.name for x in inference.get_outputs())

    def run(
        self,
        feeds: Mapping[str, NDArray[np.generic]],
        outputs: Iterable[str] | None = None,
        *,
        give_back: bool = False,
    ) -> dict[str, NDArray[np.float32]]:
        """Evaluate the whole graph, as onnxruntime always does, and return the wanted outputs.

        The arrays lie in the session's own memory, which lives as long as any of them: copy those that you keep. With
        `give_back`, the rest of the session's memory is free afterwards.

        Raises
        ------
        TransferError
            When onnxruntime fails, for instance for lack of memory.
        """
        names = self.outputs if outputs is None else tuple(outputs)
        with self._explained():
            return dict(
                zip(
                    names,
                    self._inference.run(names, feeds, self._giving_back if give_back else self._options),
                    strict=True,
                )
            )

    def bind(self, feeds: Mapping[str, NDArray[Any]] | None = None) -> Binding:
        """Return the graph with some of its inputs on its device for good.

        Raises
        ------
        TransferError
            When there is too little memory for them.
        """
        return Binding(self, feeds or {})

    def upload(self, array: NDArray[Any]) -> DeviceArray:
        """Return an array on the device. On the CPU it is the array itself: do not change it.

        Raises
        ------
        TransferError
            When there is too little memory for it.
        """
        with self._explained():
            return import_onnxruntime().OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"), *self._memory())

    def landing(self, shape: tuple[int, ...]) -> Landing:
        """Return memory on the host for copies of float32 arrays on the device."""
        return Landing(shape, self.device)

    def allocate(self, shape: tuple[int, ...]) -> DeviceArray:
        """Return a float32 array on the device, with undefined contents.

        Raises
        ------
        TransferError
            When there is too little memory for it.
        """
        make = import_onnxruntime().OrtValue.ortvalue_from_shape_and_type
        with self._explained():
            return make(list(shape), np.float32, *self._memory())

    def _memory(self) -> tuple[str, int]:
        """Return the kind and the number of the memory of its arrays, as onnxruntime calls them."""
        if provider_of(self.device).on_host:
            return "cpu", 0
        kind, _, number = self.device.partition(":")
        return kind, int(number)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with turn(provider_of(self.device)):
                yield
        except Exception as error:  # onnxruntime's own exception types are not public
            self.has_failed = True
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> TransferError:
        """Return an error of onnxruntime as one of impasto's."""
        if is_shortage(error):
            return shortage(self.name, self.placement)
        way = "please report it" if self.device == "cpu" else f"try {option('device', 'cpu')}"
        way += f", or {option('cuda.graph', False)}" if self.placement.recorded else ""
        return TransferError(f"{self.name}: onnxruntime failed on {self.device} ({one_line(error)}); {way}")


def _run_options(device: str, *, give_back: bool = False) -> Any:
    options = import_onnxruntime().RunOptions()
    options.log_severity_level = FATAL
    if give_back:
        allocator = "cpu:0" if provider_of(device).on_host else device.replace("cuda", "gpu")
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", allocator)
    return options


class Session(Runner):
    """A recipe's graph, ready to run.

    Attributes
    ----------
    metadata
        The graph's metadata.
    folder
        The model folder that it comes from.
    """

    def __init__(self, inference: Any, name: str, placement: Placement, metadata: Metadata, folder: ModelFolder):
        super().__init__(inference, name, placement)
        self.metadata, self.folder = metadata, folder


class Binding:
    """A graph whose inputs and outputs are arrays on its device: only changed inputs are copied."""

    def __init__(self, runner: Runner, feeds: Mapping[str, NDArray[Any]]) -> None:
        self._runner = runner
        self._binding = runner._inference.io_binding()
        self._kept = {name: runner.upload(array) for name, array in feeds.items()}
        for name, value in self._kept.items():
            self._binding.bind_ortvalue_input(name, value)

    def run(self, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]) -> None:
        """Evaluate the graph into the output arrays; inputs stay bound until they are replaced.

        No output may share memory with an input.

        Raises
        ------
        TransferError
            When onnxruntime fails, for instance for lack of memory.
        """
        runner = self._runner
        with runner._explained():
            for name, value in inputs.items():
                self._binding.bind_ortvalue_input(name, value)
            for name, value in outputs.items():
                self._binding.bind_ortvalue_output(name, value)
            runner._inference.run_with_iobinding(self._binding, runner._options)


def download(array: DeviceArray) -> NDArray[np.float32]:
    """Return a copy, in the host's memory, of a float32 array on a device."""
    values: NDArray[np.float32] = array.numpy()
    return values.copy() if array.device_name() == "cpu" else values  # on the CPU, `numpy` shares the memory


def download_number(array: DeviceArray) -> float:
    """Return the one number in an array on a device."""
    return float(array.numpy().item())
