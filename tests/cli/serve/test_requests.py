"""Requests: a value that is taken is never a path, an address, or an option of its own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.cli.serve.declared import offered, transfer_command
from impasto.cli.serve.errors import RequestError
from impasto.cli.serve.requests import Options, Request, options_by_name
from impasto.cli.spelling import parameter_name


@pytest.fixture(scope="module")
def options(small_model: Path) -> Options:
    """All options of a request."""
    return options_by_name(offered(small_model)["options"])


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["picture", "x"]), inner, max_size=2),
    max_leaves=5,
)


@given(data=st.data())
def test_what_is_typed_for_a_request_holds_no_path(options: Options, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(options)), max_size=4))
    values = {
        name: data.draw(json | st.sampled_from(["/etc/passwd", "../x.toml", "--log=x", "x.png", "-", "a b"]))
        for name in names
    }
    try:
        request = Request.parse({"content": "a", "styles": ["b"], "options": values}, options)
    except RequestError as error:
        assert "\n" not in str(error)
        return
    for argument in request.arguments(options, lambda picture: "PICTURE"):
        flag, _, value = argument.partition("=")
        assert flag.startswith("--") and flag in {one["flag"] for one in options.values()} | {
            "--no-clip",
            "--no-tf32",
            "--no-conv-workspace",
            "--no-cuda-graph",
        }
        assert not set(value) & set("/\\ \n\0'\"") and not value.startswith(".."), argument


def test_options_are_those_of_the_command_line_and_mean_the_same(options: Options) -> None:
    given: dict[str, Any] = {
        "size": "300x200",
        "clip": False,
        "seed": 7,
        "style_blend": "3,1",
        "style_mask": ["#ff0000", {"picture": "m"}],
    }
    given |= {"init": {"picture": "i"}, "device": "cuda:1", "tf32": False, "oversize": True, "low_memory": False}
    request = Request.parse({"content": "a", "styles": ["b"], "options": given}, options)
    read = transfer_command(request.arguments(options, lambda picture: f"{picture}.png"))
    assert read["oversize"] is True
    chosen = read["choices"]
    assert (chosen["size"], chosen["clip"], chosen["seed"], chosen["style_blend"]) == ("300x200", False, 7, [3.0, 1.0])
    assert chosen["style_masks"] == ["#ff0000", "m.png"] and chosen["init"] == "i.png"
    assert (chosen["device"], chosen["cuda"].tf32, chosen["low_memory"]) == ("cuda:1", False, False)
    names = {parameter_name(name) for name in chosen if name != "cuda"} - {"model"}
    assert names - {"plan"} <= set(options) and not {"plan", "model"} & set(options)  # files that are no pictures
    assert request.pictures() == ["a", "b", "m", "i"]


def test_a_command_line_can_be_copied_whatever_the_names_are(options: Options) -> None:
    request = Request.parse({"content": "-a b'c.png", "styles": ["$(x).jpg"]}, options)
    words = shlex.split(request.command(options, lambda picture: picture))
    assert words[:4] == ["impasto", "stylize", "./-a b'c.png", "$(x).jpg"]


def test_nothing_is_given_for_an_option_that_is_null(options: Options) -> None:
    request = Request.parse({"content": "a", "styles": ["b"], "options": {"size": None}}, options)
    assert request.arguments(options, str) == [] and request.to_data()["options"] == {}
