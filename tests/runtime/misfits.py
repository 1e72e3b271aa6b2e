"""Plain data in which something stands that has no business there: what strangers' files may hold."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

#: Anything that JSON holds, and what Python's reader takes for it: NaN, infinities and integers of 400 digits.
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def misfits(draw: st.DrawFn, sound: Any) -> Any:
    """Return plain data with anything in one place, whatever is there, however deep."""
    whole = copy.deepcopy(sound)
    part = whole
    while True:
        key = draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        if not (isinstance(part[key], (dict, list)) and part[key]) or draw(st.booleans()):
            break
        part = part[key]
    part[key] = draw(anything)
    return whole
