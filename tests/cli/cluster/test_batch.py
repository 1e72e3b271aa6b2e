"""A batch over a cluster: the pictures are those of one process, whatever becomes of the workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clusters import Farm, descendants, variables_of_workers
from processes import impasto_

from .conftest import QUICK, WISH, Batch, pixels


def test_pictures_are_equal_bit_for_bit_to_those_of_one_process(
    small_model: Path, alone: dict[str, bytes], batch: Batch
) -> None:
    Path("photos/broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    done = impasto_("batch", *WISH, "--report", "r.jsonl", "--model", small_model, *QUICK, "--workers", 2)
    assert done.returncode == 1
    assert "8 pictures: 6 made, 2 failed" in done.stderr
    assert "photos/broken.jpg x painting: failed: picture photos/broken.jpg: " in done.stderr
    assert "distributed" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("random weights") == 1
    assert pixels() == alone
    assert [*Path("out").iterdir()] == [*Path("out").glob("*.png")]
    told = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
    assert len({one["output"] for one in told}) == len(told) == 8
    Path("photos/broken.jpg").unlink()
    again = batch(*WISH, "--scheduler", "tcp://127.0.0.1:1")  # it would not be reached
    assert again.exit_code == 0, again.output
    assert "6 of 6 pictures are there already" in again.output


# --- workers that die -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("evaluation", [1, 3])
def test_a_worker_that_dies_costs_a_retry_and_no_bits(
    cluster: Farm, alone: dict[str, bytes], batch: Batch, tmp_path: Path, evaluation: int
) -> None:
    (tmp_path / "once").touch()
    cluster.add(TESTS_DEATH=f"{evaluation}:{tmp_path / 'once'}", TESTS_PAUSE="0.1")
    done = batch(*WISH, "--log", "{content}-{style}.jsonl", "--scheduler", cluster.address)
    assert done.exit_code == 0, done.output
    assert not (tmp_path / "once").exists()
    assert len([line for line in done.output.splitlines() if " is gone; " in line]) == 1
    assert "6 pictures: 6 made" in done.output
    assert done.output.count("out/a-other.png: loss") == 1
    assert pixels() == alone
    for path in Path("out").glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line["evaluation"] for line in lines if "evaluation" in line] == [1, 2, 3]
