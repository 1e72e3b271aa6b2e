"""The reference of options is what the command line declares."""

from __future__ import annotations

from docs import options
from impasto.cli.app import app


def test_the_page_is_what_the_commands_declare() -> None:
    assert options.PAGE.read_text(encoding="utf-8") == options.render(), "run: python -m docs.options"


def test_every_command_has_its_section_and_every_option_its_words() -> None:
    page = options.render()
    for entry in app.registered_commands:
        assert entry.callback is not None
        assert f"\n## impasto {entry.callback.__name__}\n" in page
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert all(all(cell.strip() for cell in row.replace("\\|", "").strip("|").split("|")) for row in rows)
