"""The page docs/serve.md: every example is run, in its order, and covers the whole API."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from clone import ROOT
from PIL import Image

pytest.importorskip("starlette")

from serving import QUICK, Server

from impasto.cli.serve.app import DESCRIPTION

PAGE = (ROOT / "docs" / "serve.md").read_text("utf-8")

#: The shell commands that talk to a server; the first block starts one.
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)[1:]


def test_every_operation_has_an_example() -> None:
    text = "\n".join(BLOCKS)
    for path, methods in json.loads(DESCRIPTION.read_text("utf-8"))["paths"].items():
        pattern = re.escape(path).replace(r"\{run\}", r"\$\w+").replace(r"\{picture\}", r"\$\w+")
        for method in methods:
            asked = {
                "get": "",
                "post": "--(data|data-binary|request POST) .*",
                "patch": "--request PATCH ",
                "delete": "--request DELETE ",
            }
            assert re.search(rf"^.*{asked[method]}.*\$server{pattern}(\?|\"| |$)", text, re.MULTILINE), (method, path)


def test_every_example_works(tmp_path: Path, small_model: Path) -> None:
    if not (shutil.which("curl") and shutil.which("bash")):
        pytest.skip("needs curl and bash")
    for seed, name in enumerate(("photo.jpg", "painting.jpg")):
        levels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8)
        Image.fromarray(levels).save(tmp_path / name)
    server = Server.start(tmp_path / "data", small_model, "--token-file", tmp_path / "token.txt")
    script = "\n".join(["set -eu", *BLOCKS])
    script = script.replace("http://127.0.0.1:8765", f"http://127.0.0.1:{server.port}")
    own = json.dumps(QUICK)
    assert script.count('{"size": "512", "evaluations": 200}') == 1
    script = script.replace('{"size": "512", "evaluations": 200}', own)
    try:
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    finally:
        server.finish()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert (tmp_path / "copy.jpg").read_bytes() == (tmp_path / "photo.jpg").read_bytes()
    with Image.open(tmp_path / "result.png") as result:
        assert result.size == (64, 48)
    assert '"state": "done"' in done.stdout and "event: step" in done.stdout
    assert len((tmp_path / "run.jsonl").read_text().splitlines()) == QUICK["evaluations"]
