"""What the tests of optimisers share."""

from __future__ import annotations

from pathlib import Path

import pytest

from impasto.runtime.engine.algebra import Algebra
from impasto.runtime.engine.placement import Placement
from impasto.runtime.model.folder import ModelFolder


@pytest.fixture(scope="module")
def algebra(model: Path) -> Algebra:
    return Algebra.open(ModelFolder.open(model), Placement("cpu"))
