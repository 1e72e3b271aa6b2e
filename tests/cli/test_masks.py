"""Masks on the command line: what is said of them, what is refused, and that a result can be made again."""

from __future__ import annotations

import json
import os
import re
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


def test_strengths_and_protection_are_told_recorded_and_made_again(model: Path, pictures: Path) -> None:
    slope = np.broadcast_to(np.linspace(0, 255, 48).astype(np.uint8), (40, 48)).copy()
    Image.fromarray(slope).save("face.png")
    masks = ("--content-mask", "mask.png", "--style-mask", "mask.png", "--style-mask", "mask.png")
    options = (*masks, "--region-strength", "#dc1e14=0.3", "--protect", "face.png", "--protect-weight", "8")
    done = stylize(model, *options)
    assert done.returncode == 0, done.stderr
    assert "2 regions: #141edc 50.0%, #dc1e14 50.0% (strength 0.3)\n" in done.stderr
    assert "49.8% protected: the content counts 8 times there\n" in done.stderr
    info = impasto_("info", "out.png")
    for row in (r"region strength +#dc1e14 0\.3", r"protect weight +8", r"protect +face\.png \(48x40"):
        assert re.search(row, info.stdout), info.stdout
    for more in ((), ("--protect", "face.png")):
        again = impasto_("rerun", "out.png", "-o", "again.png", "--force", "--json", "-m", model, *more)
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["identical"] is True
    refused = impasto_("rerun", "out.png", "-o", "again.png", "--force", "-m", model, "--protect", "style1.png")
    assert refused.returncode == 2
    assert "protect style1.png: is not the picture that out.png was made from" in refused.stderr


def test_a_protected_run_goes_on_with_the_same_mask_only_and_is_made_again(model: Path, pictures: Path) -> None:
    for name, level in (("face.png", 200), ("other.png", 100)):
        Image.new("L", (48, 40), level).save(name)
    options = ("--protect", "face.png", "--evaluations", "6", "--checkpoint", "run.impasto")
    assert stylize(model, *options, "--time-limit", "0.000001").returncode == 0
    for change, reason in (
        (("--protect", "other.png"), "protect "),
        (("--protect-weight", "3"), "protect_weight is 3.0, was 20.0"),
    ):
        refused = stylize(model, *options, "--resume", *change)
        assert refused.returncode == 2
        assert f"checkpoint run.impasto: is of another run ({reason}" in refused.stderr
    done = stylize(model, *options, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["evaluations"], found["resumed"]) == (6, [1])
    again = impasto_("rerun", "out.png", "-o", "again.png", "--json", "-m", model)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["identical"] is True


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--region-strength", "#dc1e14"), "--region-strength '#dc1e14': expected a region's colour and a number"),
        (("--region-strength", "#dc1e14=much"), "--region-strength '#dc1e14=much': expected a region's colour and a"),
        (("--region-strength", "#dc1e14=1"), "--region-strength: there are no regions without --content-mask"),
        (("--region-strength", "#dc1e14=-1"), "--region-strength '#dc1e14' is -1.0; expected 0 to 1000000"),
        (("--protect", "none.png"), "picture none.png: no such file"),
        (("--protect", "wide.png"), "protection mask: 90x40 pixels for a picture of 48x40; expected the same"),
        (("--protect", "mask.png", "--protect-weight", "2e6"), "--protect-weight is 2000000.0; expected 0 to 1000000"),
    ],
)
def test_protection_and_strengths_that_will_not_do_are_refused_in_one_line(
    options: tuple[str, ...], reason: str, model: Path, pictures: Path
) -> None:
    Image.new("L", (90, 40)).save("wide.png")
    done = stylize(model, *options)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert not (pictures / "out.png").exists()


def test_a_mask_of_what_is_protected_is_not_written_over(model: Path, pictures: Path) -> None:
    before = (pictures / "mask.png").read_bytes()
    done = stylize(model, "--protect", "mask.png", "--force", "--triptych", "mask.png")
    assert done.returncode == 2
    assert "mask.png" in done.stderr
    assert (pictures / "mask.png").read_bytes() == before
