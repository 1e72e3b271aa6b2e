"""Masks on the command line: what is said of them, what is refused, and that a result can be made again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

RED, BLUE = (220, 30, 20), (20, 30, 220)


def impasto_(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "IMPASTO_MODEL"}
    command = [sys.executable, "-m", "impasto", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A content, two styles and a mask of two halves, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("content", "style1", "style2")):
        levels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8)
        Image.fromarray(levels).save(f"{name}.png")
    mask = Image.new("RGB", (96, 80), RED)
    mask.paste(BLUE, (48, 0, 96, 80))
    mask.save("mask.png")
    return tmp_path


def stylize(model: Path, *more: object) -> subprocess.CompletedProcess[str]:
    quick = ("--size", "content", "--evaluations", "2", "--device", "cpu", "--lowering", "direct", "--threads", "1")
    return impasto_("stylize", "content.png", "style1.png", "style2.png", "-o", "out.png", "-m", model, *quick, *more)


def test_regions_are_told_and_a_rerun_finds_the_masks_again(model: Path, pictures: Path) -> None:
    masks = ("--content-mask", "mask.png", "--style-mask", "#dc1e14", "--style-mask", "mask.png")
    done = stylize(model, *masks, "--json")
    assert done.returncode == 0, done.stderr
    assert "2 regions: #141edc 50.0%, #dc1e14 50.0%\n" in done.stderr
    masked = (pictures / "out.png").read_bytes()
    again = impasto_("rerun", "out.png", "-o", "again.png", "--json", "-m", model)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["identical"] is True
    plain = stylize(model, "--force")
    assert plain.returncode == 0, plain.stderr
    assert "region" not in plain.stderr
    assert (pictures / "out.png").read_bytes() != masked


@pytest.mark.parametrize(
    ("masks", "reason"),
    [
        (("--content-mask", "mask.png"), "--style-mask: 0 given for 2 styles"),
        (("--content-mask", "mask.png", "--style-mask", "#dc1e14", "--style-mask", "#dc1e14"), "region #141edc of the"),
        (("--content-mask", "none.png"), "picture none.png: no such file"),
        (
            ("--content-mask", "content.png", "--style-mask", "mask.png", "--style-mask", "mask.png"),
            "content mask: has no",
        ),
    ],
)
def test_masks_that_will_not_do_are_refused_in_one_line(
    masks: tuple[str, ...], reason: str, model: Path, pictures: Path
) -> None:
    done = stylize(model, *masks)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert not (pictures / "out.png").exists()


def test_a_mask_is_not_written_over(model: Path, pictures: Path) -> None:
    before = (pictures / "mask.png").read_bytes()
    masks = ("--content-mask", "mask.png", "--style-mask", "mask.png", "--style-mask", "mask.png")
    done = stylize(model, *masks, "--force", "--triptych", "mask.png")
    assert done.returncode == 2
    assert "mask.png" in done.stderr
    assert (pictures / "mask.png").read_bytes() == before
