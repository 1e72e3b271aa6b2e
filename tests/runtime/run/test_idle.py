"""Which options do nothing in a transfer, by what occurs in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from impasto.runtime.engine.placement import Placement
from impasto.runtime.run import idle
from impasto.runtime.run.idle import idle_options
from impasto.runtime.run.prepare import prepare

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8))
BLACK = Image.new("L", PICTURE.size)
CUDA = {"cuda.memory", "cuda.tf32", "cuda.search", "cuda.workspace", "cuda.graph"}


def idle_in(model: Path, styles: int = 1, **wishes: Any) -> dict[str, str]:
    given = {"size": 40, "evaluations": 30, "device": "cpu", "recipe": "small", **wishes}
    transfer = prepare(PICTURE, [PICTURE] * styles, model=model, **given)
    return idle_options(transfer, given.get("stages"))


def test_what_is_cudas_does_nothing_on_a_cpu_and_threads_nothing_on_a_gpu(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = idle_in(small_model)
    assert {name: found[name] for name in CUDA} == dict.fromkeys(CUDA, "on a CPU")
    assert "threads" not in found
    monkeypatch.setattr(idle, "foreseen", lambda *_, **__: Placement("cuda:0"))  # as a machine with one would say
    found = idle_in(small_model)
    assert not CUDA & {*found}
    assert found["threads"] == "on a GPU"


@pytest.mark.parametrize(
    ("wishes", "idle", "busy"),
    [
        ({}, {"seed", "style_blend"}, {"noise", "colors", "stages", "min_improvement"}),
        ({"noise": 0.5}, {"style_blend"}, {"seed", "noise"}),
        ({"init": "random"}, {"noise"}, {"seed"}),
        ({"init": "statistics"}, {"noise"}, {"seed"}),
        ({"styles": 2}, {"seed"}, {"style_blend"}),
        ({"strength": 0.0}, {"colors"}, set()),
        ({"evaluations": 10}, {"min_improvement"}, set()),
        ({"evaluations": 11}, set(), {"min_improvement"}),
        ({"min_improvement": 0.0}, {"min_improvement"}, set()),
        ({"stages": 1}, set(), {"stages"}),
        ({"stages": 9}, {"stages"}, set()),
        ({"restart_every": 5, "stages": 1}, {"stages"}, set()),
        ({"style_weight": 0.0, "styles": 2}, {"style_blend", "style_scale"}, {"colors"}),
        ({"style_weight": 0.0, "colors": "match"}, {"colors"}, set()),
        ({"style_weight": 0.0, "colors": "match", "init": "style"}, set(), {"colors"}),
        ({"boldness": -0.5}, set(), {"boldness"}),
        ({"boldness": -0.5, "content_weight": 0.0}, {"boldness"}, set()),
        ({"boldness": 0.5, "style_weight": 0.0}, {"boldness"}, set()),
        ({"boldness": 0.5}, {"boldness"}, set()),  # this recipe's layers are not deep
        ({}, {"protect_weight"}, set()),
        ({"protect": PICTURE}, set(), {"protect", "protect_weight"}),
        ({"protect": PICTURE, "protect_weight": 1.0}, {"protect"}, {"protect_weight"}),
        ({"protect": PICTURE, "content_weight": 0.0}, {"protect", "protect_weight"}, set()),
        ({"protect": BLACK}, {"protect", "protect_weight"}, set()),
    ],
)
def test_options_do_nothing_where_what_they_change_does_not_occur(
    wishes: dict[str, Any], idle: set[str], busy: set[str], small_model: Path
) -> None:
    found = {*idle_in(small_model, **wishes)}
    assert idle <= found
    assert not busy & found


@pytest.mark.parametrize(
    ("wishes", "name", "other"),
    [
        ({"init": "random"}, "noise", 0.7),
        ({}, "seed", 9),
        ({}, "style_blend", [5.0]),
        ({"strength": 0.0}, "colors", "keep"),
        ({"style_weight": 0.0}, "style_scale", 2.0),
        ({"style_weight": 0.0}, "colors", "match"),
        ({}, "min_improvement", 0.0),
        ({"evaluations": 3}, "min_improvement", 1.0),
        ({}, "protect_weight", 5.0),
        ({"protect": BLACK}, "protect_weight", 5.0),
        ({}, "protect", BLACK),
        ({"protect_weight": 1.0}, "protect", PICTURE),
    ],
)
def test_what_is_said_to_do_nothing_leaves_the_picture_as_it_is(
    wishes: dict[str, Any], name: str, other: object, small_model: Path
) -> None:
    given: dict[str, Any] = {"size": 40, "evaluations": 4, "device": "cpu", "recipe": "small", **wishes}
    plain, changed = (
        prepare(PICTURE, PICTURE, model=small_model, **options) for options in (given, {**given, name: other})
    )
    assert name in idle_options(changed)
    assert plain.run().image.tobytes() == changed.run().image.tobytes()
