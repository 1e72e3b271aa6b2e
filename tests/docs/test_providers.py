"""The page about devices names those that there are."""

from __future__ import annotations

from pathlib import Path

from impasto.runtime.engine.providers import PROVIDERS

PAGE = (Path(__file__).parents[2] / "docs/providers.md").read_text("utf-8")


def test_the_page_has_every_device_with_its_package_and_its_precisions() -> None:
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| `")]
    for provider in PROVIDERS.values():
        for name in provider.devices:
            (row,) = (row for row in rows if f"`{name}`" in row[0])
            part = name.partition(":")[2].replace("N", "0")
            assert all(
                f"`{precision}`" in row[-1]
                for precision in provider.precisions(part or provider.definite("").partition(":")[2])
            )
            if provider.plugin:
                assert provider.plugin.distribution in row[1] or row[1] == "the same"
