"""Every graph has one key, from which its file and its metadata have their names."""

from __future__ import annotations

import re

import pytest

from impasto.runtime.model.graphs import (
    BFLOAT16,
    DIRECT,
    GRAPHS,
    PLAIN,
    SINGLE,
    STATISTICS,
    WINOGRAD,
    GraphKey,
    is_small,
)
from impasto.runtime.storage.codec import Misfit


def test_files_are_called_as_they_always_were() -> None:
    """Folders that older versions exported stay readable."""
    assert [key.file("seed") for key in GRAPHS] == [
        f"seed.{name}.onnx"
        for name in (
            "direct.objective",
            "direct.statistics",
            "direct.guided-objective",
            "direct.guided-statistics",
            "winograd.objective",
            "winograd.statistics",
            "winograd.guided-objective",
            "winograd.guided-statistics",
            "winograd.small-objective",
            "winograd.small-statistics",
            "winograd.small-guided-objective",
            "winograd.small-guided-statistics",
            "direct.half-objective",
            "direct.half-guided-objective",
            "direct.bfloat-objective",
            "direct.bfloat-statistics",
            "direct.bfloat-guided-objective",
            "direct.bfloat-guided-statistics",
            *_of_tiles(""),
            *_of_tiles("guided-"),
        )
    ]


def _of_tiles(guided: str) -> list[str]:
    return [
        f"direct.{guided}tile-sums",
        f"direct.{guided}tile-gradient",
        f"direct.{guided}tile-statistics",
        f"winograd.{guided}tile-sums",
        f"winograd.{guided}tile-gradient",
        f"winograd.{guided}tile-statistics",
        f"direct.half-{guided}tile-sums",
        f"direct.half-{guided}tile-gradient",
        f"direct.bfloat-{guided}tile-sums",
        f"direct.bfloat-{guided}tile-gradient",
        f"direct.bfloat-{guided}tile-statistics",
        f"direct.{guided}loss-of-sums",
        f"direct.{guided}targets-of-sums",
    ]


def test_a_key_is_read_back_from_its_names() -> None:
    assert [GraphKey.named(key.layout, key.kind) for key in GRAPHS] == [*GRAPHS]


@pytest.mark.parametrize(
    ("layout", "kind"),
    [(WINOGRAD, "half-objective"), (DIRECT, "small-objective"), (DIRECT, "half-statistics"), ("half", "objective")],
)
def test_names_that_no_graph_has_are_refused(layout: str, kind: str) -> None:
    with pytest.raises(Misfit, match=re.escape(f"lowering and kind are '{layout}' and '{kind}'; expected those")):
        GraphKey.named(layout, kind)


def test_the_targets_of_every_objective_are_measured_in_single_precision_or_in_bfloat16() -> None:
    for key in GRAPHS:
        assert key.targets in GRAPHS
        assert key.targets.role == STATISTICS
        assert key.targets.precision == (BFLOAT16 if key.precision == BFLOAT16 else SINGLE)
        assert (key.targets.layout, key.targets.by_region, key.targets.small) == (key.layout, key.by_region, key.small)
    assert PLAIN.targets != PLAIN


@pytest.mark.parametrize(
    ("layout", "size", "small"),
    [
        (WINOGRAD, (320, 320), True),
        (WINOGRAD, (320, 321), False),
        (WINOGRAD, (64, 1600), True),
        (DIRECT, (32, 32), False),
    ],
)
def test_small_pictures_have_graphs_of_their_own_in_winograd(layout: str, size: tuple[int, int], small: bool) -> None:
    assert is_small(layout, *size) == small
