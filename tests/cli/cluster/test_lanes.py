"""Lanes, over a cluster that is made up: each item is worked on once, whoever comes and goes."""

from __future__ import annotations

import threading
import time

import pytest

from impasto.cli.cluster import lanes
from impasto.cli.cluster.connection import ClusterError, WorkerLost
from impasto.cli.cluster.lanes import Lanes


class Cluster:
    def __init__(self, *addresses: str) -> None:
        self.addresses = [*addresses]

    def admitted(self) -> list[str]:
        return [*self.addresses]

    def deserted(self) -> ClusterError:
        return ClusterError("all workers are gone")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "ASKING", 0.01)
    monkeypatch.setattr(lanes, "NO_WORKERS", 0.1)


def test_every_item_is_worked_on_once_and_a_worker_has_one_at_a_time() -> None:
    at_work, most, done = dict.fromkeys("ab", 0), [0], []

    def work(address: str, number: int, item: str) -> None:
        at_work[address] += 1
        most.append(at_work[address])
        time.sleep(0.01)
        at_work[address] -= 1
        done.append((number, item))

    Lanes(Cluster("a", "b"), work, lambda *_: None).run("vwxyz")
    assert sorted(done) == [*enumerate("vwxyz")]
    assert max(most) == 1


def test_an_item_of_a_lost_worker_is_another_ones_and_a_new_worker_gets_a_lane() -> None:
    cluster, done, lost = Cluster("a"), [], []

    def work(address: str, number: int, item: str) -> None:
        if address == "a":
            cluster.addresses = ["b"]
            raise WorkerLost(address)
        done.append((address, item))

    def was_lost(number: int, item: str, address: str, again: bool) -> None:
        lost.append((number, item, address, again))

    Lanes(cluster, work, was_lost).run("xyz")
    assert done == [("b", "x"), ("b", "y"), ("b", "z")]
    assert lost == [(0, "x", "a", True)]


def test_an_item_that_kills_workers_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MOST_DEATHS", 3)
    tried, told = [], []

    def work(address: str, number: int, item: str) -> None:
        tried.append(item)
        if item == "x":
            raise WorkerLost(address)

    Lanes(Cluster("a"), work, lambda number, item, address, again: told.append((item, again))).run("xy")
    assert tried == ["x", "x", "x", "y"]
    assert told == [("x", True), ("x", True), ("x", False)]


def test_when_all_workers_are_gone_the_end_is_an_error() -> None:
    with pytest.raises(ClusterError, match="all workers are gone"):
        Lanes(Cluster(), lambda *_: None, lambda *_: None).run("x")


def test_an_error_of_the_cluster_ends_all_lanes() -> None:
    other = threading.Event()

    def work(address: str, number: int, item: str) -> None:
        if item == "x":
            raise ClusterError("its scheduler is gone")
        other.wait(10)

    with pytest.raises(ClusterError, match="its scheduler is gone"):
        Lanes(Cluster("a", "b"), work, lambda *_: None).run("xyz")
    other.set()


def test_when_it_is_over_only_what_has_begun_is_finished() -> None:
    over, done = threading.Event(), []

    def work(address: str, number: int, item: str) -> None:
        over.set()
        time.sleep(0.02)
        done.append(item)

    Lanes(Cluster("a"), work, lambda *_: None, over.is_set).run("xyz")
    assert done == ["x"]


def test_an_item_with_an_owner_waits_for_it_unless_that_is_gone() -> None:
    done = []

    def work(address: str, number: int, item: str) -> None:
        time.sleep(0.01)
        done.append((item, address))

    owners = {0: "a", 1: "b", 2: "a", 3: "gone"}
    Lanes(Cluster("a", "b"), work, lambda *_: None, owner_of=owners.get).run("wxyz")
    assert {item: address for item, address in done if item != "z"} == {"w": "a", "x": "b", "y": "a"}
    assert len(done) == 4
