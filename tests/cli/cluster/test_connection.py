"""Connections: every reason why there is none is told in a line, before any work."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from clusters import Farm, farm, variables_of_workers
from processes import assert_refused as told
from processes import impasto_
from typer.testing import Result

from impasto.cli.cluster import connection

from .conftest import QUICK, WISH, Batch, pixels


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_CONNECTING", 3.0)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Farm:
    """A scheduler without workers: what a test adds, it takes away."""
    with farm(tmp_path_factory.mktemp("empty")) as started:
        yield started


def assert_refused(done: Result, reason: str) -> None:
    error = done.exception
    assert isinstance(error, connection.InputError), done.output
    assert reason in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 400
    assert not Path("out").exists()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_without_dask_its_package_is_named(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert_refused(batch(*WISH, "--workers", 2), "distributed is not installed; for clusters, pip install distributed")


def test_workers_that_do_not_start_are_told_in_a_line(small_model: Path) -> None:
    variables = variables_of_workers(TESTS_STILLBORN="1")
    done = impasto_("batch", *WISH, "--model", small_model, *QUICK, "--workers", 1, **variables)
    told(done, "--workers 1: they do not start (", code=1)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:8786", "expected tcp://HOST:8786, tls://HOST:8786 or the file of a scheduler"),
        ("gone.json", "expected tcp://HOST:8786"),
        ("photos", "expected tcp://HOST:8786"),
        ("painting.jpg", "expected tcp://HOST:8786"),
        ("empty.json", "expected tcp://HOST:8786"),
        ("odd.json", "expected tcp://HOST:8786"),
        ("tcp://127.0.0.1", "cannot be reached (missing port number"),
        ("tcp://", "cannot be reached"),
        ("tcp://127.0.0.1:99999", "cannot be reached"),
        ("tcp://no.such.host.invalid:8786", "cannot be reached"),
        ("tls://127.0.0.1:8786", "name --tls-ca, --tls-cert and --tls-key, too"),
    ],
)
def test_what_is_no_scheduler_is_refused_in_a_line(batch: Batch, address: str, reason: str) -> None:
    Path("empty.json").write_text("")
    Path("odd.json").write_text(json.dumps({"address": 5}))
    assert_refused(batch(*WISH, "--scheduler", address), reason)


def test_a_scheduler_that_is_not_there_is_named_in_a_line(batch: Batch) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    Path("old.json").write_text(json.dumps({"address": address}))
    for named in (address, "old.json"):
        assert_refused(batch(*WISH, "--scheduler", named), f"--scheduler {address}: cannot be reached (")


def test_a_stranger_who_listens_there_is_no_scheduler(batch: Batch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        address = f"tcp://127.0.0.1:{one.getsockname()[1]}"
        assert_refused(batch(*WISH, "--scheduler", address), "cannot be reached")


def test_options_of_tls_are_not_for_an_address_without(batch: Batch, empty: Farm) -> None:
    tls = ("--tls-ca", "painting.jpg", "--tls-cert", "painting.jpg", "--tls-key", "painting.jpg")
    assert_refused(batch(*WISH, "--scheduler", empty.address, *tls), "is not encrypted; leave out the options of TLS")
    no_certificate = batch(*WISH, "--scheduler", empty.address.replace("tcp", "tls"), *tls)
    assert_refused(no_certificate, "cannot be reached")


def test_a_scheduler_without_workers_is_refused(batch: Batch, empty: Farm) -> None:
    assert_refused(batch(*WISH, "--scheduler", empty.address), "has no workers; start some with: dask worker tcp://")


def test_a_worker_with_another_version_of_impasto_is_refused(batch: Batch, empty: Farm, tmp_path: Path) -> None:
    package = tmp_path / "other" / "impasto-9.9.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: impasto\nVersion: 9.9\n")
    added = empty.add(PYTHONPATH=str(package.parent))
    refused = batch(*WISH, "--scheduler", empty.address)
    assert_refused(refused, "has impasto 9.9 instead of ")
    assert "install what this machine has" in str(refused.exception)
    empty.remove(added)


def test_a_worker_without_impasto_is_refused(batch: Batch, empty: Farm) -> None:
    added = empty.add(TESTS_WITHOUT_IMPASTO="1")
    assert_refused(batch(*WISH, "--scheduler", empty.address), "has impasto is missing instead of ")
    empty.remove(added)


def test_a_worker_with_another_python_is_refused(batch: Batch, empty: Farm) -> None:
    port = free_port()
    added = empty.add(1, "--worker-port", port, TESTS_PYTHON="3.99.1.final.0")
    reason = f"worker tcp://127.0.0.1:{port}: has python 3.99 instead of "
    assert_refused(batch(*WISH, "--scheduler", empty.address), reason)
    empty.remove(added)


def test_a_scheduler_without_tls_does_not_answer_one_who_asks_for_it(batch: Batch, empty: Farm) -> None:
    tls = certificates(Path("tls"))
    refused = batch(*WISH, "--scheduler", empty.address.replace("tcp", "tls"), *tls)
    assert_refused(refused, "check the address, and whether its certificates are signed by the one of --tls-ca")


def certificates(folder: Path) -> tuple[str, ...]:
    """Make an authority, and a certificate that it has signed; return the options that name them."""
    folder.mkdir()
    try:
        subprocess.run(["openssl", "version"], check=True, capture_output=True)
    except OSError:
        pytest.skip("needs openssl")
    new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-batch")
    for command in (
        (*new, "-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"),
        (*new, "-subj", "/CN=machine", "-keyout", "key.pem", "-out", "request.pem"),
        ("openssl", "x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
         "-days", "2", "-out", "cert.pem"),
    ):  # fmt: skip
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    found = {"--tls-ca": "ca.pem", "--tls-cert": "cert.pem", "--tls-key": "key.pem"}
    return tuple(str(word) for name, file in found.items() for word in (name, (folder / file).absolute()))


def test_pictures_travel_encrypted_between_those_who_have_certificates_of_one_authority(
    batch: Batch, alone: dict[str, bytes], tmp_path: Path
) -> None:
    right, wrong = certificates(tmp_path / "right"), certificates(tmp_path / "wrong")
    of_dask = [word.replace("--tls-ca", "--tls-ca-file") for word in right]
    with farm(tmp_path / "farm", 1, *of_dask, scheme="tls") as encrypted:
        assert encrypted.address.startswith("tls://")
        assert_refused(batch(*WISH, "--scheduler", encrypted.address, *wrong), "cannot be reached (")
        assert_refused(batch(*WISH, "--scheduler", encrypted.address, *right[:2], *wrong[2:]), "cannot be reached (")
        assert_refused(batch(*WISH, "--scheduler", encrypted.address.replace("tls", "tcp")), "cannot be reached (")
        done = batch(*WISH, "--scheduler", encrypted.folder / "scheduler.json", *right)
        assert done.exit_code == 0, done.output
        assert pixels() == alone
