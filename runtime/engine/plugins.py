"""Plug-ins of onnxruntime: libraries with a provider, loaded into this process, and their devices."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import threading
from typing import Any

from impasto import packages
from impasto.runtime.engine.library import FATAL, import_onnxruntime, one_line
from impasto.runtime.engine.providers import Plugin, Provider, definite, part_of, provider_of
from impasto.runtime.errors import DeviceError
from impasto.wording import use_cpu

#: A library is loaded once in a process, and never given up: sessions may use it.
_LOADING = threading.Lock()

#: The turns of providers that do one thing at a time, by name.
_TURNS: dict[str, threading.RLock] = {}


def is_installed(provider: Provider) -> bool:
    """Whether a provider's plug-in is installed; it is not imported."""
    return provider.plugin is not None and importlib.util.find_spec(provider.plugin.module) is not None


def version(plugin: Plugin) -> str:
    """Return the version of a plug-in's package."""
    return installed_version(plugin.distribution)


def installed_version(distribution: str) -> str:
    """Return the version of a package; ``unknown`` if no installer has installed it."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def devices_here(provider: Provider) -> tuple[str, ...]:
    """Return the names of a plug-in's devices on this machine.

    Raises
    ------
    DeviceError
        When the plug-in is not installed or does not load.
    """
    offered = _offered(provider, provider.kind)
    names = provider.definite_devices
    return tuple(name for name in names if any(provider.takes(one.ep_metadata, part_of(name)) for one in offered))


def turn(provider: Provider) -> contextlib.AbstractContextManager[object]:
    """Return the turn of a thread that uses a provider, for a `with` block; threads wait for each other if need be."""
    return _TURNS.setdefault(provider.name, threading.RLock()) if provider.in_turn else contextlib.nullcontext()


def find_device(device: str) -> Any:
    """Return onnxruntime's `OrtEpDevice` of a plug-in's device.

    Raises
    ------
    DeviceError
        When the plug-in is not installed or does not load, or has no such device here.
    """
    provider, part = provider_of(device), part_of(definite(device))
    offered = _offered(provider, device)
    for one in offered:
        if provider.takes(one.ep_metadata, part):
            return one
    raise DeviceError(f"device {device}: {provider.kind} finds no such device here{provider.restriction}; {use_cpu()}")


def _offered(provider: Provider, device: str) -> list[Any]:
    """Return the devices that a plug-in offers; its library is loaded first."""
    plugin, ort = provider.plugin, import_onnxruntime()
    assert plugin is not None
    if not is_installed(provider):
        get = packages.install(plugin.distribution)
        raise DeviceError(f"device {device}: {plugin.distribution} is not installed; {get}, or {use_cpu()}")
    if not hasattr(ort, "register_execution_provider_library"):
        raise DeviceError(
            f"device {device}: onnxruntime {ort.__version__} takes no plug-ins; {packages.NEWER}, or {use_cpu()}"
        )
    with _LOADING:
        if not (offered := _devices(ort, provider)):
            _load(ort, provider, plugin, device)
            offered = _devices(ort, provider)
    return offered


def _devices(ort: Any, provider: Provider) -> list[Any]:
    return [one for one in ort.get_ep_devices() if one.ep_name == provider.name]


def _load(ort: Any, provider: Provider, plugin: Plugin, device: str) -> None:
    try:
        library = importlib.import_module(plugin.module).get_library_path()
        _register(ort, provider.kind, str(library))
    except Exception as error:  # onnxruntime's own exception types are not public, nor are a plug-in's
        raise DeviceError(
            f"device {device}: {plugin.distribution} does not load ({one_line(error)}); {packages.NEWER} "
            f"{plugin.distribution}, or {use_cpu()}"
        ) from None


@functools.cache
def _register(ort: Any, name: str, library: str) -> None:
    """Load a library, once: onnxruntime refuses it a second time, even if it offers no device here.

    Plug-ins print the errors that they also raise, unless onnxruntime is told not to.
    """
    ort.set_default_logger_severity(FATAL)
    ort.register_execution_provider_library(name, library)
