"""What the command line offers is what there is."""

from __future__ import annotations

from impasto import defaults
from impasto.export import networks, weights
from impasto.runtime import cuda, model
from impasto.runtime.session import Placement


def test_choices_are_those_of_what_uses_them() -> None:
    assert {*defaults.NETWORKS} == {*networks.NETWORKS}
    assert {*defaults.PREPROCESSINGS} == {*weights.PREPROCESSINGS}
    assert {*defaults.CONV_SEARCHES} == {*cuda.SEARCHES}
    assert {*defaults.PRECISIONS} == {*model.PRECISIONS}
    assert {*defaults.LOWERINGS} == {"auto", *model.LOWERINGS}


def test_the_first_choice_is_the_default() -> None:
    assert Placement() == Placement(defaults.DEVICES[0], defaults.LOWERINGS[0], precision=defaults.PRECISIONS[0])
    assert all(Placement(device).device == device for device in defaults.DEVICES)
    assert defaults.NETWORKS[0] == defaults.DEFAULT_NETWORK
    assert defaults.WEIGHTS[0] == defaults.DEFAULT_WEIGHTS
