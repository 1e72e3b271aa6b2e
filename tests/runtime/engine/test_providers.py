"""Providers: the names of devices, what each computes in, and what is refused before anything is opened."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.engine import placement as placement_module
from impasto.runtime.engine import plugins
from impasto.runtime.engine.placement import Placement, check_placement, foreseen, on_device
from impasto.runtime.engine.providers import PROVIDERS, check_name, definite, is_host, part_of, provider_of
from impasto.runtime.errors import DeviceError, InputError, ModelError, TransferError
from impasto.runtime.machine import processors

PLUGINS = [provider for provider in PROVIDERS.values() if provider.plugin]


@pytest.fixture
def no_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no plug-in be installed, whatever is."""
    for module in (plugins, placement_module):
        monkeypatch.setattr(module, "is_installed", lambda provider: False)


@pytest.fixture
def tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processor multiply bfloat16 in tiles, and OpenVINO be installed, as far as the choice is concerned."""
    monkeypatch.setattr(processors, "instructions", lambda: frozenset({"avx512_bf16", "amx_bf16"}))
    monkeypatch.setattr(placement_module, "is_installed", lambda provider: provider.kind == "openvino")
    monkeypatch.setattr(placement_module, "find_device", lambda device: device)


# --- names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "whole"),
    [
        ("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:3", "cuda:3"), ("webgpu", "webgpu"),
        ("openvino", "openvino:cpu"), ("openvino:gpu", "openvino:gpu"), ("openvino:npu", "openvino:npu"),
    ],
)  # fmt: skip
def test_a_device_without_its_part_is_the_providers_first(device: str, whole: str) -> None:
    assert definite(device) == whole
    assert Placement(device).on(device).device == whole


@given(st.text(max_size=14) | st.builds("{}:{}".format, st.sampled_from(sorted(PROVIDERS)), st.text(max_size=6)))
def test_a_name_that_is_accepted_has_a_provider_and_one_that_is_not_is_refused_in_one_line(name: str) -> None:
    try:
        check_name(name)
    except DeviceError as error:
        assert "expected auto, cpu, " in str(error)
        assert "\n" not in str(error)
        return
    if name != "auto":
        assert definite(name).startswith(provider_of(name).kind)
        check_name(definite(name))


def test_only_the_machines_own_processor_shares_its_memory() -> None:
    assert [device for device in ("cpu", "cuda:0", "openvino:cpu", "openvino:gpu", "webgpu") if is_host(device)] == [
        "cpu",
        "openvino:cpu",
    ]


# --- precision ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "instructions", "precision"),
    [
        ("cpu", {"amx_bf16", "avx512_bf16"}, "fp32"),
        ("cuda", {"amx_bf16", "avx512_bf16"}, "fp32"),
        ("webgpu", {"amx_bf16"}, "fp32"),
        ("openvino", {"amx_bf16", "avx512_bf16"}, "bf16"),
        ("openvino", {"avx512_bf16"}, "bf16"),
        ("openvino", {"avx2", "avx512f"}, "fp32"),
        ("openvino:gpu", {"amx_bf16"}, "fp32"),
        ("openvino:npu", {"amx_bf16"}, "fp16"),
    ],
)
def test_the_automatic_precision_is_bfloat16_where_the_processor_multiplies_it_and_the_provider_has_it(
    device: str, instructions: set[str], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "instructions", lambda: frozenset(instructions))
    assert Placement(device).on(device).precision == precision


@pytest.mark.parametrize(
    ("device", "precision"),
    [("cpu", "bf16"), ("cuda:0", "bf16"), ("openvino", "fp16"), ("openvino:gpu", "bf16"), ("webgpu", "fp16")],
)
def test_a_precision_that_a_device_has_not_is_refused(device: str, precision: str) -> None:
    with pytest.raises(
        InputError, match=rf"^precision='{precision}': not on device='{device}'; expected auto or "
    ) as said:
        Placement(device, precision=precision)
    assert "\n" not in str(said.value)


def test_winograd_is_refused_in_other_precisions_and_by_plugins() -> None:
    with pytest.raises(ModelError, match="not with lowering='winograd'"):
        Placement("auto", "winograd", precision="bf16")
    with pytest.raises(InputError, match="lowering='winograd': not on device='openvino'"):
        Placement("openvino", "winograd")


def test_linux_tells_the_instructions(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("model name\t: Any\nflags\t\t: fpu avx2 amx_bf16\nflags\t\t: other\n")
    assert processors.instructions(tmp_path) == {"fpu", "avx2", "amx_bf16"}
    assert processors.instructions(tmp_path / "proc") == frozenset()


# --- plug-ins that are missing ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_plugin")
@pytest.mark.parametrize("provider", PLUGINS, ids=lambda provider: provider.kind)
def test_a_plugin_that_is_not_installed_is_refused_with_the_command_that_gets_it(provider: object) -> None:
    assert provider in PLUGINS
    for device in provider.devices:  # type: ignore[attr-defined]
        with pytest.raises(
            DeviceError, match=f"^device {device}: onnxruntime-ep-.* is not installed; pip install "
        ) as said:
            check_placement(Placement(device))
        assert str(said.value).endswith("or use device='cpu'")


@pytest.mark.usefixtures("no_plugin")
def test_bfloat16_without_a_plugin_names_the_command_that_gets_one() -> None:
    for check in (check_placement, foreseen, lambda asked: on_device(asked, str)):
        with pytest.raises(
            DeviceError,
            match=r"^precision='bf16': openvino alone has it, on Intel's devices; pip install onnxruntime-ep-",
        ):
            check(Placement(precision="bf16"))


def test_a_device_that_a_plugin_does_not_find_is_refused_and_whose_it_takes_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plugins, "_offered", lambda provider, device: [])
    told = "device openvino: openvino finds no such device here, and takes Intel's only; use device='cpu'"
    with pytest.raises(DeviceError, match=f"^{re.escape(told)}$"):
        check_placement(Placement("openvino"))
    with pytest.raises(DeviceError, match=r"^device webgpu: webgpu finds no such device here; use device='cpu'$"):
        check_placement(Placement("webgpu"))


@pytest.mark.parametrize(("device", "way"), [("openvino", "precision='bf16'"), ("webgpu", "leave out content_mask")])
def test_masks_are_refused_where_their_loops_do_not_run(device: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement_module, "find_device", lambda device: device)
    asked = Placement(device, precision="fp32")
    for check in (check_placement, lambda asked, by_region: on_device(asked, str, by_region=by_region)):
        with pytest.raises(
            DeviceError, match=f"does not run graphs with masks in float32; .*{way}.*, or use device='cpu'"
        ):
            check(asked, by_region=True)


# --- the choice -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tiles")
def test_auto_is_openvino_in_bfloat16_where_the_processor_has_tiles() -> None:
    placed = foreseen(Placement())
    assert (placed.device, placed.precision, placed.lowering) == ("openvino:cpu", "bf16", "direct")
    assert on_device(Placement(), lambda at: (at.device, at.precision)) == ("openvino:cpu", "bf16")


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("asked", [Placement(precision="fp32"), Placement(lowering="winograd")])
def test_auto_stays_on_the_cpu_where_the_user_asks_for_what_it_is_best_at(asked: Placement) -> None:
    assert foreseen(asked).device == "cpu"


@pytest.mark.usefixtures("tiles")
def test_auto_warns_and_takes_the_cpu_where_the_plugin_fails() -> None:
    def work(placed: Placement) -> str:
        if placed.device != "cpu":
            raise TransferError("it does not work")
        return f"{placed.device} {placed.precision}"

    with pytest.warns(RuntimeWarning, match="^it does not work; using the CPU$"):
        assert on_device(Placement(), work) == "cpu fp32"
    with pytest.raises(TransferError, match="it does not work"):
        on_device(Placement("openvino"), work)
    with pytest.raises(TransferError, match="it does not work"):  # no other device has it
        on_device(Placement(precision="bf16"), work)


def test_without_tiles_a_plugin_is_taken_only_if_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "instructions", lambda: frozenset({"avx2", "avx512_bf16"}))
    monkeypatch.setattr(placement_module, "is_installed", lambda provider: True)
    monkeypatch.setattr(placement_module, "find_device", lambda device: device)
    assert foreseen(Placement()).device == "cpu"
    assert foreseen(Placement(precision="bf16")).device == "openvino:cpu"


# --- settings -------------------------------------------------------------------------------------------------


def test_openvino_is_always_told_its_precision_and_the_threads() -> None:
    settings = PROVIDERS["openvino"].settings
    for precision in PROVIDERS["openvino"].precisions("cpu"):
        load = json.loads(settings("cpu", precision, 3)["load_config"])["CPU"]
        assert load["INFERENCE_PRECISION_HINT"]
        assert load["INFERENCE_NUM_THREADS"] == "3"
    assert set(json.loads(settings(part_of("openvino:gpu"), "fp32", 3)["load_config"])) == {"GPU"}
