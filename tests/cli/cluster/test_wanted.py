"""Which cluster a user asks for: what excludes what, and the share of each worker on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from impasto.cli.cluster import wanted
from impasto.cli.cluster.wanted import Wanted
from impasto.runtime.errors import InputError
from impasto.runtime.machine import processors


def test_a_cluster_is_either_started_or_named() -> None:
    assert not Wanted()
    assert Wanted(workers=2)
    assert Wanted(scheduler="tcp://127.0.0.1:8786")
    with pytest.raises(InputError, match=r"--workers: starts a cluster of its own; leave it out with --scheduler"):
        Wanted(workers=2, scheduler="tcp://127.0.0.1:8786")


def test_certificates_are_files_and_for_a_scheduler(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    with pytest.raises(InputError, match=r"--tls-ca: is for --scheduler tls://"):
        Wanted(workers=2, tls_ca=tmp_path / "ca.pem")
    with pytest.raises(InputError, match=r"--tls-key .*gone.pem: no such file"):
        Wanted(scheduler="tls://127.0.0.1:8786", tls_ca=tmp_path / "ca.pem", tls_key=tmp_path / "gone.pem")


def test_workers_on_this_machine_share_its_threads_and_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "default_threads", lambda: 7)
    nothing = {"threads": None, "memory": None}
    told = Wanted(workers=2).for_pictures(nothing)
    room = wanted.room_left()
    assert told["threads"] == 3
    assert room is None or told["memory"] == pytest.approx(room.size / 2, rel=0.5)
    assert Wanted(workers=20).for_pictures(nothing)["threads"] == 1
    assert Wanted(workers=2).for_pictures({"threads": 5, "memory": 10}) == {"threads": 5, "memory": 10}
    assert Wanted(scheduler="tcp://127.0.0.1:8786").for_pictures(nothing) == nothing


def test_a_picture_over_workers_is_cut_into_tiles_and_the_driver_keeps_its_threads() -> None:
    nothing = {"threads": None, "memory": None, "tile": "auto", "optimizer": None}
    assert Wanted().for_tiles(nothing) == nothing
    told = Wanted(workers=2).for_tiles(nothing)
    assert (told["threads"], told["tile"]) == (None, str(wanted.SIDE))
    assert Wanted(workers=2).for_tiles({**nothing, "tile": "192"})["tile"] == "192"
    for options, why in ({"tile": "off"}, "--tile off makes none"), ({"optimizer": "lbfgs-device"}, "takes no tiles"):
        with pytest.raises(InputError, match=f"--workers: .*{why}"):
            Wanted(workers=2).for_tiles({**nothing, **options})
        with pytest.raises(InputError, match=f"--scheduler: .*{why}"):
            Wanted(scheduler="tcp://127.0.0.1:8786").for_tiles({**nothing, **options})
