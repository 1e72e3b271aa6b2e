"""An option is spelled for whoever reads of it."""

from __future__ import annotations

import threading

import pytest

from impasto.wording import of_data, option, speak


def loud(name: str, value: object = None) -> str:
    return name.upper()


def test_options_are_parameters_of_python_unless_told_otherwise() -> None:
    assert option("style_blend") == "style_blend"
    assert option("device", "cpu") == "device='cpu'"
    assert option("cuda.graph", False) == "cuda.graph=False"


def test_another_spelling_holds_in_all_threads_and_ends_with_its_block() -> None:
    heard: list[str] = []
    with pytest.raises(ValueError), speak(loud):
        thread = threading.Thread(target=lambda: heard.append(option("size")))
        thread.start()
        thread.join()
        raise ValueError
    assert heard == ["SIZE"]
    assert option("size") == "size"


def test_keys_of_data_are_no_options() -> None:
    with speak(loud):
        with of_data():
            assert option("size") == "size"
        assert option("size") == "SIZE"
