"""What the command line offers is what there is."""

from __future__ import annotations

from impasto import defaults
from impasto.export import networks
from impasto.runtime.engine import cuda
from impasto.runtime.engine.placement import Placement
from impasto.runtime.model import graphs


def test_choices_are_those_of_what_uses_them() -> None:
    assert {*defaults.NETWORKS} == {*networks.NETWORKS}
    assert {*defaults.PREPROCESSINGS} == {*networks.PREPROCESSINGS}
    assert {*defaults.CONV_SEARCHES} == {*cuda.SEARCHES}
    assert {*defaults.PRECISIONS} == {"auto", *graphs.PRECISIONS}
    assert {*defaults.LOWERINGS} == {"auto", *graphs.LAYOUTS}


def test_the_first_choice_is_the_default() -> None:
    assert Placement() == Placement(defaults.DEVICES[0], defaults.LOWERINGS[0], precision=defaults.PRECISIONS[0])
    assert all(Placement(device).device == device for device in defaults.DEVICES)
    assert defaults.NETWORKS[0] == defaults.DEFAULT_NETWORK
    assert defaults.WEIGHTS[0] == defaults.DEFAULT_WEIGHTS
