"""`impasto serve`: what it refuses before it listens, and where it listens."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from processes import assert_refused, command, environment, impasto_
from serving import PATIENCE, QUICK, Starter

from impasto.defaults import SERVE_PORT


def refused(small_model: Path, *options: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return impasto_("serve", "--no-browser", "--data", "data", "--model", small_model, *options, **variables)


# --- who may open it ------------------------------------------------------------------------------------------


def test_another_host_needs_a_token_file_and_is_told_why(small_model: Path) -> None:
    done = refused(small_model, "--host", "0.0.0.0")
    assert_refused(done, "others in the network can reach that address, and whoever has the token can paint here")
    assert "--token-file FILE" in done.stderr and not Path("data").exists()


def test_all_addresses_need_a_name(small_model: Path) -> None:
    done = refused(small_model, "--host", "0.0.0.0", "--token-file", "token.txt")
    assert_refused(done, "--host 0.0.0.0: by which name or address will the page be opened? say so with --allow-host")


def test_a_key_needs_a_certificate(small_model: Path) -> None:
    assert_refused(refused(small_model, "--tls-key", "key.pem"), "--tls-key: is the key of which certificate?")


def test_a_certificate_that_is_none_is_refused(small_model: Path) -> None:
    Path("cert.pem").write_text("nothing")
    assert_refused(refused(small_model, "--tls-cert", "cert.pem", "--port", 0), "--tls-cert, --tls-key: cannot be used")


@pytest.mark.parametrize("token", ["short", "long enough, but with spaces", "ungewöhnliche-zeichen"])
def test_a_token_that_is_weak_or_odd_is_refused(small_model: Path, token: str) -> None:
    Path("token.txt").write_text(token, "utf-8")
    Path("token.txt").chmod(0o600)
    done = refused(small_model, "--token-file", "token.txt")
    assert_refused(done, "expected 16 or more letters, digits and signs, without spaces")


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such modes")
def test_a_token_that_others_can_read_is_refused(small_model: Path) -> None:
    Path("token.txt").write_text("0123456789abcdef")
    Path("token.txt").chmod(0o644)
    assert_refused(refused(small_model, "--token-file", "token.txt"), "others may read it; chmod 600 token.txt")


def test_a_token_file_is_made_for_its_owner_alone_and_used_again(start_server: Starter, tmp_path: Path) -> None:
    path = tmp_path / "token.txt"
    tokens = []
    for _ in range(2):
        server = start_server("--token-file", path)
        tokens.append(server.token)
        server.get("/api/choices")
        server.finish()
    assert tokens[0] == tokens[1] == path.read_text().strip() and len(tokens[0]) > 40
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_token_is_new_every_time_without_a_file(start_server: Starter) -> None:
    tokens = []
    for _ in range(2):
        server = start_server()
        tokens.append(server.token)
        server.finish()
    assert tokens[0] != tokens[1] and all(len(token) > 40 for token in tokens)


def test_an_open_address_is_warned_of_and_answers_its_name(start_server: Starter, tmp_path: Path) -> None:
    token = tmp_path / "token.txt"
    server = start_server("--host", "0.0.0.0", "--allow-host", "studio.example", "--token-file", token)
    assert "warning: whoever can listen in this network reads the token and the pictures" in server.messages
    assert f"the page: http://studio.example:{server.port}/#token={server.token}" in server.messages
    assert server.ask("GET", "/api/runs", headers={"Host": f"studio.example:{server.port}"}).status == 200
    assert server.ask("GET", "/api/runs", headers={"Host": f"127.0.0.1:{server.port}"}).status == 403


def test_the_data_folder_is_its_owners_alone(start_server: Starter) -> None:
    server = start_server()
    key = server.submit(QUICK)
    server.wait(key, "done")
    if os.name == "posix":
        for folder in (server.data, server.data / "runs" / key, server.data / "pictures"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_certificate_makes_it_speak_https_and_the_cookie_a_secure_one(start_server: Starter, tmp_path: Path) -> None:
    if not (openssl := shutil.which("openssl")):
        pytest.skip("needs openssl, to make a certificate")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*made, *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    server = start_server("--tls-cert", cert, "--tls-key", key)
    assert f"the page: https://127.0.0.1:{server.port}/#token=" in server.messages
    trusting = ssl.create_default_context(cafile=str(cert))
    with contextlib.closing(http.client.HTTPSConnection("localhost", server.port, context=trusting)) as connection:
        connection.request("POST", "/api/session", json.dumps({"token": server.token}))
        answer = connection.getresponse()
        assert answer.status == 204 and "; secure" in answer.headers["set-cookie"].lower()
        answer.read()
        connection.request("GET", "/api/runs", headers={"Cookie": answer.headers["set-cookie"].partition(";")[0]})
        assert json.loads(connection.getresponse().read()) == {"runs": []}


# --- where it listens -----------------------------------------------------------------------------------------


def test_it_listens_on_this_machine_only(start_server: Starter) -> None:
    server = start_server()
    addresses = {one.laddr.ip for one in psutil.Process(server.process.pid).net_connections() if one.status == "LISTEN"}
    assert addresses == {"127.0.0.1"}


def test_a_port_that_is_taken_is_refused_if_it_was_asked_for(small_model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert_refused(refused(small_model, "--port", port), f"--port {port}: cannot listen there")


def test_a_default_port_that_is_taken_is_replaced_by_a_free_one(small_model: Path, tmp_path: Path) -> None:
    try:
        other = socket.create_server(("127.0.0.1", SERVE_PORT))
    except OSError:  # another program has it: so much the better
        other = socket.socket()
    with other:
        process = subprocess.Popen(
            command("serve", "--no-browser", "--data", tmp_path / "data", "--model", small_model),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert process.stderr is not None
        line = process.stderr.readline()
        process.terminate()
        process.communicate(timeout=PATIENCE)
    found = re.fullmatch(r"the page: http://127\.0\.0\.1:(\d+)/#token=[\w-]{43}\n", line)
    assert found and int(found[1]) != SERVE_PORT


def test_the_browser_opens_the_page_with_a_token_that_works_once(start_server: Starter, tmp_path: Path) -> None:
    if os.name != "posix":
        pytest.skip("a shell script stands for the browser")
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    script.chmod(0o755)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BROWSER", str(script))
        server = start_server("--browser")
    until = time.monotonic() + PATIENCE
    while not ((tmp_path / "opened").exists() and (tmp_path / "opened").read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    address, _, once = (tmp_path / "opened").read_text().strip().partition("#token=")
    assert address == f"http://127.0.0.1:{server.port}/" and once != server.token
    assert server.ask("POST", "/api/session", {"token": once}, token=False).status == 204
    assert server.ask("POST", "/api/session", {"token": once}, token=False).status == 401
    assert server.ask("POST", "/api/session", {"token": server.token}, token=False).status == 204


# --- what it needs --------------------------------------------------------------------------------------------


def test_a_missing_package_is_named_with_the_command_that_installs_it(small_model: Path, tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError(\"No module named 'uvicorn'\", name='uvicorn')")
    done = refused(small_model, PYTHONPATH=str(tmp_path))
    assert_refused(done, "uvicorn is not installed; to serve a page, pip install starlette uvicorn")


def test_a_model_that_is_none_is_refused() -> None:
    Path("empty").mkdir()
    done = impasto_("serve", "--no-browser", "--data", "data", "--model", "empty")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "empty" in done.stderr


def test_help_imports_neither_server_nor_runtime() -> None:
    heavy = {"starlette", "uvicorn", "numpy", "PIL", "impasto.cli.serve"}
    code = f"import sys, impasto.cli.app; bad = {heavy!r} & {{*sys.modules}}; sys.exit(str(bad) if bad else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
